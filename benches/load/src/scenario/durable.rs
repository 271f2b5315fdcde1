//! Publishers that wait until their event is kept, one event after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::client::log::Log;
use crate::figure::Figure;
use crate::process::Process;
use crate::server::Server;

/// Publishes over so many connections at once for a while.
pub(super) fn run(
    server: Server,
    process: &Process,
    publishers: usize,
    time: Duration,
    size: usize,
) -> Result<Vec<Figure>> {
    let connect = |number| Log::connect(server, process.address, number, size);
    let mut connections = (0..publishers).map(connect).collect::<Result<Vec<Log>>>()?;
    // What comes first makes files and folders.
    connections.iter_mut().try_for_each(Log::publish)?;
    let (cpu, start) = (process.cpu()?, Instant::now());
    let stored = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|connection| {
                scope.spawn(move || {
                    let mut stored = 0_u64;
                    while start.elapsed() < time {
                        connection.publish()?;
                        stored += 1;
                    }
                    anyhow::Ok(stored)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().map_err(|_| anyhow!("a publisher panicked")).and_then(|stored| stored)
        });
        joined.sum::<Result<u64>>()
    })?;
    let (cpu, seconds) = (process.cpu()? - cpu, start.elapsed().as_secs_f64());
    Ok(vec![
        Figure::new("events stored per second", "", stored as f64 / seconds),
        Figure::new("CPU of the server per event", "us", cpu * 1e6 / stored as f64),
    ])
}
