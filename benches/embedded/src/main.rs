//! An application that Fanfare is inside of: its threads publish, and each waits until what it published is kept as the durability says.
//!
//! `fanfare-embedded [--io-uring | FOLDER DURABILITY]` prints where its browsers come to; without a folder history is in memory alone. Then each line of its
//! standard input is a command, and the answer is how many events it published:
//!
//! - `publish THREADS MILLISECONDS BYTES`: as many as they can in that time.
//! - `pace FIRST EVENTS NANOSECONDS BYTES TOPICS`: by one thread, one each so many nanoseconds, numbered from FIRST in the first ten digits of
//!   their data, to the topic `bench`; or each to so many topics, `bench0` and on, one right after the other.
//!   After a space the answer has the nanoseconds of processor time that went into waiting for the time of the next event.
//!
//! It ends with its input.

use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use fanfare_hub::engine::Draft;
use fanfare_hub::{Hub, Loader};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut loader = Loader::new();
    loader.flag("--listen", "listen", "127.0.0.1:0")?;
    // More subscribers than a small machine would allow.
    loader.flag("--connections", "limits.connections", "20000")?;
    match &args[..] {
        [] => {}
        [flag] if flag == "--io-uring" => loader.flag("--set", "lanes.io_uring", "true")?,
        [folder, durability] => {
            loader.flag("--data", "data", folder)?;
            loader.flag("--durability", "history.durability", durability)?;
        }
        _ => bail!("usage: fanfare-embedded [--io-uring | FOLDER DURABILITY]"),
    }
    let hub = Hub::start(loader.finish()?)?;
    println!("{}", hub.url());
    for line in stdin().lock().lines() {
        println!("{}", obey(&hub, &line?)?);
    }
    let deadline = hub.stop_timeout();
    hub.stop(deadline);
    Ok(())
}

/// Publishes as a command says; the answer.
fn obey(hub: &Hub, command: &str) -> Result<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let number = |word: &str| word.parse::<u64>().with_context(|| format!("{word:?} in {command:?}"));
    match words[..] {
        ["publish", threads, milliseconds, bytes] => {
            let time = Duration::from_millis(number(milliseconds)?);
            let published = publish(hub, number(threads)?, time, usize::try_from(number(bytes)?)?)?;
            Ok(published.to_string())
        }
        ["pace", first, events, nanoseconds, bytes, topics] => {
            let topics = match number(topics)? {
                0 => vec!["bench".to_owned()],
                topics => (0..topics).map(|n| format!("bench{n}")).collect(),
            };
            let gap = Duration::from_nanos(number(nanoseconds)?);
            let (first, events) = (number(first)?, u32::try_from(number(events)?)?);
            let waiting = pace(hub, &topics, first, events, gap, usize::try_from(number(bytes)?)?)?;
            Ok(format!("{events} {}", waiting.as_nanos()))
        }
        _ => bail!("unknown command {command:?}"),
    }
}

/// One event to each topic every `gap`, by the plan: a stall does not slow the publisher down for good. Returns the processor time of
/// falling asleep and waking up in between, which is the bench's and not an application's that publishes.
fn pace(
    hub: &Hub,
    topics: &[String],
    first: u64,
    events: u32,
    gap: Duration,
    bytes: usize,
) -> Result<Duration> {
    let rest = "x".repeat(bytes.saturating_sub(10));
    let start = Instant::now();
    let mut waiting = Duration::ZERO;
    for n in 0..events {
        let before = processor_time()?;
        std::thread::sleep((start + gap * n).saturating_duration_since(Instant::now()));
        waiting += processor_time()?.saturating_sub(before);
        let data = format!("{:010}{rest}", first + u64::from(n));
        for topic in topics {
            hub.publish(Draft::new(&**topic, &*data))?;
        }
    }
    Ok(waiting)
}

/// Of the calling thread, since it started.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

/// As many events as `threads` threads can publish in that time.
fn publish(hub: &Hub, threads: u64, time: Duration, bytes: usize) -> Result<u64> {
    let data = "x".repeat(bytes);
    let start = Instant::now();
    let publish = || {
        let mut published = 0;
        while start.elapsed() < time {
            hub.publish(Draft::new("bench", &*data))?;
            published += 1;
        }
        anyhow::Ok(published)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(publish)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a publisher panicked")).and_then(|sum| sum))
            .sum()
    })
}
