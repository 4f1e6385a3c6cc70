//! Foreign clients as judges: what our network and our client do must be right in their eyes.
//!
//! ```text
//!   test ── Judge ══ one JSON line each way ══ judge (Go) ── storj.io/uplink ──► network under test
//! ```
//!
//! The judges are small programs in `tests/interop/`, each in the language of its client. Tests
//! that need one carry `#[ignore = "slow: …"]`; where the language is missing they fail and say what
//! to install.

use std::path::{Path, PathBuf};

pub mod go;
mod judge;
mod python;
pub mod storj;

pub use judge::{Judge, JudgeError, Refusal};

/// The folder of build output that the running program comes from.
fn target() -> Result<PathBuf, JudgeError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| JudgeError::io(Path::new("/proc/self/exe"), &error))?;
    // Cargo puts tests into `deps` of the profile's folder.
    let deps = program.ancestors().find(|path| path.ends_with("deps"));
    let folder = deps.unwrap_or(&program).parent();
    Ok(folder.unwrap_or_else(|| Path::new(".")).to_owned())
}
