//! Cargo, run in the workspace's root.

use std::process::Command;

use crate::{Failure, root};

/// Runs cargo and fails if it does.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failure> {
    let status = command(arguments).envs(variables.iter().copied()).status()?;
    let name = format!("cargo {}", arguments.join(" "));
    if status.success() { Ok(()) } else { Err(format!("{name} failed").into()) }
}

/// Returns a command that runs cargo.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    // Set by `cargo run` for this program; inherited, they would rebuild dependencies that read them.
    for variable in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_VERSION"] {
        command.env_remove(variable);
    }
    command
}
