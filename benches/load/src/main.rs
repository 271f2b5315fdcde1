//! Fan-out load: the same subscribers and publishers against Fanfare, the floor (a bare `send` loop) and peers,
//! alternating in one run, reported as ratios.
//!
//! ```sh
//! cargo build --release -p fanfare-cli -p fanfare-peer-axum    # the other peers: benches/peers/README.md
//! cargo run --release -p fanfare-load -- burst      # events back to back: deliveries per second
//! cargo run --release -p fanfare-load -- paced      # events at a steady rate: CPU per delivery
//! cargo run --release -p fanfare-load -- idle       # memory per subscriber
//! ```
//! Subscribers are sockets of this process, read by one thread that counts event ends and nothing else. The server is a
//! child process; its CPU and memory are read from `/proc`. Every run checks that each subscriber got every event.

mod server;

mod client;
mod floor;
mod process;

mod scenario;

mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use scenario::Scenario;
use server::{Places, Server};

/// Fan-out load: Fanfare beside the bare send loop and beside a peer, in one run.
#[derive(Parser)]
#[command(name = "fanfare-load")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Publish events back to back; deliveries per second.
    Burst {
        #[command(flatten)]
        common: Common,
        /// Events in all.
        #[arg(long, default_value_t = 1000)]
        events: usize,
    },
    /// Publish at a steady rate; CPU of the server per delivery.
    Paced {
        #[command(flatten)]
        common: Common,
        /// Events a second.
        #[arg(long, default_value_t = 50)]
        rate: u32,
        /// Seconds a run.
        #[arg(long, default_value_t = 6)]
        seconds: u32,
    },
    /// Open subscribers and publish nothing; memory of the server per subscriber.
    Idle {
        #[command(flatten)]
        common: Common,
    },
    /// Be the floor: a bare non-blocking send loop. Started by the other commands.
    #[command(hide = true)]
    Floor,
}

#[derive(clap::Args)]
struct Common {
    /// Subscribers. Above about 19,000 a process runs out of descriptors.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Runs of each server; medians are reported.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Servers, in the order in which they alternate.
    #[arg(long, value_delimiter = ',', default_value = "fanfare,floor,axum")]
    servers: Vec<Server>,
    /// Where the binaries `fanfare` and `fanfare-peer-axum` are; by default beside this one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Where the sources of the peers are.
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// The Python interpreter that has the packages of the Python peers.
    #[arg(long, default_value = "target/bench-venv/bin/python")]
    python: PathBuf,
}

fn main() -> Result<()> {
    let (scenario, common) = match Args::parse().what {
        What::Floor => return floor::run(),
        What::Burst { common, events } => (Scenario::Burst { events }, common),
        What::Paced { common, rate, seconds } => {
            if rate == 0 || seconds == 0 {
                bail!("--rate and --seconds must be at least 1");
            }
            let gap = Duration::from_secs(1) / rate;
            (Scenario::Paced { events: (rate * seconds) as usize, gap }, common)
        }
        What::Idle { common } => (Scenario::Idle, common),
    };
    if common.subscribers == 0 || common.runs == 0 || common.servers.is_empty() {
        bail!("--subscribers, --runs and --servers must not be empty");
    }
    let beside = std::env::current_exe()?;
    let bin = common.bin.as_deref().or(beside.parent()).context("no folder with binaries")?;
    let places = Places { bin: bin.into(), peers: common.peers.clone(), python: common.python.clone() };
    let mut results = Vec::new();
    for run in 0..common.runs {
        for server in &common.servers {
            eprintln!("run {} of {}: {server:?}", run + 1, common.runs);
            let figures = scenario.run(*server, common.subscribers, common.size, &places)?;
            results.push((*server, figures));
        }
    }
    report::print(&scenario, common.subscribers, common.size, &common.servers, &results);
    Ok(())
}
