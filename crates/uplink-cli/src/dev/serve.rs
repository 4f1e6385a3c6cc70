//! A running network: prints how to use it, serves control requests, and shuts down on a signal.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use uplink_testnet::{Network, Node, NodeId};

use super::control::{self, NodeState, Request, Response};
use super::keys::Keys;
use super::ready::Ready;
use crate::access_store::AccessName;
use crate::args::dev::MAX_LATENCY;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::network::request_access;
use crate::output::Output;

/// Name of the stored access grant.
const ACCESS_NAME: &str = "dev";

/// Serves until Ctrl-C or SIGTERM, which count as success.
pub(super) async fn run(network: Network, ephemeral: bool, context: &Context) -> Outcome {
    let _guard = context.interrupt.defer();
    let directory = network.directory().to_owned();
    let listener = control::listen(&directory)?;
    let network = Arc::new(network);
    let mut connections = JoinSet::new();
    let outcome = tokio::select! {
        outcome = announce(&network, ephemeral, context) => match outcome {
            Ok(()) => tokio::select! {
                never = accept(&listener, &network, &mut connections) => match never {},
                _ = context.interrupt.wait() => Ok(()),
            },
            failed => failed,
        },
        _ = context.interrupt.wait() => Ok(()),
    };
    control::close(&directory);
    connections.shutdown().await;
    if let Some(network) = Arc::into_inner(network) {
        network.stop().await;
    }
    context.out.note("Stopped the network.");
    outcome
}

/// Creates or loads the access grant, and prints that the network is ready.
async fn announce(network: &Network, ephemeral: bool, context: &Context) -> Outcome {
    let keys = Keys::load_or_create(network).await?;
    let access = request_access(&network.satellite_url(), &keys.api_key, &keys.passphrase).await?;
    let grant = access.serialize()?;
    let is_current = if ephemeral {
        false
    } else {
        context.store.put(&AccessName::parse(ACCESS_NAME)?, &access, false)?;
        context.store.read()?.current.as_deref() == Some(ACCESS_NAME)
    };
    let ready = Ready::new(network, keys.api_key, grant);
    context.out.object(&ready)?;
    print_usage(network, &ready, ephemeral, is_current, context.out)
}

/// Prints the properties of the network and example commands.
fn print_usage(
    network: &Network,
    ready: &Ready,
    ephemeral: bool,
    is_current: bool,
    out: Output,
) -> Outcome {
    let scheme = network.scheme();
    let nodes = network.nodes().len();
    let title = format!("Running a satellite and {nodes} storage nodes");
    out.line(format_args!("\n  {}\n", out.bold(title)))?;
    out.line(format_args!("  satellite  {}", ready.satellite))?;
    let required = scheme.required();
    out.line(format_args!("  scheme     {scheme}: any {required} pieces restore a segment"))?;
    let lifetime = if ephemeral { "deleted on exit" } else { "kept for the next start" };
    out.line(format_args!(
        "  data       {} {}",
        ready.data.display(),
        out.dim(format_args!("({lifetime})"))
    ))?;
    let option = if ephemeral {
        out.line("  access     for other terminals:\n")?;
        out.line(format_args!("export UPLINK_ACCESS={}", ready.access))?;
        ""
    } else if is_current {
        out.line(format_args!("  access     stored as {ACCESS_NAME:?}, used by default"))?;
        ""
    } else {
        out.line(format_args!("  access     stored as {ACCESS_NAME:?}"))?;
        " --access dev"
    };
    out.line("\n  In another terminal:\n")?;
    let data = if ephemeral { format!(" --data {}", ready.data.display()) } else { String::new() };
    out.line(format_args!("    uplink mb{option} sj://photos"))?;
    out.line(format_args!("    uplink cp{option} cat.jpg sj://photos/cat.jpg"))?;
    out.line(format_args!("    uplink dev node stop 3{data}"))?;
    out.line(format_args!("    uplink dev node list{data}"))?;
    out.line(format_args!("    uplink cat{option} sj://photos/cat.jpg > whole.jpg"))?;
    out.line(format_args!("\n  {}", out.dim("Press Ctrl-C to stop.")))
}

/// The output of a future that never completes.
enum Never {}

/// Accepts control connections.
async fn accept(
    listener: &UnixListener,
    network: &Arc<Network>,
    connections: &mut JoinSet<()>,
) -> Never {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve_connection(stream, Arc::clone(network)));
            }
            // Out of descriptors: retry when other connections may have ended.
            Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(mut stream: UnixStream, network: Arc<Network>) {
    let Ok(request) = control::read_request(&mut stream).await else { return };
    let response = handle(request, &network).await.unwrap_or_else(|failure| Response::Failed {
        exit: failure.exit() as u8,
        message: failure.to_string(),
    });
    // Best effort: the peer may have disconnected.
    let _ = control::write_response(&mut stream, &response).await;
}

/// Time between attempts to accept a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

async fn handle(request: Request, network: &Network) -> Outcome<Response> {
    let node = match request {
        Request::Project { name } => {
            let keys = Keys::create(network, name.as_deref(), "project").await?;
            let access =
                request_access(&network.satellite_url(), &keys.api_key, &keys.passphrase).await?;
            let ready = Ready::new(network, keys.api_key, access.serialize()?);
            return Ok(Response::Project(Box::new(ready)));
        }
        Request::Nodes => {
            let mut nodes = Vec::new();
            for node in network.nodes() {
                nodes.push(node_state(node).await);
            }
            return Ok(Response::Nodes(nodes));
        }
        Request::Stop { node } => {
            let node = find_node(network, &node)?;
            node.stop().await?;
            node
        }
        Request::Start { node } => {
            let node = find_node(network, &node)?;
            node.start().await?;
            node.check_in().await?;
            node
        }
        Request::Slow { node, milliseconds } => {
            let node = find_node(network, &node)?;
            node.slow(Duration::from_millis(milliseconds.min(MAX_LATENCY))).await?;
            node.check_in().await?;
            node
        }
    };
    Ok(Response::Nodes(vec![node_state(node).await]))
}

/// Returns the node with an index or id.
fn find_node<'a>(network: &'a Network, text: &str) -> Outcome<&'a Node> {
    if let Ok(index) = text.parse() {
        return Ok(network.node(index)?);
    }
    let id: NodeId = text.parse().map_err(|_| {
        Failure::usage(format!("invalid storage node {text:?}: must be an index or a node id"))
    })?;
    Ok(network.node_by_id(id)?)
}

async fn node_state(node: &Node) -> NodeState {
    let usage = node.usage().await;
    let delay = node.delay().await;
    let latency = delay.unwrap_or_default().as_millis();
    NodeState {
        index: node.index(),
        id: node.id().to_string(),
        address: node.address().to_string(),
        data: node.directory().to_owned(),
        running: delay.is_some(),
        latency_ms: u64::try_from(latency).unwrap_or(u64::MAX),
        pieces: usage.map(|usage| usage.pieces),
        stored: usage.map(|usage| usage.used),
    }
}
