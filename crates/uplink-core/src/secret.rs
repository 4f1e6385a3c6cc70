//! Secrets: wiped on drop, redacted in `Debug`, compared in constant time.
//!
//! A value on the stack leaves its bytes behind whenever it is moved. Secrets are therefore on the heap,
//! arrays are filled there, and the stack is burnt after computing with one.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret on the heap whose memory is wiped on drop and whose `Debug` form is redacted. Moving it
/// leaves no copy.
///
/// Reading requires an explicit [`expose`](Self::expose), so that every use of the plain value is
/// visible in the code. Secrets of bytes compare in constant time for equal lengths.
pub struct Secret<T: Zeroize>(Box<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value. The caller must wipe earlier copies, which for an array includes the argument:
    /// prefer [`copy_of`](Self::copy_of) and [`zeros`](Self::zeros).
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Returns a reference to the plain value.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Returns a mutable reference to the plain value, for filling it in place.
    pub const fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<const N: usize> Secret<[u8; N]> {
    /// Copies a secret; `None` unless it has `N` bytes.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zeros();
        (bytes.len() == N).then(|| {
            secret.0.copy_from_slice(bytes);
            secret
        })
    }

    /// Creates a secret of zeros, to be filled in place.
    #[must_use]
    pub fn zeros() -> Self {
        Self(Box::new([0; N]))
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize + Default> Default for Secret<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_ref().ct_eq(other.expose().as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Overwrites the stack below the caller's frame, where the functions that it has called kept
/// intermediate values. For use after calling a function that is not inlined and that computes with a
/// secret: libraries do not wipe their locals, and a value that is returned or moved leaves a copy.
///
/// Overwrites 4 KiB, more than hashes and ciphers use in an optimized build.
#[inline]
pub(crate) fn burn_stack() {
    overwrite::<{ (4 << 10) / size_of::<u64>() }>();
}

/// Overwrites 32 KiB of stack: Argon2 keeps several blocks of 1 KiB there.
#[inline]
pub(crate) fn burn_deep_stack() {
    overwrite::<{ (32 << 10) / size_of::<u64>() }>();
}

#[inline(never)]
fn overwrite<const WORDS: usize>() {
    let mut region = [0u64; WORDS];
    // Unlike an assignment, this is not optimized away.
    region.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_redacted_in_debug() {
        assert_eq!(format!("{:?}", Secret::new([7u8; 4])), "Secret(redacted)");
        assert_eq!(format!("{:?}", Secret::new("passphrase".to_owned())), "Secret(redacted)");
    }

    #[test]
    fn equality_compares_every_byte_and_the_length() {
        let secret = Secret::new(vec![1u8, 2, 3]);
        assert_eq!(secret, Secret::new(vec![1u8, 2, 3]));
        assert_ne!(secret, Secret::new(vec![1u8, 2, 4]));
        assert_ne!(secret, Secret::new(vec![1u8, 2]));
        assert_ne!(Secret::new([0u8; 32]), Secret::new([1u8; 32]));
    }
}
