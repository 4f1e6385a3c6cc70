//! A running network: announces itself, does what other commands ask, ends when it is told to.

use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use uplink_testnet::{Network, Node, NodeId};

use super::control::{self, Answer, NodeState, Request};
use super::keys::Keys;
use super::ready::Ready;
use crate::Context;
use crate::access_store::AccessName;
use crate::failure::{Failure, Outcome};
use crate::network::access;
use crate::output::Output;

/// Name under which the access grant is stored.
const ACCESS_NAME: &str = "dev";

/// Serves until Ctrl-C or a request to terminate, which is how it ends well.
pub(super) async fn run(network: Network, ephemeral: bool, context: &Context) -> Outcome {
    let _guard = context.interrupt.hold();
    let folder = network.directory().to_owned();
    let listener = control::listen(&folder)?;
    let network = Arc::new(network);
    let mut conversations = JoinSet::new();
    let outcome = tokio::select! {
        outcome = announce(&network, ephemeral, context) => match outcome {
            Ok(()) => tokio::select! {
                never = converse(&listener, &network, &mut conversations) => match never {},
                _ = context.interrupt.wait() => Ok(()),
            },
            failed => failed,
        },
        _ = context.interrupt.wait() => Ok(()),
    };
    control::close(&folder);
    conversations.shutdown().await;
    if let Some(network) = Arc::into_inner(network) {
        network.stop().await;
    }
    context.out.note("The network has ended.");
    outcome
}

/// Says that the network is ready, and how to use it.
async fn announce(network: &Network, ephemeral: bool, context: &Context) -> Outcome {
    let keys = Keys::of(network).await?;
    let access = access(&network.satellite_url(), &keys.api_key, &keys.passphrase).await?;
    let grant = access.serialize()?;
    let current = if ephemeral {
        false
    } else {
        context.store.put(&AccessName::parse(ACCESS_NAME)?, &access, false)?;
        context.store.read()?.current.as_deref() == Some(ACCESS_NAME)
    };
    let ready = Ready::new(network, keys.api_key, grant);
    context.out.object(&ready)?;
    introduce(network, &ready, ephemeral, current, context.out)
}

fn introduce(
    network: &Network,
    ready: &Ready,
    ephemeral: bool,
    current: bool,
    out: Output,
) -> Outcome {
    let (scheme, nodes) = (network.scheme(), network.nodes().len());
    let title = format!("A satellite and {nodes} storage nodes are running");
    out.line(format_args!("\n  {}\n", out.bold(title)))?;
    out.line(format_args!("  satellite  {}", ready.satellite))?;
    let needed = scheme.required();
    out.line(format_args!("  scheme     {scheme}: any {needed} pieces restore a segment"))?;
    let lasts = if ephemeral { "goes with the network" } else { "kept for the next start" };
    out.line(format_args!(
        "  data       {} {}",
        ready.data.display(),
        out.dim(format_args!("({lasts})"))
    ))?;
    let option = if ephemeral {
        out.line("  access     for other terminals:\n")?;
        out.line(format_args!("export UPLINK_ACCESS={}", ready.access))?;
        ""
    } else if current {
        out.line(format_args!(
            "  access     stored as {ACCESS_NAME:?}, used unless told otherwise"
        ))?;
        ""
    } else {
        out.line(format_args!("  access     stored as {ACCESS_NAME:?}"))?;
        " --access dev"
    };
    out.line("\n  In another terminal:\n")?;
    let place = if ephemeral { format!(" --data {}", ready.data.display()) } else { String::new() };
    out.line(format_args!("    uplink mb{option} sj://photos"))?;
    out.line(format_args!("    uplink cp{option} cat.jpg sj://photos/cat.jpg"))?;
    out.line(format_args!("    uplink dev node stop 3{place}"))?;
    out.line(format_args!("    uplink dev node list{place}"))?;
    out.line(format_args!("    uplink cat{option} sj://photos/cat.jpg > whole.jpg"))?;
    out.line(format_args!("\n  {}", out.dim("Ctrl-C ends it.")))
}

/// Never ends by itself.
enum Never {}

async fn converse(
    listener: &UnixListener,
    network: &Arc<Network>,
    conversations: &mut JoinSet<()>,
) -> Never {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                conversations.spawn(conversation(stream, Arc::clone(network)));
            }
            // Out of descriptors: others end meanwhile.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
        while conversations.try_join_next().is_some() {}
    }
}

async fn conversation(mut stream: UnixStream, network: Arc<Network>) {
    let Ok(request) = control::question(&mut stream).await else { return };
    let answer = answer(request, &network).await.unwrap_or_else(|failure| Answer::Failed {
        exit: failure.exit() as u8,
        message: failure.to_string(),
    });
    // Who asked may be gone.
    let _ = control::answer(&mut stream, &answer).await;
}

async fn answer(request: Request, network: &Network) -> Outcome<Answer> {
    let node = match request {
        Request::Project { name } => {
            let keys = Keys::make(network, name.as_deref(), "project").await?;
            let access = access(&network.satellite_url(), &keys.api_key, &keys.passphrase).await?;
            let ready = Ready::new(network, keys.api_key, access.serialize()?);
            return Ok(Answer::Project(Box::new(ready)));
        }
        Request::Nodes => {
            let mut nodes = Vec::new();
            for node in network.nodes() {
                nodes.push(state(node).await);
            }
            return Ok(Answer::Nodes(nodes));
        }
        Request::Stop { node } => {
            let node = select(network, &node)?;
            node.stop().await?;
            node
        }
        Request::Start { node } => {
            let node = select(network, &node)?;
            node.start().await?;
            node.check_in().await?;
            node
        }
        Request::Slow { node, milliseconds } => {
            let node = select(network, &node)?;
            node.slow(super::latency(milliseconds)).await?;
            node.check_in().await?;
            node
        }
    };
    Ok(Answer::Nodes(vec![state(node).await]))
}

/// The node of an index or an id.
fn select<'a>(network: &'a Network, text: &str) -> Outcome<&'a Node> {
    if let Ok(index) = text.parse() {
        return Ok(network.node(index)?);
    }
    let id: NodeId = text.parse().map_err(|_| {
        Failure::usage(format!("{text:?} is neither the number nor the id of a storage node"))
    })?;
    Ok(network.node_by_id(id)?)
}

async fn state(node: &Node) -> NodeState {
    let (usage, delay) = (node.usage().await, node.delay().await);
    let milliseconds = delay.unwrap_or_default().as_millis();
    NodeState {
        index: node.index(),
        id: node.id().to_string(),
        address: node.address().to_string(),
        data: node.directory().to_owned(),
        running: delay.is_some(),
        latency_ms: u64::try_from(milliseconds).unwrap_or(u64::MAX),
        pieces: usage.map(|usage| usage.pieces),
        stored: usage.map(|usage| usage.used),
    }
}
