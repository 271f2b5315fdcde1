//! What an event costs in a handler, beside Extism with a plugin that does the same, in one run.
//!
//! Both get the same event of four texts, its data 198 bytes of JSON, and their guests are made by the same compilers from the same
//! statements: `guests`. Both hosts keep one warm instance, hold memory to 16 MiB (JavaScript: 64) and a call to a time, and are called
//! by one thread; rounds of calls take turns, so that what else the machine does meets both. Extism is there a second time without a
//! limit of time, which is how its manifest begins: its timer costs it much, and then a plugin that does not come back holds its
//! caller for ever. An event reaches Extism packed into bytes, the cheapest form that an interface of bytes has, and plugins in Rust
//! once more in JSON, as its guide writes them; packing and taking the answer apart are measured with it, as our way from event to
//! verdict is. What a call costs is its time by the clock, whose own cost of
//! some 25 ns is in all figures.
//!
//! `cargo xtask handlers-bench` builds the guests and runs this. Without the feature `extism` it measures our side alone.

mod ours;
#[cfg(feature = "extism")]
mod peer;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::ours::Ours;

/// Compares handlers with Extism.
#[derive(Parser)]
struct Args {
    /// Where the guests are.
    #[arg(long)]
    guests: PathBuf,
    /// The script that Extism's engine runs, and that `script.compiled` was made of.
    #[arg(long)]
    script: PathBuf,
    /// Calls of a round; JavaScript has a tenth.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
    /// Rounds of each.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

/// An event as a publisher sends it.
#[derive(serde::Serialize)]
pub struct Event {
    pub topic: &'static str,
    pub kind: Option<&'static str>,
    pub id: Option<&'static str>,
    pub data: String,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Pass,
    #[serde(rename = "replace")]
    Data(String),
    #[serde(rename = "reject")]
    Refused(String),
}

/// What others are to cost at least, as a multiple of ours.
const GOAL: f64 = 3.0;

/// A host with a guest in it.
trait Host {
    fn call(&mut self, event: &Event) -> Result<Answer>;
}

/// One kind of work.
struct Work {
    name: &'static str,
    /// The bound that issue and documentation name, in nanoseconds.
    goal: u64,
    calls: usize,
    /// What it is called, and the host; ours is the first.
    hosts: Vec<Named>,
    /// What all have to answer.
    expected: Answer,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let event = event();
    println!("an event of {} bytes of data; {} rounds of each host\n", event.data.len(), args.rounds);
    println!("| work | host | least | p50 | p99 | p50, to Fanfare |\n|---|---|---:|---:|---:|---:|");
    let mut missed = Vec::new();
    for work in works(&args, &event)? {
        missed.extend(compare(work, &event, args.rounds)?);
    }
    missed.iter().for_each(|line| println!("\n{line}"));
    Ok(())
}

fn event() -> Event {
    let mut data = r#"{"user":"u-481516","room":"lobby","at":1763740800123,"text":"#.to_owned();
    data.push('"');
    while data.len() < 196 {
        data.push_str("hello ");
    }
    data.truncate(196);
    data.push_str("\"}");
    Event { topic: "rooms/lobby", kind: Some("message"), id: Some("c0ffee-17"), data }
}

fn works(args: &Args, event: &Event) -> Result<Vec<Work>> {
    let guest = |name: &str| read(&args.guests.join(name).with_extension("wasm"));
    let compiled = |name: &str| read(&args.guests.join(name).with_extension("compiled"));
    let enriched = |data: &str| format!("{},\"via\":\"{}\"}}", data.trim_end_matches('}'), event.topic);
    let mut works = Vec::new();
    for (name, goal, module, expected) in [
        ("pass, Rust", 1_000, "pass", Answer::Pass),
        ("a field more in JSON, Rust", 5_000, "enrich", Answer::Data(sorted(&enriched(&event.data)))),
    ] {
        works.push(Work {
            name,
            goal,
            calls: args.calls,
            hosts: hosts(&compiled(module)?, &guest(&format!("extism_{module}"))?, "transform", None)?,
            expected,
        });
        #[cfg(feature = "extism")]
        if let Some(work) = works.last_mut() {
            let plugin = peer::InJson::new(&guest(&format!("extism_json_{module}"))?, "transform")?;
            work.hosts.push(("Extism, event in JSON", Box::new(plugin)));
        }
    }
    let text = String::from_utf8(read(&args.script)?).context("the script is UTF-8")?;
    works.push(Work {
        name: "the same, plain JavaScript",
        goal: 20_000,
        calls: (args.calls / 10).max(1),
        hosts: hosts(&compiled("script")?, &guest("engine")?, "handle", Some(&text))?,
        expected: Answer::Data(enriched(&event.data)),
    });
    Ok(works)
}

/// A host, and what it is called.
type Named = (&'static str, Box<dyn Host>);

/// All hosts with a guest: ours is `compiled`, that of the others `plugin`.
fn hosts(compiled: &[u8], plugin: &[u8], function: &'static str, script: Option<&str>) -> Result<Vec<Named>> {
    let mut hosts: Vec<Named> = vec![("Fanfare", Box::new(Ours::new(compiled)?))];
    hosts.extend(peers(plugin, function, script)?);
    Ok(hosts)
}

#[cfg(feature = "extism")]
fn peers(plugin: &[u8], function: &'static str, script: Option<&str>) -> Result<Vec<Named>> {
    let peer = |timed| peer::Peer::new(plugin, function, script, timed);
    Ok(vec![("Extism", Box::new(peer(true)?)), ("Extism, no limit of time", Box::new(peer(false)?))])
}

#[cfg(not(feature = "extism"))]
fn peers(_: &[u8], _: &'static str, _: Option<&str>) -> Result<Vec<Named>> {
    Ok(Vec::new())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{}: `cargo xtask handlers-bench` makes it", path.display()))
}

/// The object with its fields in order of their names, as serde_json's map has them.
fn sorted(object: &str) -> String {
    let mut fields: Vec<&str> = object.trim_matches(['{', '}']).split(",\"").collect();
    let mut named: Vec<String> =
        fields.drain(..).map(|field| format!("\"{}", field.trim_start_matches('"'))).collect();
    named.sort();
    format!("{{{}}}", named.join(","))
}

/// Prints what a call of each host costs; what was missed.
fn compare(mut work: Work, event: &Event, rounds: usize) -> Result<Vec<String>> {
    for (who, host) in &mut work.hosts {
        let answer = host.call(event).with_context(|| format!("{}: {who}", work.name))?;
        ensure!(answer == work.expected, "{}: {who} answered {answer:?}, not {:?}", work.name, work.expected);
    }
    let mut times = vec![Vec::with_capacity(work.calls * rounds); work.hosts.len()];
    for round in 0..=rounds {
        for ((_, host), times) in work.hosts.iter_mut().zip(&mut times) {
            for _ in 0..work.calls {
                let start = Instant::now();
                let answer = host.call(event)?;
                let took = start.elapsed();
                drop(answer);
                // The first round warms caches and predictors up.
                if round > 0 {
                    times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                }
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let at = |times: &[u64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let ours = at(&times[0], 0.5);
    let mut missed = Vec::new();
    if ours >= work.goal {
        missed.push(format!("{}: {ours} ns at the median, the goal is under {}", work.name, work.goal));
    }
    for (times, (who, _)) in times.iter().zip(&work.hosts) {
        let us = |part: f64| at(times, part) as f64 / 1e3;
        let (least, median, most) = (us(0.0), us(0.5), us(0.99));
        let ratio = at(times, 0.5) as f64 / ours as f64;
        println!("| {} | {who} | {least:.2} us | {median:.2} us | {most:.2} us | {ratio:.1} |", work.name);
        if *who != work.hosts[0].0 && ratio < GOAL {
            missed.push(format!("{}: {who} costs {ratio:.2} times as much, the goal is {GOAL}", work.name));
        }
    }
    Ok(missed)
}
