//! History on disk, measured on our access pattern: which store under the history is worth its place.
//!
//! Every contender gets the same events (100 bytes of data, 100 topics) in commit order and has to give them back by
//! position, of all topics and of one. `group` = how many publishers share one sync. Times are of warm page cache; the
//! disk's own sync is measured beside, for it bounds everything that is durable. `docs/store.md` holds the figures.
//!
//!     cargo run --release --manifest-path benches/store/Cargo.toml -- --events 10000000 --dir DIR

mod contender;
mod fanfare;
mod fjall_store;
mod floor;
mod redb_store;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::contender::{Open, TOPICS};

/// Compares stores on one disk.
#[derive(Parser)]
struct Args {
    /// Events to load.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Commits with a sync each, for each size of group.
    #[arg(long, default_value_t = 200)]
    commits: u64,
    /// Only these contenders, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Fill a folder and end without closing: what the measured program starts of itself.
    #[arg(long, hide = true)]
    fill: Option<PathBuf>,
    /// Where to write; a folder of its own is made there and removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

const CONTENDERS: &[(&str, Open)] = &[
    ("floor", floor::open),
    ("fanfare", fanfare::open),
    ("redb", redb_store::open),
    ("fjall", fjall_store::open),
];

/// Events that a reader asks for.
const REPLAY: u64 = 10_000;
/// Events of one commit while loading.
const LOAD_BATCH: u64 = 1_000;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(dir) = &args.fill {
        let name = args.only.first().context("--fill needs --only")?;
        let (_, open) = CONTENDERS.iter().find(|(other, _)| other == name).context("no such contender")?;
        let mut store = open(dir)?;
        let mut next = 1;
        while next <= args.events {
            let count = LOAD_BATCH.min(args.events + 1 - next);
            // A sync now and then, as a store that runs has them.
            store.append(next, count, next % 100_000 < LOAD_BATCH)?;
            next += count;
        }
        store.append(next, 1, true)?;
        std::process::abort();
    }
    println!(
        "{:8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "",
        "load",
        "disk",
        "open",
        "after crash",
        "first",
        "10k all",
        "10k one",
        "drop 10%",
        "freed",
        "RSS",
        "sync x1",
        "x16",
        "x256"
    );
    println!(
        "{:8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "",
        "events/s",
        "MB",
        "ms",
        "ms",
        "ms",
        "ms",
        "ms",
        "ms",
        "MB",
        "MB",
        "events/s",
        "events/s",
        "events/s"
    );
    for (name, open) in CONTENDERS {
        if args.only.is_empty() || args.only.iter().any(|only| only == name) {
            let dir = tempfile::tempdir_in(&args.dir).context("cannot make a folder")?;
            measure(name, *open, dir.path(), &args).with_context(|| (*name).to_owned())?;
        }
    }
    Ok(())
}

fn measure(name: &str, open: Open, dir: &Path, args: &Args) -> Result<()> {
    let mut store = open(dir)?;
    let start = Instant::now();
    let mut next = 1;
    while next <= args.events {
        let count = LOAD_BATCH.min(args.events + 1 - next);
        store.append(next, count, false)?;
        next += count;
    }
    store.append(next, 1, true)?;
    next += 1;
    let rate = args.events as f64 / start.elapsed().as_secs_f64();
    store.close()?;
    let disk = bytes_in(dir)?;

    let start = Instant::now();
    let mut store = open(dir)?;
    let open_ms = ms(start);
    let start = Instant::now();
    ensure!(store.scan(next - 1 - REPLAY, None, 1)? == 1, "the first event of a replay is not there");
    let first_ms = ms(start);
    let start = Instant::now();
    ensure!(store.scan(next - 1 - REPLAY, None, REPLAY)? == REPLAY, "a replay is not whole");
    let all_ms = ms(start);
    let start = Instant::now();
    let behind = (REPLAY * TOPICS).min(args.events);
    let of_one = store.scan(next - 1 - behind, Some(7), REPLAY)?;
    ensure!(of_one >= behind / TOPICS, "a replay of one topic is not whole: {of_one}");
    let one_ms = ms(start);
    let rss = resident()?;

    let mut syncs = Vec::new();
    for group in [1, 16, 256] {
        let start = Instant::now();
        for _ in 0..args.commits {
            store.append(next, group, true)?;
            next += group;
        }
        syncs.push((args.commits * group) as f64 / start.elapsed().as_secs_f64());
    }

    let before = bytes_in(dir)?;
    let start = Instant::now();
    store.drop_through(args.events / 10)?;
    let drop_ms = ms(start);
    store.close()?;
    let freed = before as f64 - bytes_in(dir)? as f64;
    let crashed = tempfile::tempdir_in(&args.dir)?;
    let status = std::process::Command::new(std::env::current_exe()?)
        .args(["--only", name, "--events", &args.events.to_string(), "--fill"])
        .arg(crashed.path())
        .status()?;
    ensure!(!status.success(), "the crash did not happen");
    let start = Instant::now();
    let store = open(crashed.path())?;
    let crash_ms = ms(start);
    store.close()?;
    println!(
        "{name:8} {rate:>10.0} {:>9.1} {open_ms:>9.1} {crash_ms:>9.1} {first_ms:>9.2} {all_ms:>9.2} {one_ms:>9.2} {drop_ms:>9.1} {:>9.1} {:>9.1} {:>9.0} {:>8.0} {:>8.0}",
        disk as f64 / 1e6,
        freed / 1e6,
        rss as f64 / 1e6,
        syncs[0],
        syncs[1],
        syncs[2],
    );
    Ok(())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Bytes of all files below a folder.
fn bytes_in(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes_in(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// Resident anonymous memory of this process, without pages of files. Contenders run one after the other in one
/// process, so run one alone with `--only` for this figure.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
