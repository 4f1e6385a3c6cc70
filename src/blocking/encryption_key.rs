//! The call of [`EncryptionKey`].

use super::bridge::Bridge;
use crate::access::EncryptionKey;
use crate::error::Result;

/// Derives a key from a passphrase and a salt; see [`EncryptionKey::derive`].
pub fn derive(passphrase: &str, salt: &[u8]) -> Result<EncryptionKey> {
    Bridge::open()?.block_on(EncryptionKey::derive(passphrase, salt))
}
