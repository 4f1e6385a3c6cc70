//! Revocation at random places of random chains of API keys: experiment F25 of `docs/RELIABILITY.md`.
//!
//! A thousand trials, or as many as `PROPTEST_CASES` says if that is more.

use std::time::Duration;

use proptest::prelude::ProptestConfig;
use uplink_core::macaroon::{ApiKey, Caveat};
use uplink_rpc::r#gen::metainfo::{ProjectInfoRequest, RevokeApiKeyRequest};
use uplink_rpc::status::{Code, Failure};
use uplink_satellite::Config;

use crate::network::{Network, header};
use crate::random::{Random, seed};

const MAX_DEPTH: usize = 8;

/// Returns a key and its descendants, each restricted once more than the one before.
fn chain(root: &ApiKey, length: usize, trial: usize) -> Vec<ApiKey> {
    let mut keys = vec![root.clone()];
    for depth in 0..length {
        let nonce = [trial.to_be_bytes(), depth.to_be_bytes()].concat();
        let caveat = Caveat { nonce, ..Caveat::default() };
        keys.push(keys[depth].restrict(&caveat).unwrap());
    }
    keys
}

async fn is_accepted(network: &Network, key: &ApiKey) -> bool {
    let request = ProjectInfoRequest { header: header(key) };
    match network.client().project_info(request).await.map_err(Failure::from) {
        Ok(_) => true,
        Err(failure) => {
            assert_eq!(failure.code, Code::PERMISSION_DENIED, "{failure}");
            false
        }
    }
}

async fn revoke(network: &Network, by: &ApiKey, target: &ApiKey) -> Result<(), Failure> {
    let request = RevokeApiKeyRequest { api_key: target.to_bytes().into(), header: header(by) };
    network.client().revoke_api_key(request).await.map(drop).map_err(Failure::from)
}

/// The satellite keeps what it looked up for 30 s. A revocation takes effect at once nevertheless.
#[tokio::test]
async fn revoked_keys_end_with_their_descendants_in_random_chains() {
    let mut config = Config::dev();
    config.api_key_cache = Duration::from_secs(30);
    let network = Network::start_with(0, config, std::time::SystemTime::now).await;
    let trials = ProptestConfig::default().cases.max(1_000) as usize;
    let seed = seed();
    let mut random = Random(seed);
    for trial in 0..trials {
        let case = format!("trial {trial} of seed {seed}");
        let keys = chain(&network.api_key, 1 + random.below(MAX_DEPTH), trial);
        let target = 1 + random.below(keys.len() - 1);
        let by = random.below(target);
        // Some are looked up before.
        assert!(is_accepted(&network, &keys[random.below(keys.len())]).await, "{case}");
        let rejected = revoke(&network, &keys[target], &keys[by]).await.unwrap_err();
        assert_eq!(rejected.code, Code::PERMISSION_DENIED, "{case}: {rejected}");
        revoke(&network, &keys[by], &keys[target]).await.expect(&case);
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(is_accepted(&network, key).await, index < target, "{case}: key {index}");
        }
    }
    println!("{trials} trials, seed {seed}");
    network.stop().await;
}
