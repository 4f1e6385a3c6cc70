//! The database of the public network's satellite.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{Process, finish};

/// A PostgreSQL server for one test, on a socket in its own folder. Dropping it stops it.
pub(crate) struct Postgres {
    server: Process,
    programs: PathBuf,
    // Dropped last: the server uses the folder.
    home: TempDir,
}

/// PostgreSQL refuses to run as root; Debian's package creates this user.
const USER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Postgres {
    pub(crate) fn start() -> Self {
        let programs = programs();
        let home = tempfile::Builder::new().prefix("uplink-pg-").tempdir().expect("a folder");
        if is_root() {
            let mut give = Command::new("chown");
            give.arg(USER).arg(home.path());
            finish(give);
        }
        let data = home.path().join("data");
        let mut init = as_user(&programs.join("initdb"), home.path());
        init.args(["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        init.arg("--no-sync").arg("--pgdata").arg(&data);
        finish(init);
        let mut run = as_user(&programs.join("postgres"), home.path());
        run.arg("-D").arg(&data).arg("-k").arg(home.path());
        run.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]);
        let server = Process::start(run, home.path().join("postgres.log"));
        let mut postgres = Self { server, programs, home };
        postgres.answers();
        postgres
    }

    fn answers(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let mut ask = self.psql(USER, "select 1");
            if ask.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("psql").success() {
                return;
            }
            self.server.assert_runs();
            assert!(Instant::now() < deadline, "timeout: no response:\n{}", self.server.end());
            sleep(Duration::from_millis(100));
        }
    }

    /// Runs statements, all of which must succeed.
    pub(crate) fn execute(&self, database: &str, statements: &str) {
        finish(self.psql(database, statements));
    }

    /// Returns the first value of a query.
    pub(crate) fn query(&self, database: &str, query: &str) -> String {
        let output = self.psql(database, query).output().expect("psql");
        assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns the URL of a database for Go programs.
    pub(crate) fn url(&self, database: &str) -> String {
        let socket = self.home.path().display();
        format!("postgres://{USER}@localhost/{database}?host={socket}&sslmode=disable")
    }

    fn psql(&self, database: &str, statements: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--username", USER, "--dbname", database, "--no-psqlrc", "--quiet"]);
        psql.args([
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--command",
            statements,
        ]);
        psql.arg("--host").arg(self.home.path());
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A killed server would leave its shared memory behind.
        let mut stop = as_user(&self.programs.join("pg_ctl"), self.home.path());
        stop.args(["stop", "--mode=immediate", "--pgdata"]).arg(self.home.path().join("data"));
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Returns the folder of the newest installed version, which Debian keeps off the PATH.
fn programs() -> PathBuf {
    let version = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    let debian = newest.map(|path| path.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = debian.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find(|folder| folder.join("initdb").exists());
    found.unwrap_or_else(|| {
        panic!("PostgreSQL is missing, which the satellite needs: install the package `postgresql`")
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Returns a command that runs as an unprivileged user.
fn as_user(program: &Path, home: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(home);
    command
}
