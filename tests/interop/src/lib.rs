//! Foreign clients as judges: what our network and our client do must be right in their eyes.
//!
//! ```text
//!   test ── Judge ══ one JSON line each way ══ judge (Go) ── storj.io/uplink ──► network under test
//! ```
//!
//! The judges are small programs in `tests/interop/`, each in the language of its client. Tests
//! that need one carry `#[ignore = "slow: …"]`; where the language is missing they fail and say what
//! to install.

pub mod go;
mod judge;

pub use judge::{Judge, JudgeError, Refusal};
