//! How commands talk to a running network: a Unix socket in its folder, one line of JSON there, one
//! back.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::Ready;
use crate::failure::{Exit, Failure, Outcome};

/// What is asked of a running network.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Make a project.
    Project { name: Option<String> },
    /// List the nodes.
    Nodes,
    /// Stop a node, named by its index or id.
    Stop { node: String },
    /// Start it again.
    Start { node: String },
    /// Make every way to and from it take longer.
    Slow { node: String, milliseconds: u64 },
}

/// What it answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Project(Box<Ready>),
    Nodes(Vec<NodeState>),
    Failed { exit: u8, message: String },
}

/// How a node is.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct NodeState {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) address: String,
    pub(super) data: PathBuf,
    pub(super) running: bool,
    /// Milliseconds that each way takes longer.
    pub(super) latency_ms: u64,
    /// Pieces it holds; unknown while it does not run.
    pub(super) pieces: Option<u64>,
    /// Bytes that its pieces take.
    pub(super) stored: Option<u64>,
}

const SOCKET: &str = "control.sock";
/// Most bytes of a line: a list of 256 nodes in deep folders fits.
const MAX_LINE: u64 = 1 << 20;
/// Time for a request to arrive, and for its answer to be made.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks something of the network that runs in a folder.
pub(super) async fn ask(folder: &Path, request: &Request) -> Outcome<Answer> {
    let failure = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let text = format!("no network runs in {}; `uplink dev` starts one", folder.display());
            Failure::new(Exit::NotFound, text)
        }
        _ => Failure::io(format_args!("cannot reach the network in {}", folder.display()), &error),
    };
    let mut stream = UnixStream::connect(folder.join(SOCKET)).await.map_err(failure)?;
    write(&mut stream, request).await.map_err(failure)?;
    match timeout(DEADLINE, read(&mut stream)).await {
        Ok(Ok(Answer::Failed { exit, message })) => Err(Failure::new(Exit::of(exit), message)),
        Ok(answer) => answer.map_err(failure),
        Err(_) => Err(failure(io::ErrorKind::TimedOut.into())),
    }
}

/// The answer is not one to the question.
pub(super) fn misunderstood() -> Failure {
    Failure::new(Exit::Protocol, "the network answers something else: is it of another version?")
}

/// Opens the socket for the owner of the folder, which no other network has.
pub(super) fn listen(folder: &Path) -> Outcome<UnixListener> {
    let path = folder.join(SOCKET);
    let bound = || {
        // What lies there is of a process that was killed.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bound().map_err(|error| {
        Failure::io(format_args!("cannot open the socket {path:?} for other commands"), &error)
    })
}

/// Takes the socket away.
pub(super) fn close(folder: &Path) {
    // A socket that nobody listens on does no harm.
    let _ = std::fs::remove_file(folder.join(SOCKET));
}

/// Reads what is asked on a connection.
pub(super) async fn question(stream: &mut UnixStream) -> io::Result<Request> {
    timeout(DEADLINE, read(stream)).await?
}

/// Answers on it.
pub(super) async fn answer(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    timeout(DEADLINE, write(stream, answer)).await?
}

async fn write(stream: &mut UnixStream, line: &(impl Serialize + Sync)) -> io::Result<()> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read<T: for<'a> Deserialize<'a>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}
