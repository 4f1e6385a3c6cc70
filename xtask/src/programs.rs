//! Test programs, run directly: with a selection of them, cargo would compile dependencies again, with
//! the features of that selection.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Failure, cargo};

/// A compiled test program.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The folder of its package, in which cargo would run it.
    pub(crate) folder: PathBuf,
}

impl Program {
    /// Returns a command that runs the program.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Builds test programs with the arguments of `cargo test`.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Program>, Failure> {
    let fixed = ["test", "--no-run", "--message-format=json-render-diagnostics"];
    let arguments = [&fixed[..], arguments].concat();
    let output = cargo::command(&arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("failed to build the tests".into());
    }
    let mut programs = Vec::new();
    for message in String::from_utf8(output.stdout)?.lines() {
        let message: Value = serde_json::from_str(message)?;
        let [name, path, manifest] =
            [&message["target"]["name"], &message["executable"], &message["manifest_path"]]
                .map(Value::as_str);
        let (Some(name), Some(path), Some(manifest)) = (name, path, manifest) else { continue };
        let folder = PathBuf::from(manifest).with_file_name("");
        programs.push(Program { name: name.to_owned(), path: path.into(), folder });
    }
    Ok(programs)
}
