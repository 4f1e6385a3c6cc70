//! Secrets: wiped on drop, redacted in `Debug`, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret whose memory is wiped on drop and whose `Debug` form is redacted.
///
/// Reading requires an explicit [`expose`](Self::expose), so that every use of the plain value is
/// visible in the code. Secrets of bytes compare in constant time for equal lengths.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value. The caller must wipe earlier copies.
    pub const fn new(value: T) -> Self {
        Self(value)
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

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize + Default> Default for Secret<T> {
    fn default() -> Self {
        Self(T::default())
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
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
