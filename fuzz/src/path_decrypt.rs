use uplink_core::encryption::path::{
    PathError, PrefixInfo, content_key, decrypt_path, encrypt_path, encrypt_prefix,
};
use uplink_core::encryption::store::StoreEntry;
use uplink_core::encryption::{CipherSuite, EncryptionStore, Key};

use super::input::Input;

/// A store of one or two keys, and a name in encrypted and in plain form.
pub fn path_decrypt(data: &[u8]) {
    let mut input = Input::new(data);
    let cipher = CipherSuite::from_number(input.byte().into());
    // The key of the vectors.
    let key = Key::new(std::array::from_fn(|place| place as u8));
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

    // What decrypts is a name like any other. Nonces are not authenticated where nothing else is.
    if let Ok(plain) = decrypt_path(&store, bucket, name) {
        assert_there_and_back(&store, bucket, &plain);
    }
    assert_there_and_back(&store, bucket, name);
    assert_relative(&store, bucket, name);
    if added.is_ok() && cipher == CipherSuite::AesGcm && !name.is_empty() {
        assert!(content_key(&store, bucket, name).is_ok());
    }
}

fn assert_there_and_back(store: &EncryptionStore, bucket: &[u8], plain: &[u8]) {
    let Ok(encrypted) = encrypt_path(store, bucket, plain) else { return };
    let forth = store.lookup_unencrypted(bucket, plain).base.map(|base| base.encrypted_path);
    let back = store.lookup_encrypted(bucket, &encrypted).base.map(|base| base.encrypted_path);
    // An entry can claim an encrypted name that, without encryption, is somebody else's.
    if forth == back {
        assert_eq!(decrypt_path(store, bucket, &encrypted).as_deref(), Ok(plain));
    }
    if let Some(parent) = plain.strip_suffix(b"/") {
        let prefix = encrypt_prefix(store, bucket, plain).expect("a shorter name");
        let encrypted = encrypt_path(store, bucket, parent).expect("a shorter name");
        assert_eq!(prefix, [encrypted.as_slice(), b"/"].concat());
    }
}

/// A name below its parent is the end of the whole name.
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
    let relative = info.encrypt_relative(last).expect("a part of a name that was encrypted");
    assert!(info.encrypted_path.ends_with(&relative));
    assert_eq!(info.decrypt_relative(&relative).as_deref(), Ok(last));
    assert!(info.encrypted_path.starts_with(&info.encrypted_parent));
}
