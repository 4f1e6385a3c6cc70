use uplink_core::encryption::content::ContentCipher;
use uplink_core::encryption::key::{unwrap_key, wrap_key};
use uplink_core::encryption::{CipherSuite, EncryptionError, Key, Nonce};

use super::input::Input;

/// Input: suite, key, nonce, first block and block size, then bytes to seal and to open.
pub fn content_block(data: &[u8]) {
    let mut input = Input::new(data);
    let suite = CipherSuite::from_number(input.byte().into());
    let key = Key::new(input.array());
    let nonce = Nonce::new(input.array());
    let first = input.number();
    let block_size = usize::from(input.byte());
    let content = input.rest();
    let Ok(cipher) = ContentCipher::new(suite, &key) else {
        assert!(!suite.is_supported() || suite == CipherSuite::Null);
        return;
    };
    assert_foreign(&cipher, &nonce, first, block_size, content);
    let Ok(plain_size) = cipher.plain_block_size(block_size) else { return };
    let whole = content.len() / plain_size * plain_size;
    assert_blocks(&cipher, &nonce, first, block_size, &content[..whole]);
    let sealed = cipher.seal_whole(&nonce, content).expect("short content");
    assert_eq!(cipher.open_whole(&nonce, &sealed).as_deref(), Ok(content));
    let wrapped = wrap_key(suite, &key, &nonce, &key).expect("a key");
    assert_eq!(unwrap_key(suite, &key, &nonce, &wrapped).as_ref(), Ok(&key));
}

/// Asserts that bytes that open are exactly the bytes that sealing their content produces.
fn assert_foreign(c: &ContentCipher, nonce: &Nonce, first: u64, block_size: usize, sealed: &[u8]) {
    let blocks = sealed.len().checked_div(block_size).unwrap_or(0);
    let plain_size = block_size.saturating_sub(c.overhead());
    let mut plain = vec![0; blocks * plain_size];
    if c.open_blocks(nonce, first, block_size, sealed, &mut plain).is_ok() {
        let mut resealed = vec![0; sealed.len()];
        c.seal_blocks(nonce, first, block_size, &plain, &mut resealed).expect("opened content");
        assert_eq!(resealed, sealed);
    }
}

/// Asserts that blocks open one by one and together, and that a changed or moved block does not.
fn assert_blocks(c: &ContentCipher, nonce: &Nonce, first: u64, block_size: usize, plain: &[u8]) {
    let plain_size = block_size - c.overhead();
    let count = plain.len() / plain_size;
    let mut sealed = vec![0; count * block_size];
    let outcome = c.seal_blocks(nonce, first, block_size, plain, &mut sealed);
    if let Err(EncryptionError::BlockNumber { .. }) = outcome {
        assert!(first.checked_add(count as u64).is_none());
        return;
    }
    outcome.expect("whole blocks");
    let mut opened = vec![0; plain.len()];
    c.open_blocks(nonce, first, block_size, &sealed, &mut opened).expect("sealed blocks");
    assert_eq!(opened, plain);
    for (index, block) in (first..first + count as u64).zip(sealed.chunks_mut(block_size)).take(2) {
        let mut out = vec![0; plain_size];
        c.open_block(nonce, index, block, &mut out).expect("a sealed block");
        assert!(c.open_block(nonce, index ^ 1, block, &mut out).is_err());
        block[index as usize % block_size] ^= 1;
        out.fill(0);
        assert!(c.open_block(nonce, index, block, &mut out).is_err());
    }
}
