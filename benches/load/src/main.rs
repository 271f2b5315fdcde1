//! Fan-out load: the same subscribers and publishers against Fanfare, the floor (bare sends) and peers, alternating in one
//! run, reported as ratios.
//!
//! ```sh
//! cargo xtask bench                                              # installs, builds, runs a short set, writes a report
//! cargo run --release -p fanfare-load -- run burst --runs 3      # one scenario, of what is built and installed
//! ```
//! Subscribers are sockets of this process, read by one thread; the server is a child process, whose CPU and memory are
//! read from `/proc`. Every run checks that each subscriber got every event: in plain runs one reader counts events and
//! all others have to get as many bytes, with `--exact` each of them checks the number in every event.

mod server;

mod client;
mod process;

mod figure;
mod plan;

mod scenario;

mod report;

mod claims;
mod machine;
mod plot;
mod suite;
mod summary;

mod page;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use client::subscribers::Lost;
use plan::{Amounts, Scenario};
use report::{Results, Run};
use server::{Places, Server};
use suite::Extent;

/// Fan-out load: Fanfare beside the bare send loop and beside peers, in one run.
#[derive(Parser)]
#[command(name = "fanfare-load")]
struct Args {
    #[command(flatten)]
    places: PlaceArgs,
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Args)]
struct PlaceArgs {
    /// Where the binaries `fanfare`, `fanfare-embedded`, `fanfare-floor` and `fanfare-peer-axum` are; by default beside this one.
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Where the sources of the peers are.
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// The Python interpreter that has the packages of the Python peers.
    #[arg(long, default_value = "target/bench-venv/bin/python")]
    python: PathBuf,
    /// The program `nats-server`, version 2.10 or later.
    #[arg(long, default_value = "target/bench-go/bin/nats-server")]
    nats: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Run one scenario and print its tables.
    Run(RunArgs),
    /// Run a set of scenarios and write a report.
    Suite {
        #[arg(long, default_value = "short")]
        extent: Extent,
        /// Folder of the report.
        #[arg(long)]
        out: PathBuf,
        /// Servers to leave out.
        #[arg(long, value_delimiter = ',')]
        without: Vec<Server>,
    },
}

#[derive(clap::Args)]
struct RunArgs {
    scenario: Scenario,
    /// Subscribers. Above about 19,000 a process runs out of descriptors.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// Bytes of an event's data, at least 10.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Events in all: burst, ping-pong, publishers.
    #[arg(long, default_value_t = 1000)]
    events: usize,
    /// Events a second: paced, latency, slow.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Seconds a run: paced, latency, slow.
    #[arg(long, default_value_t = 6)]
    seconds: u32,
    /// Deliveries of each run: growth.
    #[arg(long, default_value_t = 200_000)]
    deliveries: usize,
    /// Numbers of subscribers: growth.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,5000,15000")]
    counts: Vec<usize>,
    /// Bytes of an event's data: sizes.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1024,8192,65536")]
    sizes: Vec<usize>,
    /// Numbers of publishers: publishers.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    publishers: Vec<usize>,
    /// Runs of each server; medians are reported.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Servers, in the order in which they alternate.
    #[arg(long, value_delimiter = ',', default_value = "fanfare,floor,axum")]
    servers: Vec<Server>,
    /// Look at every event of every subscriber; slower, so figures of this and of plain runs are not comparable.
    #[arg(long)]
    exact: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    raise_descriptor_limit()?;
    let beside = std::env::current_exe()?;
    let bin = args.places.bin.as_deref().or(beside.parent()).context("no folder with binaries")?;
    let places = Places {
        bin: bin.into(),
        peers: args.places.peers,
        python: args.places.python,
        nats: args.places.nats,
    };
    match args.what {
        What::Run(args) => {
            let results = args.run(&places)?;
            println!("{}", results.tables());
            Ok(())
        }
        What::Suite { extent, out, without } => {
            // First, because it also says what others do on the machine.
            let machine = machine::describe(&places);
            let mut all = Vec::new();
            for mut entry in suite::entries(extent) {
                entry.servers.retain(|server| !without.contains(server));
                let started = Instant::now();
                let results =
                    run(entry.scenario, &entry.amounts, &entry.servers, entry.runs, false, &places)?;
                // Now, so that an error later on does not take it along.
                println!(
                    "## {:?}: {} s\n\n{}",
                    entry.scenario,
                    started.elapsed().as_secs(),
                    results.tables()
                );
                all.push(results);
            }
            page::write(&out, extent, &machine, &all)
        }
    }
}

impl RunArgs {
    fn run(&self, places: &Places) -> Result<Results> {
        let amounts = Amounts {
            subscribers: self.subscribers,
            size: self.size,
            events: self.events,
            rate: self.rate,
            seconds: self.seconds,
            deliveries: self.deliveries,
            counts: self.counts.clone(),
            sizes: self.sizes.clone(),
            publishers: self.publishers.clone(),
        };
        if let Some(server) = self.servers.iter().find(|server| !self.scenario.suits(**server)) {
            bail!("{:?} is not for {}", self.scenario, server.name());
        }
        run(self.scenario, &amounts, &self.servers, self.runs, self.exact, places)
    }
}

/// Runs every case on every server, `runs` times or some multiple, alternating.
fn run(
    scenario: Scenario,
    amounts: &Amounts,
    servers: &[Server],
    runs: usize,
    exact: bool,
    places: &Places,
) -> Result<Results> {
    let cases = scenario.cases(amounts)?;
    if runs == 0 || servers.is_empty() {
        bail!("--runs and --servers must not be empty");
    }
    let mut results = Results { scenario, cases, servers: servers.to_vec(), runs: Vec::new() };
    let turns = servers.iter().map(|server| scenario.repeats(*server)).max().unwrap_or(0);
    for number in 0..runs {
        for turn in 0..turns {
            // Cases are compared with each other, too: they alternate like servers, so that all meet the same hour of the machine.
            for (at, case) in results.cases.iter().enumerate() {
                for server in servers.iter().filter(|server| scenario.repeats(**server) > turn) {
                    let name = server.name();
                    eprintln!("{scenario:?} {} run {} of {runs}: {name}", case.label, number + 1);
                    let figures = match scenario::run(*server, case, exact, places) {
                        Err(error) if server.may_lose() && error.is::<Lost>() => {
                            eprintln!("{name}: {error:#}");
                            Vec::new()
                        }
                        result => result.with_context(|| format!("{scenario:?} {} on {name}", case.label))?,
                    };
                    results.runs.push(Run { server: *server, case: at, figures });
                }
            }
        }
    }
    Ok(results)
}

/// As many descriptors as we are allowed; servers inherit the limit.
fn raise_descriptor_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
