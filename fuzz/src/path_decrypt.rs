use uplink_core::encryption::path::{
    PathError, PrefixInfo, content_key, decrypt_path, encrypt_path, encrypt_prefix,
};
use uplink_core::encryption::store::StoreEntry;
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};

use super::input::Input;

/// Input: an encryption store of one or two keys, and a path used as encrypted and as plain.
pub fn path_decrypt(data: &[u8]) {
    let mut input = Input::new(data);
    let cipher = CipherSuite::from_number(input.byte().into());
    // The key of the test vectors.
    let key = Key::new(std::array::from_fn(|index| index as u8));
    let mut store = EncryptionStore::with_default_key(key, cipher);
    let added = store.add(StoreEntry {
        bucket: b"other".to_vec(),
        unencrypted_path: input.sized().to_vec(),
        encrypted_path: input.sized().to_vec(),
        key: Key::new([8; 32]),
        path_cipher: cipher,
    });
    store.set_encryption_bypass(input.byte() == 1);
    let bucket: &[u8] = if input.byte() == 0 { b"bucket" } else { b"other" };
    let name = input.rest();

    // A path that decrypts is a valid path. Nonces are authenticated only together with content.
    if let Ok(plain) = decrypt_path(&store, bucket, name) {
        assert_round_trips(&store, bucket, &plain);
    }
    assert_round_trips(&store, bucket, name);
    assert_relative(&store, bucket, name);
    if added.is_ok() && cipher == CipherSuite::AesGcm && !name.is_empty() {
        assert!(content_key(&store, bucket, name).is_ok());
    }
}

/// Asserts that an encrypted path decrypts to the same path.
fn assert_round_trips(store: &EncryptionStore, bucket: &[u8], plain: &[u8]) {
    let Ok(encrypted) = encrypt_path(store, bucket, plain) else { return };
    let encrypting = store.lookup_unencrypted(bucket, plain).base.map(|base| base.encrypted_path);
    let decrypting =
        store.lookup_encrypted(bucket, &encrypted).base.map(|base| base.encrypted_path);
    // Without path encryption, an entry can have the encrypted path of another entry.
    if encrypting == decrypting {
        assert_eq!(decrypt_path(store, bucket, &encrypted).as_deref(), Ok(plain));
    }
    if let Some(parent) = plain.strip_suffix(b"/") {
        let prefix = encrypt_prefix(store, bucket, plain).expect("a shorter name");
        let encrypted = encrypt_path(store, bucket, parent).expect("a shorter name");
        assert_eq!(prefix, [encrypted.as_slice(), b"/"].concat());
    }
}

/// Asserts that the path relative to its parent is the end of the whole path.
fn assert_relative(store: &EncryptionStore, bucket: &[u8], name: &[u8]) {
    let info = match PrefixInfo::new(store, bucket, name) {
        Ok(info) => info,
        Err(PathError::NoParent) => return,
        Err(error) => {
            assert!(encrypt_path(store, bucket, name).is_err(), "{error}");
            return;
        }
    };
    let last = match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => &name[slash + 1..],
        None => name,
    };
    let relative = info.encrypt_relative(last).expect("a component of an encrypted path");
    assert!(info.encrypted_path.ends_with(&relative));
    assert_eq!(info.decrypt_relative(&relative).as_deref(), Ok(last));
    assert!(info.encrypted_path.starts_with(&info.encrypted_parent));
}
