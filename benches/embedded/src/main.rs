//! An application that Fanfare is inside of: its threads publish, and each waits until what it published is kept as the durability says.
//!
//! `fanfare-embedded FOLDER DURABILITY` prints where its browsers would come to. Then each line of its standard input says
//! `publish THREADS MILLISECONDS BYTES`, and the answer is how many events that were. It ends with its input.

use std::io::{BufRead, stdin};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use fanfare_hub::engine::Draft;
use fanfare_hub::{Hub, Loader};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(durability), None) = (args.next(), args.next(), args.next()) else {
        bail!("usage: fanfare-embedded FOLDER DURABILITY");
    };
    let mut loader = Loader::new();
    loader.flag("--listen", "listen", "127.0.0.1:0")?;
    loader.flag("--data", "data", &folder)?;
    loader.flag("--durability", "history.durability", &durability)?;
    let hub = Hub::start(loader.finish()?)?;
    println!("{}", hub.url());
    for line in stdin().lock().lines() {
        println!("{}", obey(&hub, &line?)?);
    }
    let deadline = hub.stop_timeout();
    hub.stop(deadline);
    Ok(())
}

/// Publishes as a command says; how many events that were.
fn obey(hub: &Hub, command: &str) -> Result<u64> {
    let words: Vec<&str> = command.split(' ').collect();
    let ["publish", threads, milliseconds, bytes] = words[..] else { bail!("unknown command {command:?}") };
    let number = |word: &str| word.parse::<u64>().with_context(|| format!("{word:?} in {command:?}"));
    let time = Duration::from_millis(number(milliseconds)?);
    let data = "x".repeat(usize::try_from(number(bytes)?)?);
    let start = Instant::now();
    let publish = || {
        let mut published = 0;
        while start.elapsed() < time {
            hub.publish(Draft::new("bench", &*data))?;
            published += 1;
        }
        anyhow::Ok(published)
    };
    let threads = number(threads)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(publish)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a publisher panicked")).and_then(|sum| sum))
            .sum()
    })
}
