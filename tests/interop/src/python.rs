//! A program that uses the wheel `storj-uplink`, which wraps the C library of the reference client.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::judge::JudgeError;

/// The folder of this package's Python program.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
const PROGRAM: &str = "python3";
const REMEDY: &str = "install Python 3.10 or newer with pip";

/// Installs the wheel unless that was done before, and returns the command that runs the judge.
///
/// # Errors
/// There is no Python or no pip, or the wheel cannot be had. The first use needs the network.
pub(crate) fn judge() -> Result<Command, JudgeError> {
    static INSTALLED: OnceLock<Result<PathBuf, JudgeError>> = OnceLock::new();
    let folder = INSTALLED.get_or_init(installed).clone()?;
    let mut command = Command::new(PROGRAM);
    // Isolated from what else is installed, and without files beside the source.
    command.args(["-s", "-B"]).arg(Path::new(SOURCE).join("judge.py")).env("PYTHONPATH", folder);
    Ok(command)
}

/// The folder with the wheel in it: beside the compiled tests, named after what was asked for.
fn installed() -> Result<PathBuf, JudgeError> {
    let requirements = Path::new(SOURCE).join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements);
    let wanted = wanted.map_err(|error| JudgeError::io(&requirements, &error))?;
    let version = wanted.split_whitespace().next().unwrap_or_default().replace("==", "-");
    let folder = crate::target()?.join("interop").join(version);
    // What an interrupted installation left does not count: its folder gets this name at the end.
    if !folder.exists() {
        let fresh = folder.with_extension("new");
        let mut command = Command::new(PROGRAM);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command.args(["--no-deps", "--upgrade", "--require-hashes", "--target"]).arg(&fresh);
        command.arg("--requirement").arg(&requirements);
        run(command)?;
        std::fs::rename(&fresh, &folder).map_err(|error| JudgeError::io(&folder, &error))?;
    }
    Ok(folder)
}

fn run(mut command: Command) -> Result<(), JudgeError> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(JudgeError::Build { program: PROGRAM, output })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(JudgeError::Missing { program: PROGRAM, remedy: REMEDY })
        }
        Err(error) => Err(JudgeError::io(Path::new(PROGRAM), &error)),
    }
}
