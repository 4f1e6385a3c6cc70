//! HMAC with the two hash functions used by the formats.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

use crate::secret::{Secret, burn_stack};

/// Computes HMAC-SHA256 over the concatenation of `parts`.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Secret<[u8; 32]> {
    hmac::<Hmac<Sha256>, 32>(key, parts)
}

/// Computes the first `N` bytes of HMAC-SHA512 over the concatenation of `parts`.
pub(crate) fn hmac_sha512<const N: usize>(key: &[u8], parts: &[&[u8]]) -> Secret<[u8; N]> {
    hmac::<Hmac<Sha512>, N>(key, parts)
}

fn hmac<M: Mac + KeyInit, const N: usize>(key: &[u8], parts: &[&[u8]]) -> Secret<[u8; N]> {
    let mut output = Secret::zeros();
    hmac_into::<M>(key, parts, output.expose_mut());
    burn_stack();
    output
}

/// Not inlined, so that its locals are on the stack that is burnt.
#[inline(never)]
fn hmac_into<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]], output: &mut [u8]) {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC accepts keys of any length");
    for part in parts {
        mac.update(part);
    }
    let whole = mac.finalize().into_bytes();
    output.iter_mut().zip(&whole).for_each(|(to, from)| *to = *from);
}
