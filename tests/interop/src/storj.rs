//! The driver of the crate `storj`, another client written in Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::driver::DriverError;

/// The manifest of the driver, a separate workspace: its dependencies are not in ours.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/storj/Cargo.toml");
const PROGRAM: &str = "cargo";

/// Builds the driver once per process, and returns its path.
///
/// # Errors
/// It does not build. The first use needs the network, to fetch the crates in its `Cargo.lock`.
pub(crate) fn driver() -> Result<PathBuf, DriverError> {
    static BUILT: OnceLock<Result<PathBuf, DriverError>> = OnceLock::new();
    BUILT.get_or_init(|| build("dev", "debug")).clone()
}

/// Builds the program with optimizations, for benchmarks, and returns its path. The variables of
/// `benches/jobs/transfer.rs` describe its job.
///
/// # Errors
/// It does not build.
pub fn bench() -> Result<PathBuf, DriverError> {
    build("release", "release")
}

fn build(profile: &str, folder: &str) -> Result<PathBuf, DriverError> {
    let target = crate::target()?.join("interop").join("storj");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| PROGRAM.into()));
    command.args(["build", "--quiet", "--locked", "--manifest-path", MANIFEST]);
    command.args(["--profile", profile]);
    command.arg("--target-dir").arg(&target);
    // Set by cargo for this process; inherited, they would trigger rebuilds.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(target.join(folder).join("driver-storj")),
        Ok(output) => {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(DriverError::Build { program: PROGRAM, output })
        }
        Err(error) => Err(DriverError::io(Path::new(PROGRAM), &error)),
    }
}
