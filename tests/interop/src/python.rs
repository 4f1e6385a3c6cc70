//! The driver of the wheel `storj-uplink`, which wraps the C library of the reference client.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::driver::DriverError;

/// The folder of this package's Python program.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
const PROGRAM: &str = "python3";
const REMEDY: &str = "install Python 3.10 or newer with pip";

/// Installs the wheel if necessary, and returns the command that runs the driver.
///
/// # Errors
/// Python or pip is missing, or the wheel cannot be installed. The first use needs the network.
pub(crate) fn driver() -> Result<Command, DriverError> {
    static INSTALLED: OnceLock<Result<PathBuf, DriverError>> = OnceLock::new();
    let folder = INSTALLED.get_or_init(install).clone()?;
    let mut command = Command::new(PROGRAM);
    // Isolated from other installed packages, without writing bytecode beside the source.
    command.args(["-s", "-B"]).arg(Path::new(SOURCE).join("driver.py")).env("PYTHONPATH", folder);
    Ok(command)
}

/// Installs the wheel beside the compiled tests, in a folder named after its version.
fn install() -> Result<PathBuf, DriverError> {
    let requirements = Path::new(SOURCE).join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements);
    let wanted = wanted.map_err(|error| DriverError::io(&requirements, &error))?;
    let version = wanted.split_whitespace().next().unwrap_or_default().replace("==", "-");
    let folder = crate::target()?.join("interop").join(version);
    // The folder is renamed at the end, so that an interrupted installation is not used.
    if !folder.exists() {
        let fresh = folder.with_extension("new");
        let mut command = Command::new(PROGRAM);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command.args(["--no-deps", "--upgrade", "--require-hashes", "--target"]).arg(&fresh);
        command.arg("--requirement").arg(&requirements);
        run(command)?;
        std::fs::rename(&fresh, &folder).map_err(|error| DriverError::io(&folder, &error))?;
    }
    Ok(folder)
}

fn run(mut command: Command) -> Result<(), DriverError> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            Err(DriverError::Build { program: PROGRAM, output })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DriverError::Missing { program: PROGRAM, remedy: REMEDY })
        }
        Err(error) => Err(DriverError::io(Path::new(PROGRAM), &error)),
    }
}
