//! Control protocol of a running network: a Unix socket in its directory, one JSON line per request
//! and response.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::ready::Ready;
use crate::failure::{Exit, Failure, Outcome};

/// A request to a running network.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Create a project.
    Project { name: Option<String> },
    /// List the nodes.
    Nodes,
    /// Stop a node, selected by its index or id.
    Stop { node: String },
    /// Start a stopped node.
    Start { node: String },
    /// Set the one-way latency of a node.
    Slow { node: String, milliseconds: u64 },
}

/// The response to a request.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Response {
    Project(Box<Ready>),
    Nodes(Vec<NodeState>),
    Failed { exit: u8, message: String },
}

/// State of a storage node.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct NodeState {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) address: String,
    pub(super) data: PathBuf,
    pub(super) running: bool,
    /// Added one-way latency in milliseconds.
    pub(super) latency_ms: u64,
    /// Pieces stored, `None` while the node is stopped.
    pub(super) pieces: Option<u64>,
    /// Bytes stored, `None` while the node is stopped.
    pub(super) stored: Option<u64>,
}

const SOCKET: &str = "control.sock";
/// Maximum bytes of a line. A list of 256 nodes in deep directories fits.
const MAX_LINE_SIZE: u64 = 1 << 20;
/// Timeout to read a request, and to wait for the response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends a request to the network that runs in a directory, and returns the response.
pub(super) async fn send(directory: &Path, request: &Request) -> Outcome<Response> {
    let failure = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let text = format!(
                "no network is running in {}; `uplink dev` starts one",
                directory.display()
            );
            Failure::new(Exit::NotFound, text)
        }
        _ => {
            Failure::io(format_args!("cannot reach the network in {}", directory.display()), &error)
        }
    };
    let mut stream = UnixStream::connect(directory.join(SOCKET)).await.map_err(failure)?;
    write(&mut stream, request).await.map_err(failure)?;
    match timeout(TIMEOUT, read(&mut stream)).await {
        Ok(Ok(Response::Failed { exit, message })) => {
            Err(Failure::new(Exit::from_code(exit), message))
        }
        Ok(response) => response.map_err(failure),
        Err(_) => Err(failure(io::ErrorKind::TimedOut.into())),
    }
}

/// Returns the failure for a response of the wrong type.
pub(super) fn unexpected_response() -> Failure {
    Failure::new(
        Exit::Protocol,
        "response type does not match the request: the network may run another version",
    )
}

/// Opens the control socket, accessible only to the owner. The caller holds the directory's lock.
pub(super) fn listen(directory: &Path) -> Outcome<UnixListener> {
    let path = directory.join(SOCKET);
    let bind = || {
        // An existing socket is stale: its process was killed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|error| Failure::io(format_args!("cannot open control socket {path:?}"), &error))
}

/// Removes the control socket.
pub(super) fn close(directory: &Path) {
    // Best effort: a stale socket is replaced by the next start.
    let _ = std::fs::remove_file(directory.join(SOCKET));
}

/// Reads the request of a connection.
pub(super) async fn read_request(stream: &mut UnixStream) -> io::Result<Request> {
    timeout(TIMEOUT, read(stream)).await?
}

/// Writes the response to a connection.
pub(super) async fn write_response(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    timeout(TIMEOUT, write(stream, response)).await?
}

async fn write(stream: &mut UnixStream, message: &(impl Serialize + Sync)) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read<T: for<'a> Deserialize<'a>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE_SIZE)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}
