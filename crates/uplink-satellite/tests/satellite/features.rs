//! Unsupported features: responses and failures match the public network.

use bytes::Bytes;
use uplink_core::macaroon::{ApiKey, Caveat, Operation};
use uplink_rpc::r#gen::metainfo::*;
use uplink_rpc::status::{Code, Failure};

use crate::network::{Network, header};

async fn network() -> Network {
    let network = Network::start(0).await;
    network.create_bucket("bucket").await;
    network
}

/// Makes a call and returns its status code.
macro_rules! code {
    ($key:expr, $network:ident.$call:ident($request:ident { $($field:ident: $value:expr),* })) => {{
        #[allow(clippy::needless_update, reason = "some requests have no other fields")]
        let request =
            $request { $($field: $value,)* header: header($key), ..Default::default() };
        let answer = $network.client().$call(request).await.map_err(Failure::from);
        answer.err().map_or(Code::OK, |failure| failure.code).0
    }};
}

/// Returns the codes of all calls for features of a bucket.
async fn bucket_codes(network: &Network, key: &ApiKey, name: &'static str) -> [u64; 10] {
    let name = || Bytes::from(name);
    let some = || Some(NotificationConfiguration::default());
    [
        code!(key, network.get_bucket_location(GetBucketLocationRequest { name: name() })),
        code!(key, network.get_bucket_versioning(GetBucketVersioningRequest { name: name() })),
        code!(key, network.set_bucket_versioning(SetBucketVersioningRequest { name: name() })),
        code!(key, network.get_bucket_tagging(GetBucketTaggingRequest { name: name() })),
        code!(key, network.set_bucket_tagging(SetBucketTaggingRequest { name: name() })),
        code!(
            key,
            network.get_bucket_object_lock_configuration(GetBucketObjectLockConfigurationRequest {
                name: name()
            })
        ),
        code!(
            key,
            network.set_bucket_object_lock_configuration(SetBucketObjectLockConfigurationRequest {
                name: name()
            })
        ),
        code!(
            key,
            network.get_bucket_notification_configuration(
                GetBucketNotificationConfigurationRequest { name: name() }
            )
        ),
        code!(
            key,
            network.set_bucket_notification_configuration(
                SetBucketNotificationConfigurationRequest { name: name() }
            )
        ),
        code!(
            key,
            network.set_bucket_notification_configuration(
                SetBucketNotificationConfigurationRequest { name: name(), configuration: some() }
            )
        ),
    ]
}

/// Returns the codes of all calls for features of an object.
async fn object_codes(network: &Network, key: &ApiKey, bucket: &'static str) -> [u64; 4] {
    let bucket = || Bytes::from(bucket);
    [
        code!(key, network.get_object_retention(GetObjectRetentionRequest { bucket: bucket() })),
        code!(key, network.set_object_retention(SetObjectRetentionRequest { bucket: bucket() })),
        code!(key, network.get_object_legal_hold(GetObjectLegalHoldRequest { bucket: bucket() })),
        code!(key, network.set_object_legal_hold(SetObjectLegalHoldRequest { bucket: bucket() })),
    ]
}

#[tokio::test]
async fn bucket_features_are_reported_as_unsupported() {
    let network = network().await;
    let key = &network.api_key;
    let codes = bucket_codes(&network, key, "bucket").await;
    assert_eq!(codes, [1, 1, 9, 12, 12, 10_003, 10_002, 1, 1, 12]);
    let codes = bucket_codes(&network, key, "missing").await;
    assert_eq!(codes, [5, 5, 5, 12, 12, 5, 5, 5, 5, 5]);
    let no_operations =
        Caveat { disallowed: Operation::ALL.into_iter().collect(), ..Caveat::default() };
    let restricted = key.restrict(&no_operations).unwrap();
    // Every key may read the properties of a bucket that it has access to.
    assert_eq!(
        bucket_codes(&network, &restricted, "bucket").await,
        [1, 1, 7, 12, 7, 7, 7, 7, 7, 7]
    );
    network.stop().await;
}

#[tokio::test]
async fn object_lock_calls_fail_for_bucket_without_lock() {
    let network = network().await;
    let key = &network.api_key;
    assert_eq!(object_codes(&network, key, "bucket").await, [10_003; 4]);
    assert_eq!(object_codes(&network, key, "missing").await, [5; 4]);
    let no_operations =
        Caveat { disallowed: Operation::ALL.into_iter().collect(), ..Caveat::default() };
    let restricted = key.restrict(&no_operations).unwrap();
    assert_eq!(object_codes(&network, &restricted, "bucket").await, [7; 4]);
    network.stop().await;
}

#[tokio::test]
async fn removed_calls_are_unimplemented_and_licenses_are_empty() {
    let network = network().await;
    let key = &network.api_key;
    let codes = [
        code!(key, network.finish_delete_object(FinishDeleteObjectRequest {})),
        code!(key, network.begin_delete_segment(BeginDeleteSegmentRequest {})),
        code!(key, network.finish_delete_segment(FinishDeleteSegmentRequest {})),
        code!(key, network.account_licenses(AccountLicensesRequest {})),
    ];
    assert_eq!(codes, [12, 12, 12, 1]);
    network.stop().await;
}
