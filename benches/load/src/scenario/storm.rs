//! The storm: every subscriber is cut and comes back, at once, for what it missed.

use anyhow::Result;

use super::Bench;
use crate::client::subscribers::Subscribers;
use crate::client::tally::Look;
use crate::figure::Figure;

/// Events that subscribers have got before they are cut.
const BEFORE: usize = 10;

impl Bench<'_> {
    /// Every subscriber has to get each of the `missed` events, once and in order, behind the one that it had last.
    pub(super) fn storm(&mut self, missed: usize) -> Result<Vec<Figure>> {
        let (server, size) = (self.server, self.case.size);
        self.readers.begin(Look::Exact, None);
        for number in 1..=BEFORE {
            self.publisher.publish(&server.body(number..number + 1, size))?;
        }
        self.readers.finish(BEFORE as u64)?;
        let (last_id, next) = self.readers.position()?;
        // All are cut here.
        self.readers = Subscribers::open(&self.process.target(), 0, 0, None)?;
        for number in 1 + BEFORE..=BEFORE + missed {
            self.publisher.publish(&server.body(number..number + 1, size))?;
        }
        let ((), cpu, seconds) = self.measured(|bench| {
            let (target, count) = (bench.process.target(), bench.case.subscribers);
            bench.readers = Subscribers::open(&target, count, next, Some(&last_id))?;
            bench.readers.finish(missed as u64)
        })?;
        let subscribers = self.case.subscribers as f64;
        Ok(vec![
            Figure::new("subscribers back with all they missed, per second", "", subscribers / seconds),
            Figure::new("CPU of the server per subscriber that came back", "us", cpu * 1e6 / subscribers),
        ])
    }
}
