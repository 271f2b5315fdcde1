//! Ping-pong: one event at a time, to one subscriber.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Bench;
use crate::client::tally::Look;
use crate::figure::{Figure, percentiles};

/// An event that has not come by then is lost.
const LOST: Duration = Duration::from_secs(20);

impl Bench<'_> {
    /// The next event is published when the last one is there: what one event takes, with nothing else to do.
    pub(super) fn ping_pong(&mut self, events: usize) -> Result<Vec<Figure>> {
        let look = self.look(Look::Events);
        self.readers.begin(look, Some(events));
        let mut sent = Vec::with_capacity(events);
        let ((), cpu, _) = self.measured(|bench| {
            for n in 0..events {
                let body = bench.server.body(1 + n..2 + n, bench.case.size);
                let now = Instant::now();
                sent.push(now);
                bench.publisher.send(&body)?;
                while bench.readers.delivered() <= n as u64 {
                    bench.readers.read_once(Duration::from_secs(1))?;
                    if now.elapsed() > LOST {
                        bail!("event {} did not come", n + 1);
                    }
                }
                bench.publisher.read_answer()?;
            }
            bench.readers.finish(events as u64)
        })?;
        let (_, arrived) = self.readers.arrivals()?;
        let [p50, p99, p999] = percentiles(&sent, &arrived, [0.5, 0.99, 0.999]);
        Ok(vec![
            Figure::new("publish to delivery, p50", "us", p50 * 1e3),
            Figure::new("publish to delivery, p99", "us", p99 * 1e3),
            Figure::new("publish to delivery, p99.9", "us", p999 * 1e3),
            Figure::new("CPU of the server per event", "us", cpu * 1e6 / events as f64),
        ])
    }
}
