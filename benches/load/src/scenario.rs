//! What is done to a server, and what is measured meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::client::{Publisher, Subscribers};
use crate::process::Process;
use crate::server::{Places, Server};

/// How long a server rests before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    Burst { events: usize },
    Paced { events: usize, gap: Duration },
    Idle,
}

/// What one run measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// From the first publish to the last delivery.
    pub(crate) seconds: f64,
    pub(crate) deliveries: u64,
    /// CPU seconds of the server meanwhile.
    pub(crate) cpu: f64,
    /// Bytes of memory that the subscribers added to the server, before anything was published.
    pub(crate) memory: f64,
}

impl Scenario {
    /// Runs against a freshly started server.
    pub(crate) fn run(
        &self,
        server: Server,
        subscribers: usize,
        size: usize,
        places: &Places,
    ) -> Result<Figures> {
        let process = Process::start(server, places)?;
        let mut publisher = Publisher::connect(process.address)?;
        // The floor serves one connection at a time: its publisher comes after its subscribers.
        if server != Server::Floor {
            publisher.publish(&body(server, 1, size))?;
        }
        let before = process.memory()?;
        drop(publisher);
        let mut readers = Subscribers::open(process.address, subscribers)?;
        let mut publisher = Publisher::connect(process.address)?;
        if matches!(self, Self::Idle) {
            std::thread::sleep(SETTLE);
        }
        let memory = process.memory()?.saturating_sub(before) as f64;
        let (cpu, started) = (process.cpu()?, Instant::now());
        let events = match *self {
            Self::Idle => 0,
            Self::Burst { events } => {
                self.burst(&mut publisher, server, events, size, &mut readers)?;
                events
            }
            Self::Paced { events, gap } => {
                self.paced(&mut publisher, server, events, gap, size, &mut readers)?;
                events
            }
        };
        let want = (events * subscribers) as u64;
        readers.read_until(|readers| readers.delivered >= want)?;
        let seconds = started.elapsed().as_secs_f64();
        let cpu = process.cpu()? - cpu;
        readers.check(events as u64)?;
        Ok(Figures { seconds, deliveries: want, cpu, memory })
    }

    /// The publisher is a thread of its own, so that a server that answers late does not keep the readers from reading.
    fn burst(
        &self,
        publisher: &mut Publisher,
        server: Server,
        events: usize,
        size: usize,
        readers: &mut Subscribers,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || {
                let mut left = events;
                while left > 0 {
                    let count = left.min(server.burst_body());
                    publisher.publish(&body(server, count, size))?;
                    left -= count;
                }
                anyhow::Ok(())
            });
            while !publishing.is_finished() {
                readers.read_once(Duration::from_millis(1))?;
            }
            publishing.join().map_err(|_| anyhow!("the publisher panicked"))?
        })
    }

    fn paced(
        &self,
        publisher: &mut Publisher,
        server: Server,
        events: usize,
        gap: Duration,
        size: usize,
        readers: &mut Subscribers,
    ) -> Result<()> {
        let body = body(server, 1, size);
        std::thread::scope(|scope| {
            let publishing = scope.spawn(move || {
                let start = Instant::now();
                for n in 0..events {
                    // By the plan, not by the last answer: a stall does not slow the publisher down.
                    let due = start + gap * u32::try_from(n)?;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    publisher.publish(&body)?;
                }
                anyhow::Ok(())
            });
            while !publishing.is_finished() {
                readers.read_once(Duration::from_millis(20))?;
            }
            publishing.join().map_err(|_| anyhow!("the publisher panicked"))?
        })
    }
}

/// `count` events in the form that the server takes.
fn body(server: Server, count: usize, size: usize) -> String {
    server.line(&"x".repeat(size)).repeat(count)
}
