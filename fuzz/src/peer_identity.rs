use uplink_core::identity::{MAX_CERTIFICATE_SIZE, MAX_CHAIN_LENGTH, split_chain, verify_chain};
use uplink_core::signature::VerifyingKey;

/// Uses the input as a certificate chain and as a public key.
pub fn peer_identity(data: &[u8]) {
    if let Ok(key) = VerifyingKey::from_spki_der(data) {
        assert!(key.verify(data, data).is_err());
    }
    let Ok(chain) = split_chain(data) else { return };
    assert_eq!(chain.concat(), data);
    assert!(chain.len() <= MAX_CHAIN_LENGTH);
    assert!(chain.iter().all(|der| !der.is_empty() && der.len() <= MAX_CERTIFICATE_SIZE));
    let Ok(peer) = verify_chain(&chain) else { return };
    assert!(chain.len() >= 2);
    assert_eq!(peer.joined_chain(), data);
    assert_eq!(verify_chain(peer.chain()).as_ref(), Ok(&peer));
    assert!(!peer.node_id().is_zero());
}
