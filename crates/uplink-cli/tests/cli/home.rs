//! A temporary home with a configuration and a working directory, and commands run in it.

use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub(crate) struct Home {
    root: TempDir,
    unprivileged: Cell<bool>,
}

/// Id of the unprivileged user and group.
#[cfg(unix)]
const UNPRIVILEGED_ID: u32 = 65534;

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    /// Standard error without the summary of a batch.
    pub(crate) stderr: String,
    /// The summary of a batch.
    pub(crate) summary: Option<String>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        Self { root, unprivileged: Cell::new(false) }
    }

    /// Returns the working directory of commands.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Returns the path of the stored accesses.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.path().join("config/uplink/access.json")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink"));
        command
            .args(args)
            .current_dir(self.work())
            .env_remove("UPLINK_ACCESS")
            .env_remove("UPLINK_LOG")
            .env("HOME", self.root.path())
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        if self.unprivileged.get() {
            use std::os::unix::process::CommandExt as _;
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        }
        command
    }

    /// Runs a shell script, in which `$UPLINK` is the command.
    pub(crate) fn shell(&self, script: &str) -> Finished {
        let inner = self.command(&[]);
        let mut command = Command::new("bash");
        command.args(["-eu", "-c", script]).env("UPLINK", env!("CARGO_BIN_EXE_uplink"));
        command.current_dir(self.work());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Finished::wait(command.spawn().unwrap())
    }

    /// Runs later commands as an unprivileged user, who becomes the owner of all files.
    #[cfg(unix)]
    pub(crate) fn unprivileged(&self) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mut pending = vec![self.root.path().to_owned()];
        while let Some(path) = pending.pop() {
            std::os::unix::fs::chown(&path, Some(UNPRIVILEGED_ID), Some(UNPRIVILEGED_ID)).unwrap();
            if path.is_dir() && !path.is_symlink() {
                pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        self.unprivileged.set(true);
    }

    /// Runs a command without input.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Finished::wait(self.command(args).spawn().unwrap())
    }

    /// Runs a command with all of `input` on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Finished {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // Best effort: a command that fails early stops reading.
            let _ = stdin.write_all(&input);
        });
        let finished = Finished::wait(child);
        writer.join().unwrap();
        finished
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.work().join(name)).unwrap()
    }
}

impl Finished {
    pub(crate) fn wait(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let is_summary = |line: &&str| {
            let actions = ["Aborted ", "Copied ", "Moved ", "Removed ", "Would "];
            actions.iter().any(|action| line.starts_with(action))
        };
        let summary = stderr.lines().find(is_summary).map(str::to_owned);
        let rest = stderr.split_inclusive('\n').filter(|line| !is_summary(line)).collect();
        Self { code: output.status.code(), stdout: output.stdout, stderr: rest, summary }
    }

    /// Expects success and empty standard error, and returns standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        String::from_utf8(self.ok_bytes()).unwrap()
    }

    #[track_caller]
    pub(crate) fn ok_bytes(self) -> Vec<u8> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }

    /// Expects success and one JSON object a line. The summary of a batch is left out.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        let mut objects = parse_lines(&self.ok());
        objects.retain(|object| object.get("summary").is_none());
        objects
    }

    /// Returns the summary of a batch, which is the last JSON object.
    #[track_caller]
    pub(crate) fn json_summary(&self) -> serde_json::Value {
        assert_eq!(self.summary, None, "{self:?}");
        let mut objects = parse_lines(str::from_utf8(&self.stdout).unwrap());
        objects.pop().expect("an object")["summary"].take()
    }

    /// Expects a command on many objects to be incomplete: a line for each failure, in any order,
    /// that starts with the given text, and a summary at the end.
    #[track_caller]
    pub(crate) fn incomplete(self, failures: &[&str]) {
        let mut lines: Vec<_> = self.stderr.lines().collect();
        let last = lines.pop().unwrap_or_default();
        assert!(last.starts_with("uplink: incomplete: "), "{self:?}");
        for failure in failures {
            let index = lines.iter().position(|line| {
                line.strip_prefix("uplink: ").is_some_and(|line| line.starts_with(failure))
            });
            lines.remove(index.unwrap_or_else(|| panic!("{failure:?} is not reported: {self:?}")));
        }
        assert_eq!(lines, [""; 0], "more is reported");
        assert_eq!(self.code, Some(12));
    }

    /// Expects failure with an exit code and a one-line message that contains `words`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &str) {
        let message = self.stderr.strip_prefix("uplink: ").and_then(|text| text.strip_suffix('\n'));
        let message = message.unwrap_or_else(|| panic!("not a message: {self:?}"));
        assert!(!message.contains('\n') && message.len() > 10, "{message}");
        assert!(message.contains(words), "{words:?} is not in {message:?}");
        assert_eq!(self.code, Some(code), "{message}");
    }
}

fn parse_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the relative paths of all files below a directory, sorted.
pub(crate) fn names_below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}
