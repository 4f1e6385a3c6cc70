//! Programs that use the reference client, `storj.io/uplink`.

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
    let folder = BUILT.get_or_init(|| built(&target()?)).clone()?;
    Ok(folder.join(name))
}

/// The folder of this package's Go programs.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");

const PROGRAM: &str = "go";

fn built(target: &Path) -> Result<PathBuf, JudgeError> {
    let folder = target.join("interop");
    std::fs::create_dir_all(&folder).map_err(|error| JudgeError::io(&folder, &error))?;
    build(Command::new(PROGRAM), &folder).map(|()| folder)
}

fn build(mut command: Command, folder: &Path) -> Result<(), JudgeError> {
    // Version control is not asked: a checkout may be a copy, or belong to somebody else.
    command.args(["build", "-buildvcs=false", "-o"]).arg(folder).arg("./...").current_dir(SOURCE);
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

/// The folder of build output that the running program comes from.
fn target() -> Result<PathBuf, JudgeError> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| JudgeError::io(Path::new("/proc/self/exe"), &error))?;
    // Cargo puts tests into `deps` of the profile's folder.
    let deps = program.ancestors().find(|path| path.ends_with("deps"));
    let folder = deps.unwrap_or(&program).parent();
    Ok(folder.unwrap_or_else(|| Path::new(".")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_go_is_said_with_what_to_install() {
        let missing = build(Command::new("no-such-program"), Path::new("/nowhere")).unwrap_err();
        assert!(matches!(missing, JudgeError::Missing { .. }), "{missing}");
        assert!(missing.to_string().contains("install Go 1.25 or newer"), "{missing}");
    }

    #[test]
    fn failed_build_is_said_with_what_the_compiler_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 1"]);
        let failed = build(command, Path::new("/nowhere")).unwrap_err();
        assert!(matches!(failed, JudgeError::Build { .. }), "{failed}");
        assert!(failed.to_string().contains("the reason"), "{failed}");
    }
}
