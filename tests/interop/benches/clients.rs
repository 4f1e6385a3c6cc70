//! Our client, the reference client in Go and the crate `storj` on one network: `cargo xtask bench
//! clients [-- MIB … SCHEME …]`.
//!
//! Satellite and nodes run in separate processes, and so does every client for every transfer,
//! because CPU time and peak memory are per process. The clients take turns. Each downloads an
//! object that another client wrote and compares every byte. Each measurement is one JSON line on
//! standard output, followed by a table of medians. `of Go's` is the median ratio of CPU time to
//! the reference client's in the same turn. Until the end of a turn, nodes keep twelve times the
//! size of an object in memory.

use std::path::PathBuf;
use std::process::Command;

use jobs::{Client, Job, OURS, Report};
use network::Network;
use uplink_core::erasure::Scheme;

mod jobs;
#[path = "../../../benches/measure/mod.rs"]
mod measure;
#[path = "../../../benches/network/mod.rs"]
#[expect(dead_code, reason = "shared with a bench that asks for more")]
mod network;

/// Default object sizes in MiB.
const SIZES: [u64; 2] = [64, 256];
/// Default scheme.
const SCHEME: &str = "4/6/8/10-256";
/// Turns of each client, and turns for objects larger than `QUICK`.
const TURNS: usize = 9;
const FEW_TURNS: usize = 5;
/// Maximum object size for the full number of turns.
const QUICK: u64 = 256 << 20;
/// Number of objects of 1 KiB that are transferred sequentially.
const SMALL: u64 = 200;

fn main() {
    if jobs::move_if_asked() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if network::serve_if_asked(&runtime) {
        return;
    }
    let arguments = || std::env::args().skip(1);
    let mut sizes: Vec<u64> = arguments().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    let mut schemes: Vec<Scheme> =
        arguments().filter_map(|argument| argument.parse().ok()).collect();
    if schemes.is_empty() {
        schemes.push(SCHEME.parse().expect("a scheme"));
    }
    let clients = clients();
    let mut table = measure::Table::new(&[
        "case",
        "client",
        "MB/s",
        "CPU s/GB",
        "of Go's",
        "peak MiB",
        "first byte s",
        "objects/s",
    ]);
    for scheme in schemes {
        let bench = |clients, size| Bench { runtime: &runtime, clients, scheme, size };
        for mib in &sizes {
            bench(&clients, mib << 20).run(&mut table);
        }
        let ours = clients.iter().filter(|client| client.is_ours()).cloned();
        let ours: Vec<Client> = ours.collect();
        bench(&ours, 1 << 10).run(&mut table);
    }
    table.print();
}

/// Touches as much memory as a job uses, its pieces included: a virtual machine may have returned
/// free memory to its host, and the first process to touch it would pay for that.
fn warm(size: u64) {
    let bytes = size.saturating_mul(3).saturating_add(1 << 29).min(1 << 32);
    std::hint::black_box(vec![1u8; usize::try_from(bytes).unwrap_or(0)]);
}

fn clients() -> Vec<Client> {
    let mut clients = Vec::from(OURS.map(Client::Ours));
    match uplink_interop::go::program("bench") {
        Ok(program) => clients.push(Client::Go(program)),
        Err(reason) => println!("no rows of the reference client: {reason}"),
    }
    match uplink_interop::storj::bench() {
        Ok(program) => clients.push(Client::Storj(program)),
        Err(reason) => println!("no rows of the crate storj: {reason}"),
    }
    clients
}

struct Bench<'a> {
    runtime: &'a tokio::runtime::Runtime,
    clients: &'a [Client],
    scheme: Scheme,
    /// Object size in bytes.
    size: u64,
}

impl Bench<'_> {
    fn run(&self, table: &mut measure::Table) {
        let mut uploads = vec![Vec::new(); self.clients.len()];
        let mut downloads = uploads.clone();
        for turn in 0..if self.size > QUICK { FEW_TURNS } else { TURNS } {
            // A new network per turn: nodes keep their pieces in memory.
            let network = Network::start(&self.scheme);
            let access = self.runtime.block_on(network.access()).serialize().expect("a grant");
            // Rotates the order of the clients, in case it matters.
            let in_turn = |index| (index + turn) % self.clients.len();
            for index in (0..self.clients.len()).map(in_turn) {
                let client = &self.clients[index];
                uploads[index].push(self.move_one(&access, client, "upload", client));
            }
            for index in (0..self.clients.len()).map(in_turn) {
                let others = self.clients.len() - 1;
                let writer = &self.clients[(index + 1 + turn % others) % self.clients.len()];
                let report = self.move_one(&access, &self.clients[index], "download", writer);
                downloads[index].push(report);
            }
        }
        let go = self.clients.iter().position(|client| matches!(client, Client::Go(_)));
        for (what, reports) in [("upload", uploads), ("download", downloads)] {
            for (client, own) in self.clients.iter().zip(&reports) {
                table.row(self.row(what, client, own, go.map(|index| &*reports[index])));
            }
        }
    }

    /// Runs a client as a process; prints a failure and returns `None`.
    fn move_one(
        &self,
        access: &str,
        client: &Client,
        what: &str,
        writer: &Client,
    ) -> Option<Report> {
        let count = if self.size < 1 << 20 { SMALL } else { 1 };
        let key = format!("{} bytes by {}", self.size, writer.name());
        let job =
            Job { access: access.to_owned(), what: what.to_owned(), key, size: self.size, count };
        warm(self.size);
        match client.run(&job) {
            Ok(report) => {
                println!("{}", report.json(self.scheme, client));
                Some(report)
            }
            Err(reason) => {
                println!("{} cannot {what} {}: {reason}", client.name(), job.key);
                None
            }
        }
    }

    /// Returns the medians of a client's turns, without failed turns.
    fn row(
        &self,
        what: &str,
        client: &Client,
        turns: &[Option<Report>],
        go: Option<&[Option<Report>]>,
    ) -> Vec<String> {
        let case = format!("{what} {} × {} KiB", self.scheme, self.size >> 10);
        let reports = || turns.iter().flatten();
        let pairs = turns.iter().zip(go.unwrap_or_default());
        let of_go = pairs.filter_map(|(own, go)| {
            let own = own.as_ref()?;
            let go = go.as_ref()?;
            Some(own.cpu_seconds / go.cpu_seconds)
        });
        vec![
            case,
            client.name().to_owned(),
            median(reports().map(|report| report.bytes / 1e6 / report.seconds), 1),
            median(reports().map(|report| report.cpu_seconds / report.bytes * 1e9), 2),
            median(of_go, 2),
            median(reports().map(|report| (report.peak_kib - report.idle_kib) / 1024.0), 1),
            median(reports().map(|report| report.first_byte_seconds), 3),
            median(reports().map(|report| report.count / report.seconds), 1),
        ]
    }
}

/// Formats the median, or a dash if it is missing or zero.
fn median(figures: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let median = figures.get(figures.len() / 2).filter(|median| **median > 0.0);
    median.map_or_else(|| "–".to_owned(), |median| format!("{median:.digits$}"))
}

/// Returns a command that runs this program again as a client.
fn this_program() -> Command {
    let program: PathBuf = std::env::current_exe().expect("this program");
    Command::new(program)
}
