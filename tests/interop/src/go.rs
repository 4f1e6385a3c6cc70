//! Programs in Go: those that use the reference client, `storj.io/uplink`, and those of the public
//! network.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::judge::JudgeError;

/// Builds the programs in `tests/interop/go` unless this process did, and returns the path of one.
///
/// `name` is that of its folder: `judge`, or `bench`, which measures the reference client. They are
/// put beside the compiled tests; Go builds anew only what changed.
///
/// # Errors
/// There is no Go, or the programs do not build. The first use needs the network, to fetch the
/// modules that `go.sum` names.
pub fn program(name: &str) -> Result<PathBuf, JudgeError> {
    static BUILT: OnceLock<Result<PathBuf, JudgeError>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| built(SOURCE, "./...")).clone()?;
    Ok(folder.join(name))
}

/// Builds the public network's own storage node unless this process did, and returns its path.
///
/// It is the program `storagenode` of the version that `tests/interop/network/go.mod` names, as it
/// is published.
///
/// # Errors
/// As [`program`]. Without Go's cache the build takes minutes.
pub fn storagenode() -> Result<PathBuf, JudgeError> {
    static BUILT: OnceLock<Result<PathBuf, JudgeError>> = OnceLock::new();
    let built = || built(NETWORK, "storj.io/storj/cmd/storagenode");
    Ok(BUILT.get_or_init(built).clone()?.join("storagenode"))
}

/// Builds the public network's own satellite unless this process did, and returns its path.
///
/// # Errors
/// As [`storagenode`].
pub fn satellite() -> Result<PathBuf, JudgeError> {
    static BUILT: OnceLock<Result<PathBuf, JudgeError>> = OnceLock::new();
    let built = || built(NETWORK, "storj.io/storj/cmd/satellite");
    Ok(BUILT.get_or_init(built).clone()?.join("satellite"))
}

/// The folder of this package's Go programs.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");
/// The module that fixes the public network's programs.
const NETWORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/network");

const PROGRAM: &str = "go";

fn built(module: &str, packages: &str) -> Result<PathBuf, JudgeError> {
    let folder = crate::target()?.join("interop");
    std::fs::create_dir_all(&folder).map_err(|error| JudgeError::io(&folder, &error))?;
    build(Command::new(PROGRAM), module, packages, &folder).map(|()| folder)
}

fn build(
    mut command: Command,
    module: &str,
    packages: &str,
    folder: &Path,
) -> Result<(), JudgeError> {
    // Version control is not asked: a checkout may be a copy, or belong to somebody else.
    command.args(["build", "-buildvcs=false", "-o"]).arg(folder).arg(packages).current_dir(module);
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => {
            let output = String::from_utf8_lossy(&stderr).trim_end().to_owned();
            Err(JudgeError::Build { program: PROGRAM, output })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(JudgeError::Missing {
            program: PROGRAM,
            remedy: "install Go 1.25 or newer from https://go.dev/dl and put `go` on the PATH",
        }),
        Err(error) => Err(JudgeError::io(Path::new(PROGRAM), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_go_is_said_with_what_to_install() {
        let missing = Command::new("no-such-program");
        let missing = build(missing, SOURCE, "./...", Path::new("/nowhere")).unwrap_err();
        assert!(matches!(missing, JudgeError::Missing { .. }), "{missing}");
        assert!(missing.to_string().contains("install Go 1.25 or newer"), "{missing}");
    }

    #[test]
    fn failed_build_is_said_with_what_the_compiler_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 1"]);
        let failed = build(command, SOURCE, "./...", Path::new("/nowhere")).unwrap_err();
        assert!(matches!(failed, JudgeError::Build { .. }), "{failed}");
        assert!(failed.to_string().contains("the reason"), "{failed}");
    }
}
