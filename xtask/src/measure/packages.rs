//! Packages that programs of the workspace are built from.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Returns names and versions of the packages under the client with its default features.
pub(crate) fn client_packages(root: &Path) -> BTreeSet<String> {
    packages(root, &["--package", "uplink", "--edges", "normal"])
}

/// Returns names and versions of the packages in a tree of dependencies, its roots included.
pub(crate) fn packages(root: &Path, selection: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--locked", "--prefix", "none"]).args(selection).current_dir(root);
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let packages = output.lines().filter(|line| !line.is_empty());
    packages.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}
