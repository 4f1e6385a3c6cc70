//! `uplink demo`: uploads a file to a temporary network, stops storage nodes, and downloads it
//! again.

mod choice;
mod piece_map;
mod source;

use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest, Sha256};
use uplink::{Access, Placement, Project};
use uplink_testnet::Network;

use self::piece_map::{PieceMap, Segment};
use self::source::Source;
use crate::args::demo::Demo;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::network;
use crate::output::Output;
use crate::progress::Progress;
use crate::text::{binary_size, printable};

/// The result as JSON.
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

/// A finished upload or download.
#[derive(Debug)]
struct Transfer {
    bytes: u64,
    sha256: String,
    duration: Duration,
}

const BUCKET: &str = "demo";
const KEY: &str = "file";

/// Not a secret: the network is deleted when the command ends.
const PASSPHRASE: &str = "demonstration";

/// Runs the command. Everything that it creates is deleted when it ends.
pub(crate) async fn run(args: Demo, context: &Context) -> Outcome {
    let out = context.out;
    let source = Source::open(args.file.as_deref()).await?;
    let start = Instant::now();
    let network = Network::start(args.network.options()).await?;
    print_network(&network, start.elapsed(), out)?;
    let credentials = network.project("demo").await?;
    let access =
        network::request_access(&credentials.satellite, &credentials.api_key, PASSPHRASE).await?;

    let name = source.name().to_owned();
    let (upload, placement) = upload(&Project::open(&access)?, source, out).await?;
    print_transfer("Up", &name, &upload, out)?;
    let map = PieceMap::new(&network, &segments(&network, &placement)?);
    map.print(&[], out)?;

    let stopped = nodes_to_stop(&network, &map, args.stop)?;
    for node in &stopped {
        network.node(*node)?.kill().await?;
    }
    print_stopped(&stopped, &map, out)?;
    map.print(&stopped, out)?;

    let download = download(&access, &name, upload.bytes, out).await.map_err(|failure| {
        failure.within(format_args!("cannot download with {} nodes stopped", stopped.len()))
    })?;
    print_transfer("Down", &name, &download, out)?;
    report(&upload, &download, &stopped, &map, &network, out)
}

async fn upload(
    project: &Project,
    mut source: Source,
    out: Output,
) -> Outcome<(Transfer, Vec<Placement>)> {
    project.create_bucket(BUCKET).await?;
    let bar = Progress::new(out).transfer(source.name(), source.size());
    let start = Instant::now();
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut upload = project.upload_object(BUCKET, KEY)?;
    while let Some(part) = source.next().await? {
        hash.update(part);
        upload.write(part).await?;
        bytes += part.len() as u64;
        bar.inc(part.len() as u64);
    }
    let uploaded = upload.commit().await?;
    let duration = start.elapsed();
    bar.finish_and_clear();
    Ok((Transfer { bytes, sha256: hexadecimal(hash), duration }, uploaded.placement))
}

/// Downloads the object with a new project, which shares no connections with the upload.
async fn download(access: &Access, name: &str, size: u64, out: Output) -> Outcome<Transfer> {
    let project = Project::open(access)?;
    let bar = Progress::new(out).transfer(name, Some(size));
    let start = Instant::now();
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut download = project.download_object(BUCKET, KEY).await?;
    while let Some(part) = download.chunk().await? {
        hash.update(&part);
        bytes += part.len() as u64;
        bar.inc(part.len() as u64);
    }
    let duration = start.elapsed();
    bar.finish_and_clear();
    Ok(Transfer { bytes, sha256: hexadecimal(hash), duration })
}

/// Converts node ids to indices.
fn segments(network: &Network, placement: &[Placement]) -> Outcome<Vec<Segment>> {
    placement
        .iter()
        .map(|segment| {
            let pieces = segment
                .holders
                .iter()
                .map(|holder| Ok((network.node_by_id(holder.node)?.index(), holder.piece)));
            Ok(Segment { size: segment.size, pieces: pieces.collect::<Outcome<_>>()? })
        })
        .collect()
}

fn nodes_to_stop(network: &Network, map: &PieceMap, count: Option<usize>) -> Outcome<Vec<usize>> {
    let scheme = network.scheme();
    let count = count.unwrap_or_else(|| usize::from(scheme.optimal() - scheme.required()));
    let nodes = network.nodes().len();
    if count > nodes {
        let text = format!("cannot stop {count} storage nodes: the network has {nodes}");
        return Err(Failure::usage(text));
    }
    Ok(choice::nodes_to_stop(map.segments(), nodes, count))
}

fn print_network(network: &Network, startup: Duration, out: Output) -> Outcome {
    let scheme = network.scheme();
    let required = scheme.required();
    let optimal = scheme.optimal();
    let total = scheme.total();
    let nodes = out.bold(format_args!("{} storage nodes", network.nodes().len()));
    out.line(format_args!("\n  Started a satellite and {nodes} ({}).", seconds(startup)))?;
    out.line("  Each has its own identity, port and directory, as if on its own machine.")?;
    out.line(format_args!(
        "  The file is encrypted here and split into segments. Each segment is encoded into\n  \
         {total} pieces: {optimal} of them are stored, any {required} are enough to read it.\n"
    ))
}

fn print_transfer(direction: &str, name: &str, transfer: &Transfer, out: Output) -> Outcome {
    let speed = transfer.bytes as f64 / transfer.duration.as_secs_f64().max(1e-9);
    out.line(format_args!(
        "  {} {}, {} in {} {}",
        out.bold(format_args!("{direction:<5}")),
        printable(name),
        binary_size(transfer.bytes),
        seconds(transfer.duration),
        out.dim(format_args!("({}/s)", binary_size(speed as u64))),
    ))
}

fn print_stopped(stopped: &[usize], map: &PieceMap, out: Output) -> Outcome {
    let list: Vec<_> = stopped.iter().map(usize::to_string).collect();
    match list.len() {
        0 => out.line("  No storage node is stopped."),
        1 => out.line(format_args!("  {} storage node {}", out.bold("Stop"), list.join(", "))),
        _ => out.line(format_args!("  {}  storage nodes {}", out.bold("Stop"), list.join(", "))),
    }?;
    if map.is_inline() {
        return out.line("");
    }
    Ok(())
}

fn report(
    upload: &Transfer,
    download: &Transfer,
    stopped: &[usize],
    map: &PieceMap,
    network: &Network,
    out: Output,
) -> Outcome {
    out.line(format_args!("\n  SHA-256 up    {}", upload.sha256))?;
    out.line(format_args!("  SHA-256 down  {}\n", download.sha256))?;
    let holders = map.min_holders(&[]);
    out.object(&Report {
        bytes: download.bytes,
        sha256_up: upload.sha256.clone(),
        sha256_down: download.sha256.clone(),
        holders,
        stopped: stopped.len(),
        needed: network.scheme().required().into(),
        upload_s: upload.duration.as_secs_f64(),
        download_s: download.duration.as_secs_f64(),
    })?;
    if upload.sha256 != download.sha256 {
        return Err(Failure::new(Exit::Decryption, "downloaded data differs from uploaded data"));
    }
    let verdict = match holders {
        0 => "The file came back intact from the satellite, which stores small files.".to_owned(),
        _ => {
            let running = map.min_holders(stopped);
            format!("The file came back intact from {running} of {holders} holders.")
        }
    };
    out.line(format_args!("  {}\n", out.green(verdict)))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
