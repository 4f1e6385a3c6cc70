//! Interoperability tests: foreign clients on our network, and our client on theirs.
//!
//! ```text
//!   test ── Driver ══ one JSON line each way ══ driver (Go) ── storj.io/uplink ──► network under test
//! ```
//!
//! The drivers are small programs in `tests/interop/`, each in the language of its client. Tests
//! that need one are marked `#[ignore = "slow: …"]`. If the language is missing they fail and say
//! what to install.

use std::path::{Path, PathBuf};

mod driver;
pub mod go;
mod python;
pub mod storj;

pub use driver::{ClientError, Driver, DriverError};

/// Returns the folder of build output that contains the running program.
fn target() -> Result<PathBuf, DriverError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| DriverError::io(Path::new("/proc/self/exe"), &error))?;
    // Cargo puts tests into the folder `deps` of the profile's folder.
    let deps = program.ancestors().find(|path| path.ends_with("deps"));
    let folder = deps.unwrap_or(&program).parent();
    Ok(folder.unwrap_or_else(|| Path::new(".")).to_owned())
}
