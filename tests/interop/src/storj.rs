//! A program that uses the crate `storj`, another client written in Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::judge::JudgeError;

/// The manifest of the program, which is a workspace of its own: that crate brings packages that
/// this project does without.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/storj/Cargo.toml");
const PROGRAM: &str = "cargo";

/// Builds the judge unless this process did, and returns its path.
///
/// # Errors
/// It does not build. The first use needs the network, to fetch the crates of its `Cargo.lock`.
pub(crate) fn judge() -> Result<PathBuf, JudgeError> {
    static BUILT: OnceLock<Result<PathBuf, JudgeError>> = OnceLock::new();
    BUILT.get_or_init(|| built("dev", "debug")).clone()
}

/// Builds the program with all optimisations, to be measured, and returns its path. It is told what
/// to move by the variables of `benches/jobs/moving.rs`.
///
/// # Errors
/// As the judge's: it does not build.
pub fn bench() -> Result<PathBuf, JudgeError> {
    built("release", "release")
}

fn built(profile: &str, folder: &str) -> Result<PathBuf, JudgeError> {
    let target = crate::target()?.join("interop").join("storj");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| PROGRAM.into()));
    command.args(["build", "--quiet", "--locked", "--manifest-path", MANIFEST]);
    command.args(["--profile", profile]);
    command.arg("--target-dir").arg(&target);
    // Set for this process by cargo; inherited, they would rebuild what reads them.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(target.join(folder).join("judge-storj")),
        Ok(output) => {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(JudgeError::Build { program: PROGRAM, output })
        }
        Err(error) => Err(JudgeError::io(Path::new(PROGRAM), &error)),
    }
}
