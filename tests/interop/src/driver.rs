//! A driver: a program that runs a foreign client on behalf of a test.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::{go, python, storj};

#[cfg(test)]
mod tests;

/// A running driver. Dropping it kills the program.
///
/// It runs one command at a time; tests start several drivers for concurrency.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    input: ChildStdin,
    responses: Lines<BufReader<ChildStdout>>,
    timeout: Duration,
    /// Whether a response is outstanding, which would be taken for that of the next command.
    out_of_sync: bool,
}

/// Default time limit of a command.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

impl Driver {
    /// Starts the driver of the reference client and builds it first if necessary.
    ///
    /// `environment` adds variables that configure the client. Needs a Tokio runtime.
    ///
    /// # Errors
    /// Those of [`go::program`], or the program does not start.
    pub fn go(environment: &[(&str, &str)]) -> Result<Self, DriverError> {
        let mut command = Command::new(go::program("driver")?);
        command.envs(environment.iter().copied());
        Self::start(command)
    }

    /// Starts the driver of the wheel `storj-uplink` and installs the wheel first if necessary.
    ///
    /// It supports fewer operations than the one in Go, and only UTF-8 keys.
    ///
    /// # Errors
    /// Python or pip is missing, the wheel cannot be installed, or the program does not start.
    pub fn python() -> Result<Self, DriverError> {
        Self::start(python::driver()?.into())
    }

    /// Starts the driver of the crate `storj` and builds it first if necessary.
    ///
    /// It supports fewer operations than the one in Go, and only UTF-8 keys.
    ///
    /// # Errors
    /// It does not build or does not start.
    pub fn storj() -> Result<Self, DriverError> {
        Self::start(Command::new(storj::driver()?))
    }

    /// Starts a program that speaks the protocol of a driver.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(mut command: Command) -> Result<Self, DriverError> {
        let name = command.as_std().get_program().to_owned();
        let failed = |error: &io::Error| DriverError::io(Path::new(&name), error);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&io::Error::other("started without its pipes")));
        };
        let responses = BufReader::new(output).lines();
        Ok(Self { child, input, responses, timeout: DEFAULT_TIMEOUT, out_of_sync: false })
    }

    /// Sets the time limit of each command; two minutes by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs a command, an object with the field `op`, and returns the foreign client's result.
    ///
    /// # Errors
    /// [`DriverError::Client`] if that client returned an error. After any other error, or if this
    /// future was dropped, the driver cannot be used any more.
    pub async fn call(&mut self, command: &Value) -> Result<Value, DriverError> {
        let op = command["op"].as_str().unwrap_or_default().to_owned();
        if std::mem::replace(&mut self.out_of_sync, true) {
            return Err(DriverError::OutOfSync { op });
        }
        let exchange = exchange(&mut self.input, &mut self.responses, command);
        let response = match timeout(self.timeout, exchange).await {
            Ok(Ok(Some(response))) => response,
            Ok(ended) => return Err(self.ended(op, ended.err())),
            Err(_) => return Err(DriverError::TimedOut { op, seconds: self.timeout.as_secs() }),
        };
        let response: Value = serde_json::from_str(&response)
            .map_err(|error| DriverError::Response { op, reason: error.to_string() })?;
        self.out_of_sync = false;
        match response["error"].as_str() {
            Some(text) => Err(DriverError::Client(ClientError {
                text: text.to_owned(),
                kind: response["kind"].as_str().unwrap_or_default().to_owned(),
                code: response["code"].as_u64().unwrap_or_default(),
            })),
            None => Ok(response),
        }
    }

    fn ended(&mut self, op: String, error: Option<io::Error>) -> DriverError {
        let status = self.child.try_wait().ok().flatten();
        let status = status.map(|status| status.to_string());
        let reason = error.map(|error| error.to_string()).or(status);
        DriverError::Exited { op, reason: reason.unwrap_or_else(|| "end of output".into()) }
    }
}

async fn exchange(
    input: &mut ChildStdin,
    responses: &mut Lines<BufReader<ChildStdout>>,
    command: &Value,
) -> io::Result<Option<String>> {
    input.write_all(format!("{command}\n").as_bytes()).await?;
    input.flush().await?;
    responses.next_line().await
}

/// An error returned by a foreign client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientError {
    /// Its text.
    pub text: String,
    /// The name of the matching exported error, such as `ErrObjectNotFound`, or empty.
    pub kind: String,
    /// The satellite's status code, or 0 if the client does not expose it.
    pub code: u64,
}

/// Why a call to a driver failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The response is not valid JSON.
    #[error("invalid response of the driver to {op:?}: {reason}")]
    Response {
        /// The operation.
        op: String,
        /// Why the response is invalid.
        reason: String,
    },
    /// The driver does not build.
    #[error("{program} failed to build the driver:\n{output}")]
    Build {
        /// The build program.
        program: &'static str,
        /// Its output.
        output: String,
    },
    /// No response within the timeout.
    #[error("timeout: no response of the driver to {op:?} within {seconds} s")]
    TimedOut {
        /// The operation.
        op: String,
        /// The time limit in seconds.
        seconds: u64,
    },
    /// The driver exited before it responded.
    #[error("the driver exited before it responded to {op:?}: {reason}")]
    Exited {
        /// The operation.
        op: String,
        /// Exit status or I/O error, if known.
        reason: String,
    },
    /// An I/O error.
    #[error("{path}: {reason}")]
    Io {
        /// The path.
        path: String,
        /// The error's text.
        reason: String,
    },
    /// An earlier command got no response, so responses no longer match commands.
    #[error("cannot run {op:?}: the driver is out of sync after a command without response")]
    OutOfSync {
        /// The operation.
        op: String,
    },
    /// A program needed to build a driver is not installed.
    #[error("cannot build the driver: `{program}` is missing: {remedy}")]
    Missing {
        /// The program.
        program: &'static str,
        /// How to install it.
        remedy: &'static str,
    },
    /// The foreign client returned an error.
    #[error("client error: {} ({}, code {})", .0.text, .0.kind, .0.code)]
    Client(ClientError),
}

impl DriverError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.display().to_string(), reason: error.to_string() }
    }

    /// Returns the foreign client's error.
    ///
    /// # Errors
    /// Returns `self` if the driver itself failed.
    pub fn client_error(self) -> Result<ClientError, Self> {
        match self {
            Self::Client(error) => Ok(error),
            other => Err(other),
        }
    }
}
