//! Publishers that wait until their event is kept, one event after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::client::log::Log;
use crate::figure::Figure;
use crate::process::Process;
use crate::server::Server;

/// Publishes over so many connections at once for a while.
pub(super) fn run(
    server: Server,
    process: &mut Process,
    publishers: usize,
    time: Duration,
    size: usize,
) -> Result<Vec<Figure>> {
    if server.is_embedded() {
        return inside(process, publishers, time, size);
    }
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
    Ok(figures(stored, process.cpu()? - cpu, start.elapsed()))
}

/// Lets threads of the process publish; what their publishing costs is in its CPU.
fn inside(process: &mut Process, publishers: usize, time: Duration, size: usize) -> Result<Vec<Figure>> {
    // What comes first makes files and folders.
    process.ask(&format!("publish 1 10 {size}"))?;
    let (cpu, start) = (process.cpu()?, Instant::now());
    let answer = process.ask(&format!("publish {publishers} {} {size}", time.as_millis()))?;
    let stored = answer.trim_end().parse().with_context(|| format!("it answered {answer:?}"))?;
    Ok(figures(stored, process.cpu()? - cpu, start.elapsed()))
}

fn figures(stored: u64, cpu: f64, time: Duration) -> Vec<Figure> {
    vec![
        Figure::new("events stored per second", "", stored as f64 / time.as_secs_f64()),
        Figure::new("CPU of the server per event", "us", cpu * 1e6 / stored as f64),
    ]
}
