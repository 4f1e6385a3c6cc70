//! F26, F27 and a part of F73: names under wrong keys, names of tenants, and nonces of names.

use std::collections::HashSet;

use proptest::prelude::*;
use uplink_core::access_grant::{AccessGrant, SharePrefix};
use uplink_core::encryption::key::{component_key, path_nonce};
use uplink_core::encryption::path::{content_key, decrypt_path, encrypt_path};
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};
use uplink_core::macaroon::{ApiKey, Permission};

use super::samples::root;

const BUCKET: &str = "app";

fn store(key: [u8; 32], cipher: CipherSuite) -> EncryptionStore {
    EncryptionStore::with_default_key(Key::new(key), cipher)
}

fn any_cipher() -> impl Strategy<Value = CipherSuite> {
    prop::sample::select(vec![
        CipherSuite::AesGcm,
        CipherSuite::SecretBox,
        CipherSuite::ChaCha20Poly1305,
    ])
}

proptest! {
    #![proptest_config(super::cases(10_000))]

    /// An empty component has no tag (it is only a nonce), so names have none here.
    #[test]
    fn name_under_another_key_is_a_decryption_failure(
        one in any::<[u8; 32]>(),
        other in any::<[u8; 32]>(),
        cipher in any_cipher(),
        name in "[a-zäö. -]{1,20}(/[a-zäö. -]{1,20}){0,4}",
    ) {
        prop_assume!(one != other);
        let one = store(one, cipher);
        let other = store(other, cipher);
        let bucket = BUCKET.as_bytes();
        let encrypted = encrypt_path(&one, bucket, name.as_bytes()).unwrap();
        prop_assert_eq!(decrypt_path(&one, bucket, &encrypted).unwrap(), name.as_bytes());
        let failure = decrypt_path(&other, bucket, &encrypted).unwrap_err();
        prop_assert!(failure.is_decryption_failure(), "{}", failure);
        prop_assert_ne!(
            content_key(&one, bucket, name.as_bytes()),
            content_key(&other, bucket, name.as_bytes())
        );
        // In another bucket every key is another one.
        prop_assert!(decrypt_path(&one, b"other", &encrypted).is_err());
    }
}

struct Tenant {
    prefix: String,
    grant: AccessGrant,
    names: Vec<String>,
    encrypted: Vec<Vec<u8>>,
}

impl Tenant {
    fn new(app: &AccessGrant, number: u8) -> Self {
        let prefix = format!("tenant-{number}/");
        let shared = SharePrefix { bucket: BUCKET.into(), prefix: prefix.clone().into_bytes() };
        let mut grant = app.restrict(&Permission::full(), &[shared], [number; 4]).expect("shared");
        let key = Key::new([number; 32]);
        grant.override_encryption_key(BUCKET, prefix.as_bytes(), key).expect("overridden");
        let grant = AccessGrant::parse(&grant.serialize().expect("a text")).expect("a grant");
        let names = ["notes", "deep/er/name", "größe"].map(|name| format!("{prefix}{name}"));
        let encrypt = |name: &String| {
            encrypt_path(grant.encryption(), BUCKET.as_bytes(), name.as_bytes()).expect("a key")
        };
        let encrypted = names.iter().map(encrypt).collect();
        Self { prefix, grant, names: names.into(), encrypted }
    }
}

/// Returns the store of a tenant that puts its own key in the place of another tenant's, as a program
/// would that wants to read the other's names.
fn aimed(attacker: &Tenant, victim: &Tenant) -> EncryptionStore {
    let own = attacker.grant.encryption().entries()[0].clone();
    let place = victim.grant.encryption().entries()[0].clone();
    let mut store = EncryptionStore::new();
    let entry = uplink_core::encryption::store::StoreEntry { key: own.key, ..place };
    store.add(entry).expect("an entry");
    store
}

/// 100 × 100 tenants: none decrypts a name of another, and none has the key of another's content.
#[test]
fn tenants_decrypt_no_name_and_have_no_key_of_another() {
    let app = root();
    let tenants: Vec<Tenant> = (0..100).map(|number| Tenant::new(&app, number)).collect();
    let bucket = BUCKET.as_bytes();
    let mut pairs = 0;
    for one in &tenants {
        for other in &tenants {
            let is_same = one.prefix == other.prefix;
            let aimed = aimed(one, other);
            for (name, encrypted) in other.names.iter().zip(&other.encrypted) {
                let name = name.as_bytes();
                for store in [one.grant.encryption(), &aimed] {
                    let opened = decrypt_path(store, bucket, encrypted);
                    assert_eq!(opened.is_ok_and(|opened| opened == name), is_same);
                    let key = content_key(store, bucket, name).ok();
                    let real = content_key(other.grant.encryption(), bucket, name).ok();
                    assert_eq!(key == real, is_same);
                }
                // Nor does the application, which shared all of the grants.
                assert!(decrypt_path(app.encryption(), bucket, encrypted).is_err());
            }
            pairs += 1;
        }
    }
    println!("{pairs} cases");
    assert_eq!(pairs, 10_000);
}

/// A name's nonce follows from the name and the keys above it: equal names under one key have equal
/// ciphertexts, and different names different nonces.
#[test]
fn different_names_under_one_key_have_different_nonces() {
    let mut seen = HashSet::new();
    let mut names = 0u32;
    for parent in 0..20u8 {
        let parent = Key::new([parent; 32]);
        for number in 0..10_000u32 {
            let nonce = path_nonce(&component_key(&parent, &number.to_be_bytes()));
            // The twelve bytes that AES-GCM takes.
            assert!(seen.insert((*parent.expose(), nonce.as_bytes()[..12].to_vec())));
            names += 1;
        }
    }
    println!("{names} cases");
}

/// An API key that permits everything does not help: the keys decide what can be decrypted.
#[test]
fn full_api_key_with_the_keys_of_a_tenant_opens_no_other() {
    let app = root();
    let one = Tenant::new(&app, 1);
    let other = Tenant::new(&app, 2);
    let api_key: ApiKey = app.api_key().clone();
    let stolen = AccessGrant::new("s:7777".into(), api_key, one.grant.encryption());
    let stolen = stolen.expect("a grant");
    let bucket = BUCKET.as_bytes();
    for (name, encrypted) in other.names.iter().zip(&other.encrypted) {
        assert!(decrypt_path(stolen.encryption(), bucket, encrypted).is_err());
        assert!(content_key(stolen.encryption(), bucket, name.as_bytes()).is_err());
    }
}
