use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::*;

struct Made {
    leaf: Vec<u8>,
    authority: Vec<u8>,
    authority_key: Vec<u8>,
}

/// Creates a leaf and its authority with the given parameters.
fn identity(authority: CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    let certificate = authority.self_signed(&key).unwrap();
    let authority_key = rcgen::PublicKeyData::subject_public_key_info(&key);
    let issuer = Issuer::new(authority, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().signed_by(&leaf_key, &issuer).unwrap();
    Made { leaf: leaf.der().to_vec(), authority: certificate.der().to_vec(), authority_key }
}

fn authority(version: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let oid = [2, 999, 2, 1];
    params.custom_extensions.push(CustomExtension::from_oid_content(&oid, version.to_vec()));
    params
}

#[test]
fn chain_of_leaf_and_authority_is_an_identity() {
    let made = identity(authority(&[0]));
    let peer = verify_chain(&[&made.leaf, &made.authority]).unwrap();
    assert_eq!(peer.node_id(), node_id(&made.authority_key, 0));
    assert_eq!(peer.chain(), [made.leaf.clone(), made.authority.clone()]);
    let joined = peer.joined_chain();
    assert_eq!(split_chain(&joined).unwrap(), [&made.leaf[..], &made.authority]);
    assert_eq!(verify_chain(&split_chain(&joined).unwrap()), Ok(peer));
}

#[test]
fn chain_length_is_limited() {
    let made = identity(authority(&[0]));
    let length = |length| Err(IdentityError::ChainLength { length });
    assert_eq!(verify_chain::<Vec<u8>>(&[]), length(0));
    assert_eq!(verify_chain(&[&made.leaf]), length(1));
    let mut chain = vec![&made.authority; MAX_CHAIN_LENGTH];
    chain[0] = &made.leaf;
    assert!(verify_chain(&chain).is_ok());
    chain.push(&made.authority);
    assert_eq!(verify_chain(&chain), length(MAX_CHAIN_LENGTH + 1));
    let joined = chain.iter().copied().flatten().copied().collect::<Vec<u8>>();
    assert!(matches!(split_chain(&joined), Err(IdentityError::ChainLength { .. })));
}

#[test]
fn leaf_of_a_different_authority_is_rejected() {
    let one = identity(authority(&[0]));
    let other = identity(authority(&[0]));
    let rejected = verify_chain(&[&one.leaf, &other.authority]);
    assert!(matches!(rejected, Err(IdentityError::Signature { index: 0, .. })), "{rejected:?}");
}

#[test]
fn last_certificate_must_sign_itself() {
    let key = KeyPair::generate().unwrap();
    let root = Issuer::new(authority(&[0]), key);
    let middle_key = KeyPair::generate().unwrap();
    let middle = authority(&[0]).signed_by(&middle_key, &root).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default()
        .signed_by(&leaf_key, &Issuer::new(authority(&[0]), middle_key))
        .unwrap();
    let rejected = verify_chain(&[leaf.der().as_ref(), middle.der().as_ref()]);
    assert!(matches!(rejected, Err(IdentityError::Signature { index: 1, .. })), "{rejected:?}");
}

#[test]
fn authority_without_ca_flag_is_rejected() {
    let mut plain = authority(&[0]);
    plain.is_ca = IsCa::NoCa;
    let mut limited = authority(&[0]);
    limited.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for params in [plain, limited] {
        let made = identity(params);
        let rejected = verify_chain(&[&made.leaf, &made.authority]);
        assert_eq!(rejected, Err(IdentityError::NotAnAuthority));
    }
}

#[test]
fn unknown_versions_are_rejected() {
    for version in [&[1][..], &[], &[0, 0]] {
        let made = identity(authority(version));
        let rejected = verify_chain(&[&made.leaf, &made.authority]);
        assert_eq!(rejected, Err(IdentityError::Version));
    }
    let mut without = authority(&[0]);
    without.custom_extensions.clear();
    let made = identity(without);
    assert!(verify_chain(&[&made.leaf, &made.authority]).is_ok());
}

#[test]
fn corrupt_certificates_are_rejected() {
    let made = identity(authority(&[0]));
    // The 12 bytes between the signed part and the signature repeat the algorithm.
    let signed = parse(&made.leaf, 0).unwrap().tbs_certificate.as_ref().len();
    let signed_end = 4 + signed;
    for position in 0..made.leaf.len() {
        let mut corrupt = made.leaf.clone();
        corrupt[position] ^= 1;
        if !(signed_end..signed_end + 12).contains(&position) {
            let rejected = verify_chain(&[&corrupt, &made.authority]);
            assert!(rejected.is_err(), "byte {position} of {}", hex::encode(&made.leaf));
        }
    }
    let mut longer = made.leaf.clone();
    longer.push(0);
    let rejected = verify_chain(&[&longer, &made.authority]);
    assert_eq!(rejected, Err(IdentityError::Certificate { index: 0 }));
    longer.resize(MAX_CERTIFICATE_SIZE + 1, 0);
    let rejected = verify_chain(&[&longer, &made.authority]);
    let size = MAX_CERTIFICATE_SIZE + 1;
    assert_eq!(rejected, Err(IdentityError::CertificateSize { index: 0, size }));
    for length in 1..made.leaf.len() {
        assert!(split_chain(&made.leaf[..length]).is_err());
    }
}

/// Certificates of different lengths, created once.
static CERTIFICATES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let one = identity(authority(&[0]));
    let other = identity(authority(&[]));
    vec![one.leaf, one.authority, other.leaf, other.authority]
});

proptest! {
    #![proptest_config(crate::cases(10_000))]

    #[test]
    fn joined_chains_split_where_they_were_joined(
        indexes in proptest::collection::vec(0usize..4, 0..=MAX_CHAIN_LENGTH),
        cut: usize,
    ) {
        let chain: Vec<&[u8]> = indexes.iter().map(|index| &CERTIFICATES[*index][..]).collect();
        let joined = chain.concat();
        prop_assert_eq!(split_chain(&joined).unwrap(), chain.clone());
        let cut = cut % (joined.len() + 1);
        let mut whole = 0;
        let ends: Vec<usize> = chain.iter().map(|der| { whole += der.len(); whole }).collect();
        let is_end = cut == 0 || ends.contains(&cut);
        prop_assert_eq!(split_chain(&joined[..cut]).is_ok(), is_end);
    }

    #[test]
    fn decoding_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = split_chain(&[&[0x30, 0x60], &bytes[..]].concat());
        prop_assert!(verify_chain(&[&bytes, &bytes]).is_err());
    }
}
