//! `fanfare bench`: many readers, many events, none may be lost.
//!
//! Two passes over the same connections. The first parses every stream and checks that each reader got every event
//! once and in order. The second only counts, so that the readers cost as little as they can, and is the one measured.

mod cpu;
mod hub;
mod readers;
mod tally;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::exit::{Failure, note};
use crate::http::Target;
use crate::output::Output;
use hub::Subject;
use readers::{Progress, Readers};

const EXAMPLES: &str = "\
Examples:
  fanfare bench                                          a hub in this process
  fanfare bench --subscribers 5000 --events 200
  fanfare bench --url http://127.0.0.1:4780              a hub that runs already
  fanfare bench --set lanes=1

Every reader must get every event once and in order, or the exit code is 1. Figures depend on the
machine and on what else it does: compare only runs made side by side. When the hub runs in this
process, readers and hub share its processors, and both count.";

/// Descriptors that the program needs besides the readers' sockets.
const SPARE_FILES: usize = 64;

const DEFAULT_SUBSCRIBERS: usize = 1_000;

/// Measure a hub: many readers, many events, none may be lost
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// Readers, each with a connection of its own [default: 1000, or as many as the limit of open files allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    subscribers: Option<u32>,

    /// Events in each of the two passes, published back to back
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: u32,

    /// Bytes of data in each event
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(24..=1_048_576))]
    size: u32,

    /// Measure the hub there (http only) instead of one in this process
    #[arg(long, value_name = "URL", conflicts_with = "set")]
    url: Option<Target>,

    /// Set an option of the hub in this process; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs both passes and prints the figures.
pub(crate) fn run(bench: &Bench) -> Result<(), Failure> {
    if bench.url.as_ref().is_some_and(|url| url.tls) {
        return Err(Failure::usage("bench speaks plain HTTP only: give an http:// URL"));
    }
    let subscribers = bench.subscribers()?;
    let mut subject = Subject::start(bench)?;
    let target = subject.target()?;
    let (report, progress) = mpsc::channel();
    let plan = readers::Plan {
        target,
        topic: subject.topic().to_owned(),
        count: subscribers,
        events: bench.events.into(),
    };
    let readers = thread::Builder::new()
        .name(cpu::READERS.to_owned())
        .spawn(move || Readers::run(&plan, &report))
        .map_err(|error| Failure::runtime(format_args!("cannot start a thread: {error}")))?;

    let passes = passes(bench, &mut subject, &progress);
    // The readers end by themselves: they are done, have failed, or find the channel closed.
    drop(progress);
    let _ = readers.join();
    subject.stop();
    let (verified, measured) = passes?;

    let mut output = Output::new();
    output.text(&figures(bench, subscribers, &verified, &measured))?;
    output.flush()
}

impl Bench {
    /// How many readers, within the limit of open files.
    fn subscribers(&self) -> Result<usize, Failure> {
        let ends = if self.url.is_some() { 1 } else { 2 };
        let most = open_files().map(|limit| limit.saturating_sub(SPARE_FILES) / ends);
        match (self.subscribers.map(|n| n as usize), most) {
            (Some(wanted), Some(most)) if wanted > most => Err(Failure::runtime(format_args!(
                "{wanted} subscribers need {} open files: raise the limit with `ulimit -n`, or use {most}",
                wanted * ends + SPARE_FILES
            ))),
            (Some(wanted), _) => Ok(wanted),
            (None, Some(most)) if most < DEFAULT_SUBSCRIBERS => {
                note(&format!(
                    "{most} subscribers instead of {DEFAULT_SUBSCRIBERS}, because of the limit of open files (`ulimit -n`)"
                ));
                Ok(most.max(1))
            }
            (None, _) => Ok(DEFAULT_SUBSCRIBERS),
        }
    }
}

/// One pass, from the first publish to the last reader's last event.
struct Pass {
    /// Time until the last publish returned.
    published: Duration,
    /// Time until the last reader had the last event.
    delivered: Duration,
    /// Bytes the readers read from their sockets.
    bytes: u64,
    /// CPU time that it took.
    cpu: Option<cpu::Used>,
}

/// Waits for the readers, then publishes and waits twice.
fn passes(
    bench: &Bench,
    subject: &mut Subject,
    progress: &mpsc::Receiver<Progress>,
) -> Result<(Pass, Pass), Failure> {
    match next(progress)? {
        Progress::Connected => {}
        Progress::Delivered { .. } => {
            return Err(Failure::runtime("readers were done before anything was published"));
        }
        Progress::Failed(reason) => return Err(Failure::Runtime(reason)),
    }
    let mut pass = |number| {
        let before = cpu::Snapshot::take();
        let start = Instant::now();
        subject.publish(number, bench.events, bench.size as usize)?;
        let published = start.elapsed();
        match next(progress)? {
            Progress::Delivered { at, bytes } => {
                let cpu = before.zip(cpu::Snapshot::take()).map(|(before, after)| after.since(&before));
                Ok(Pass { published, delivered: at.saturating_duration_since(start), bytes, cpu })
            }
            Progress::Failed(reason) => Err(Failure::Runtime(reason)),
            Progress::Connected => Err(Failure::runtime("readers connected twice")),
        }
    };
    Ok((pass(1)?, pass(2)?))
}

fn next(progress: &mpsc::Receiver<Progress>) -> Result<Progress, Failure> {
    progress.recv().map_err(|_| Failure::runtime("the readers' thread has ended early"))
}

/// The figures, for people.
fn figures(bench: &Bench, subscribers: usize, verified: &Pass, measured: &Pass) -> String {
    let deliveries = subscribers as u64 * u64::from(bench.events);
    let seconds = measured.delivered.as_secs_f64().max(1e-9);
    let place = match &bench.url {
        Some(url) => format!("hub at {url}"),
        None => "hub in this process".to_owned(),
    };
    let mut text = format!(
        "{subscribers} subscribers x {} events of {} bytes, {place}\n\
         verified   {deliveries} deliveries: every event once, in order, at every reader ({:.3} s)\n\
         measured   {deliveries} deliveries in {:.3} s: {:.3} million/s, {:.1} MB read ({:.1} MB/s)\n\
         published  {} events in {:.3} s\n",
        bench.events,
        bench.size,
        verified.delivered.as_secs_f64(),
        measured.delivered.as_secs_f64(),
        deliveries as f64 / seconds / 1e6,
        measured.bytes as f64 / 1e6,
        measured.bytes as f64 / seconds / 1e6,
        bench.events,
        measured.published.as_secs_f64(),
    );
    if let Some(cpu) = &measured.cpu {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / deliveries as f64;
        let (readers, rest) = (each(cpu.readers), each(cpu.others));
        text.push_str(&match bench.url {
            Some(_) => format!("cpu        {:.2} us per delivery in this process, without the hub\n", readers + rest),
            None => format!("cpu        {rest:.2} us per delivery in the hub and its publisher, {readers:.2} us in the readers\n"),
        });
        text.push_str(&format!(
            "           (counted in steps of {} ms; short runs show little)\n",
            cpu::TICK.as_millis()
        ));
    }
    if bench.url.is_none() {
        text.push_str(
            "note       hub and readers share this process and its processors; use --url to part them\n",
        );
    }
    text
}

/// The limit of open files, where the system tells it.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
