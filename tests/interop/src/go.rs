//! Go programs: those that use the reference client, `storj.io/uplink`, and those of the public
//! network.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::driver::DriverError;

/// Builds the programs in `tests/interop/go` once per process, and returns the path of one.
///
/// `name` is that of its folder: `driver`, or `bench`, which measures the reference client. The
/// output is beside the compiled tests; Go rebuilds only what changed.
///
/// # Errors
/// Go is missing, or the programs do not build. The first use needs the network, to fetch the
/// modules in `go.sum`.
pub fn program(name: &str) -> Result<PathBuf, DriverError> {
    static BUILT: OnceLock<Result<PathBuf, DriverError>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build_in(SOURCE, "./...")).clone()?;
    Ok(folder.join(name))
}

/// Builds the public network's storage node once per process, and returns its path.
///
/// It is the unmodified program `storagenode` of the version in `tests/interop/network/go.mod`.
///
/// # Errors
/// Those of [`program`]. Without Go's cache the build takes minutes.
pub fn storagenode() -> Result<PathBuf, DriverError> {
    static BUILT: OnceLock<Result<PathBuf, DriverError>> = OnceLock::new();
    let build = || build_in(NETWORK, "storj.io/storj/cmd/storagenode");
    Ok(BUILT.get_or_init(build).clone()?.join("storagenode"))
}

/// Builds the public network's satellite once per process, and returns its path.
///
/// # Errors
/// Those of [`storagenode`].
pub fn satellite() -> Result<PathBuf, DriverError> {
    static BUILT: OnceLock<Result<PathBuf, DriverError>> = OnceLock::new();
    let build = || build_in(NETWORK, "storj.io/storj/cmd/satellite");
    Ok(BUILT.get_or_init(build).clone()?.join("satellite"))
}

/// The folder of this package's Go programs.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");
/// The module that pins the versions of the public network's programs.
const NETWORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/network");

const PROGRAM: &str = "go";

fn build_in(module: &str, packages: &str) -> Result<PathBuf, DriverError> {
    let folder = crate::target()?.join("interop");
    std::fs::create_dir_all(&folder).map_err(|error| DriverError::io(&folder, &error))?;
    build(Command::new(PROGRAM), module, packages, &folder).map(|()| folder)
}

fn build(
    mut command: Command,
    module: &str,
    packages: &str,
    folder: &Path,
) -> Result<(), DriverError> {
    // Without version control: the checkout may be a copy, or owned by another user.
    command.args(["build", "-buildvcs=false", "-o"]).arg(folder).arg(packages).current_dir(module);
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => {
            let output = String::from_utf8_lossy(&stderr).trim_end().to_owned();
            Err(DriverError::Build { program: PROGRAM, output })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DriverError::Missing {
            program: PROGRAM,
            remedy: "install Go 1.25 or newer from https://go.dev/dl and put `go` on the PATH",
        }),
        Err(error) => Err(DriverError::io(Path::new(PROGRAM), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_go_error_says_what_to_install() {
        let missing = Command::new("no-such-program");
        let missing = build(missing, SOURCE, "./...", Path::new("/nowhere")).unwrap_err();
        assert!(matches!(missing, DriverError::Missing { .. }), "{missing}");
        assert!(missing.to_string().contains("install Go 1.25 or newer"), "{missing}");
    }

    #[test]
    fn failed_build_error_contains_compiler_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 1"]);
        let failed = build(command, SOURCE, "./...", Path::new("/nowhere")).unwrap_err();
        assert!(matches!(failed, DriverError::Build { .. }), "{failed}");
        assert!(failed.to_string().contains("the reason"), "{failed}");
    }
}
