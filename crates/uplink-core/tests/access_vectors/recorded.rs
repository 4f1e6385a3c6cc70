//! Grants of the projects in the recorded traffic. The transports' tests decrypt the messages.

use std::sync::LazyLock;

use serde_json::Value;
use uplink_core::access_grant::AccessGrant;
use uplink_core::encryption::key::{ACCESS_LANES, root_key};
use uplink_core::encryption::{CipherSuite, EncryptionStore};
use uplink_core::macaroon::ApiKey;

use super::{bytes, text};

static RECORDED: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/vectors/rpc-transcripts.json");
    serde_json::from_str(text).expect("transcripts are JSON")
});

#[test]
fn grant_from_passphrase_equals_the_recorded_one() {
    for set in ["plain", "compressed", "noise"] {
        let project = &RECORDED[set]["project"];
        let salt = bytes(&project["salt_hex"]);
        let root = root_key(text(&project["passphrase"]).as_bytes(), &salt, b"", ACCESS_LANES);
        let store = EncryptionStore::with_default_key(root.unwrap(), CipherSuite::AesGcm);
        let api_key = ApiKey::parse(text(&project["api_key"])).unwrap();
        assert!(api_key.is_authentic(&bytes(&project["api_key_secret_hex"])));
        let address = text(&project["satellite_node_url"]).to_owned();
        let grant = AccessGrant::new(address, api_key, &store).unwrap();
        assert_eq!(grant.serialize().unwrap(), text(&project["access"]));
    }
}
