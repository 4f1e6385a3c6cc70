//! Erasure coding: a segment becomes pieces, any `required` of which restore it.
//!
//! The code is a systematic Reed-Solomon code over GF(2⁸) with the reduction polynomial `0x11D`.
//! One column of a stripe holds one byte of each of the k data shares. The polynomial of degree below
//! k with these bytes as its values at the first k points has the byte of share i as its value at
//! point i. The points are 0, 1, 2, 4, 8, …; other libraries use 0, 1, 2, 3, … and produce shares
//! that no other client of the network can read.
//!
//! ```text
//! segment   | stripe 0                | stripe 1                | …
//! stripe    | share 0 | share 1 | … k | share 0 | share 1 | … k |
//! piece i   = share i of stripe 0, share i of stripe 1, …
//! ```
//!
//! Because the code works byte by byte, coding runs over *windows*: any number of whole stripes.
//! [`Encoder`] computes a window of all wanted pieces in one pass, or of a single piece. [`Decoder`]
//! restores a window of stripes from the same window of any k pieces. [`Corrector`] decodes from
//! more than k pieces and corrects and reports corrupt ones.

mod correct;
mod decode;
mod encode;
mod field;
mod kernel;
mod scheme;
#[cfg(target_arch = "x86_64")]
mod simd;
mod toeplitz;
mod window;

#[cfg(test)]
mod tests;

pub use self::correct::{CorrectError, Corrector};
pub use self::decode::{DecodeError, Decoder};
pub use self::encode::{EncodeError, Encoder};
pub use self::kernel::Kernel;
pub use self::scheme::{Code, MAX_SHARE_SIZE, MAX_STRIPE_SIZE, MAX_TOTAL, Scheme, SchemeError};
