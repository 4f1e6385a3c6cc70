//! The program `uplink-satellite`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

/// Runs the program with a temporary satellite folder.
pub(crate) struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    pub(crate) fn set_up(flags: &[&str]) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        let done = program.run(&[&["setup"], flags].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        program
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("satellite")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_uplink-satellite"));
        command.arg("--dir").arg(self.dir()).args(arguments).env("RUST_LOG", "error");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the program, expects it to fail, and returns its standard error.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Starts serving and waits until it is ready.
    pub(crate) async fn serve(&self) -> (Child, Value) {
        let mut command = tokio::process::Command::from(self.command(&["run", "--json"]));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = timeout(Duration::from_secs(30), lines.next_line()).await.unwrap();
        (child, serde_json::from_str(&ready.unwrap().unwrap()).unwrap())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns a port that was just free.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn mode_of(file: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn satellite_is_set_up_run_and_terminated() {
    let listen = format!("listen=127.0.0.1:{}", free_port());
    let program = Program::set_up(&["--set", &listen]);
    assert_eq!(mode_of(&program.dir().join("identity/identity.key")), 0o600);
    let made = program.json(&["project", "create", "photos"]);
    let (mut child, ready) = program.serve().await;
    assert_eq!(ready["satellite"], made["satellite"]);
    let request = made["command"].as_str().unwrap();
    let satellite = made["satellite"].as_str().unwrap();
    let api_key = made["api_key"].as_str().unwrap();
    assert_eq!(
        request,
        format!("uplink access request --satellite {satellite} --api-key {api_key}")
    );
    uplink_core::macaroon::ApiKey::parse(api_key).unwrap();
    let second = program.failure(&["run"]);
    assert!(second.contains("listen") && second.contains("satellite.toml"), "{second}");
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn projects_keys_and_nodes_are_listed_and_changed() {
    let program = Program::set_up(&[]);
    program.json(&["project", "create", "one"]);
    program.json(&["project", "create", "two"]);
    program.json(&["project", "disable", "two"]);
    let listed = program.json(&["project", "list"]);
    let state = |index: usize| (listed[index]["name"].clone(), listed[index]["disabled"].clone());
    assert_eq!(state(0), ("one".into(), false.into()));
    assert_eq!(state(1), ("two".into(), true.into()));
    program.json(&["api-key", "create", "one", "laptop"]);
    let names = |listed: Value| -> Vec<String> {
        let keys = listed.as_array().unwrap().clone();
        keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(program.json(&["api-key", "list", "one"])), ["default", "laptop"]);
    program.json(&["api-key", "delete", "one", "default"]);
    assert_eq!(names(program.json(&["api-key", "list", "one"])), ["laptop"]);
    assert_eq!(program.json(&["node", "list"]), Value::Array(Vec::new()));
    for (arguments, expected) in [
        (&["project", "create", "one"][..], "already exists"),
        (&["project", "create", ""], "invalid project name: must have"),
        (&["api-key", "create", "none", "key"], "project \"none\" not found"),
        (&["api-key", "create", "one", "laptop"], "already exists"),
        (&["api-key", "delete", "one", "none"], "API key \"none\" not found"),
        (
            &["node", "disqualify", "12EayRS2V1kEsWESU9QMRseFhdxYxKicsiFmxrsLZHeLUtdps3S"],
            "has never checked in",
        ),
    ] {
        let error = program.failure(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn existing_files_are_kept_and_missing_ones_reported() {
    let program = Program::set_up(&[]);
    let again = program.failure(&["setup"]);
    assert!(again.contains("satellite.toml exists already"), "{again}");
    let file = program.dir().join("satellite.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let kept = program.failure(&["setup"]);
    assert!(kept.contains("already exists") && kept.contains("identity"), "{kept}");
    assert!(!file.exists());
    let missing = program.failure(&["run"]);
    assert!(missing.contains("satellite.toml does not exist"), "{missing}");
    std::fs::write(&file, config).unwrap();
    let database = program.dir().join("satellite.db");
    std::fs::rename(&database, database.with_extension("away")).unwrap();
    let missing = program.failure(&["run"]);
    assert!(missing.contains("satellite.db does not exist: mount its disk"), "{missing}");
    assert!(!database.exists());
    std::fs::remove_dir_all(program.dir().join("identity")).unwrap();
    let missing = program.failure(&["run"]);
    assert!(missing.contains("identity.cert") && missing.contains("setup"), "{missing}");
}

#[tokio::test]
async fn satellite_without_database_starts_only_with_flag() {
    let program = Program::set_up(&["--set", "listen=127.0.0.1:0"]);
    std::fs::remove_file(program.dir().join("satellite.db")).unwrap();
    program.failure(&["run"]);
    let mut command = tokio::process::Command::from(program.command(&["run"]));
    command.args(["--json", "--accept-empty-database"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(Duration::from_secs(30), lines.next_line()).await.unwrap();
    assert!(ready.unwrap().unwrap().contains("satellite"));
    child.kill().await.unwrap();
    program.serve().await.0.kill().await.unwrap();
}

#[test]
fn invalid_configuration_and_database_are_reported() {
    let program = Program::set_up(&[]);
    let file = program.dir().join("satellite.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    for (damage, expected) in [
        (config.replace("listen", "lisnet"), "unknown key \"lisnet\": did you mean \"listen\"?"),
        (config.replace("4/6/8/10-256", "4/6"), "expected the form"),
        (format!("{config}\n["), "satellite.toml"),
    ] {
        std::fs::write(&file, damage).unwrap();
        let error = program.failure(&["run"]);
        assert!(error.contains(expected), "{error}");
    }
    std::fs::write(&file, &config).unwrap();
    let error = program.failure(&["run", "--set", "scheme=9/6/8/10-256"]);
    assert!(error.contains("redundancy scheme"), "{error}");
    std::fs::write(program.dir().join("satellite.db"), "not a database".repeat(1_000)).unwrap();
    let error = program.failure(&["project", "list"]);
    assert!(error.contains("not a database"), "{error}");
}
