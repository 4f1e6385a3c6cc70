//! `uplink demo`: a file goes through a whole network, and comes back with storage nodes missing.

mod choice;
mod picture;
mod source;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uplink::{Access, DownloadOptions, Placement, Project, UploadOptions};
use uplink_core::id::NodeId;
use uplink_testnet::Network;

use crate::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::network::{self, NetworkArgs};
use crate::output::Output;
use crate::progress::Progress;

use picture::Picture;
use source::Source;

/// What is typed after `uplink demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// File to send through the network; 16 MiB of generated data if not given
    file: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Number of holders to stop before the file is fetched; as many as may be lost if not given
    #[arg(long, value_name = "COUNT")]
    stop: Option<usize>,
}

/// The outcome for scripts.
#[derive(Debug, Serialize)]
struct Report {
    bytes: u64,
    sha256_up: String,
    sha256_down: String,
    holders: usize,
    stopped: usize,
    needed: usize,
    upload_s: f64,
    download_s: f64,
}

/// What one way through the network came to.
#[derive(Debug)]
struct Way {
    bytes: u64,
    sha256: String,
    time: Duration,
}

const BUCKET: &str = "demo";
const KEY: &str = "file";

/// Runs the demonstration. Everything it made is gone when it ends.
pub(crate) async fn run(arguments: Demo, context: &Context) -> Outcome {
    let out = context.out;
    let source = Source::open(arguments.file.as_deref()).await?;
    let began = Instant::now();
    let network = Network::start(arguments.network.options()).await?;
    introduce(&network, began.elapsed(), out)?;
    let credentials = network.project("demo").await?;
    let access = network::access(&credentials.satellite, &credentials.api_key, PASSPHRASE).await?;

    let name = source.name().to_owned();
    let (up, placement) = upload(&Project::open(&access)?, source, out).await?;
    tell(out, "Up", &name, &up)?;
    let picture = Picture::of(&network, &holders(&network, &placement)?);
    picture.draw(&[], out)?;

    let stopped = choose(&network, &picture, arguments.stop)?;
    for node in &stopped {
        network.node(*node)?.kill().await?;
    }
    tell_stopped(&stopped, &picture, out)?;
    picture.draw(&stopped, out)?;

    let down = download(&access, &name, up.bytes, out).await;
    let lost = format!("the file does not come back with {} storage nodes stopped", stopped.len());
    let down = down.map_err(|failure| failure.within(lost))?;
    tell(out, "Down", &name, &down)?;
    report(&up, &down, &stopped, &picture, &network, out)
}

/// Locks nothing away: the network ends with the command.
const PASSPHRASE: &str = "demonstration";

async fn upload(
    project: &Project,
    mut source: Source,
    out: Output,
) -> Outcome<(Way, Vec<Placement>)> {
    project.create_bucket(BUCKET).await?;
    let bar = Progress::new(out).transfer(source.name(), source.size());
    let (began, mut hash, mut bytes) = (Instant::now(), Sha256::new(), 0);
    let mut upload = project.upload_object(BUCKET, KEY, UploadOptions::new())?;
    while let Some(part) = source.next().await? {
        hash.update(part);
        upload.write(part).await?;
        bytes += part.len() as u64;
        bar.inc(part.len() as u64);
    }
    let uploaded = upload.commit().await?;
    let time = began.elapsed();
    bar.finish_and_clear();
    Ok((Way { bytes, sha256: hexadecimal(hash), time }, uploaded.placement))
}

/// Fetches the object as another client would: no connection is left from the upload.
async fn download(access: &Access, name: &str, size: u64, out: Output) -> Outcome<Way> {
    let project = Project::open(access)?;
    let bar = Progress::new(out).transfer(name, Some(size));
    let (began, mut hash, mut bytes) = (Instant::now(), Sha256::new(), 0);
    let mut download = project.download_object(BUCKET, KEY, DownloadOptions::new()).await?;
    while let Some(part) = download.next().await? {
        hash.update(&part);
        bytes += part.len() as u64;
        bar.inc(part.len() as u64);
    }
    let time = began.elapsed();
    bar.finish_and_clear();
    Ok(Way { bytes, sha256: hexadecimal(hash), time })
}

/// Segment by segment: the piece that each node holds.
fn holders(network: &Network, placement: &[Placement]) -> Outcome<Vec<picture::Segment>> {
    placement
        .iter()
        .map(|segment| {
            let pieces = segment.holders.iter().map(|(piece, node)| {
                let id: NodeId = node.parse().map_err(|error| {
                    Failure::new(Exit::Protocol, format!("node id {node:?}: {error}"))
                })?;
                Ok((network.node_by_id(id)?.index(), *piece))
            });
            Ok(picture::Segment { size: segment.size, pieces: pieces.collect::<Outcome<_>>()? })
        })
        .collect()
}

/// The nodes to stop.
fn choose(network: &Network, picture: &Picture, count: Option<usize>) -> Outcome<Vec<usize>> {
    let scheme = network.scheme();
    let count = count.unwrap_or_else(|| usize::from(scheme.optimal() - scheme.required()));
    let nodes = network.nodes().len();
    if count > nodes {
        let text = format!("cannot stop {count} storage nodes: the network has {nodes}");
        return Err(Failure::usage(text));
    }
    Ok(choice::nodes_to_stop(picture.segments(), nodes, count))
}

fn introduce(network: &Network, time: Duration, out: Output) -> Outcome {
    let (scheme, nodes) = (network.scheme(), network.nodes().len());
    let (needed, stored, total) = (scheme.required(), scheme.optimal(), scheme.total());
    let nodes = out.bold(format_args!("{nodes} storage nodes"));
    out.line(format_args!("\n  A satellite and {nodes} are running ({}).", seconds(time)))?;
    out.line("  Each has its own identity, port and folder, as if on its own machine.")?;
    out.line(format_args!(
        "  The file is encrypted here, cut into segments, and each segment coded into {total}\n  \
         pieces: {stored} of them are stored, any {needed} are enough to read.\n"
    ))
}

fn tell(out: Output, direction: &str, name: &str, way: &Way) -> Outcome {
    let speed = way.bytes as f64 / way.time.as_secs_f64().max(1e-9);
    out.line(format_args!(
        "  {} {}, {} in {} {}",
        out.bold(format_args!("{direction:<5}")),
        crate::output::printable(name),
        size(way.bytes),
        seconds(way.time),
        out.dim(format_args!("({}/s)", size(speed as u64))),
    ))
}

fn tell_stopped(stopped: &[usize], picture: &Picture, out: Output) -> Outcome {
    let list: Vec<_> = stopped.iter().map(usize::to_string).collect();
    match list.len() {
        0 => out.line("  No storage node is stopped."),
        1 => out.line(format_args!("  {} storage node {}", out.bold("Stop"), list.join(", "))),
        _ => out.line(format_args!("  {}  storage nodes {}", out.bold("Stop"), list.join(", "))),
    }?;
    if picture.segments().iter().all(|segment| segment.pieces.is_empty()) {
        return out.line("");
    }
    Ok(())
}

fn report(
    up: &Way,
    down: &Way,
    stopped: &[usize],
    picture: &Picture,
    network: &Network,
    out: Output,
) -> Outcome {
    out.line(format_args!("\n  SHA-256 up    {}", up.sha256))?;
    out.line(format_args!("  SHA-256 down  {}\n", down.sha256))?;
    out.object(&Report {
        bytes: down.bytes,
        sha256_up: up.sha256.clone(),
        sha256_down: down.sha256.clone(),
        holders: picture.fewest(&[]),
        stopped: stopped.len(),
        needed: network.scheme().required().into(),
        upload_s: up.time.as_secs_f64(),
        download_s: down.time.as_secs_f64(),
    })?;
    if up.sha256 != down.sha256 {
        return Err(Failure::new(Exit::Decryption, "what came back is not what was sent"));
    }
    let verdict = match picture.fewest(&[]) {
        0 => "The file came back whole: it is so small that the satellite keeps it.".to_owned(),
        holders => format!(
            "The file came back whole from {} of {holders} holders.",
            picture.fewest(stopped)
        ),
    };
    out.line(format_args!("  {}\n", out.green(verdict)))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
