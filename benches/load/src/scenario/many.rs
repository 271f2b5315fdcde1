//! Many publishers at once.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{Bench, TURN};
use crate::client::publisher::Publisher;
use crate::client::tally::Look;
use crate::figure::Figure;

impl Bench<'_> {
    /// Each publisher has a connection of its own and publishes its part, one event a request, as fast as it is answered.
    /// Their events mix, so readers count them.
    pub(super) fn publishers(&mut self, publishers: usize, events: usize) -> Result<Vec<Figure>> {
        let each = events.div_ceil(publishers.max(1));
        let events = each * publishers;
        self.readers.begin(Look::Bytes, None);
        let address = self.process.address;
        let connections =
            (0..publishers).map(|_| Publisher::connect(address)).collect::<Result<Vec<Publisher>>>()?;
        let (published, cpu, seconds) = self.measured(|bench| {
            let (server, size, readers) = (bench.server, bench.case.size, &mut bench.readers);
            let published = std::thread::scope(|scope| {
                let start = std::time::Instant::now();
                let threads: Vec<_> = connections
                    .into_iter()
                    .enumerate()
                    .map(|(at, mut publisher)| {
                        scope.spawn(move || {
                            for number in 1 + at * each..1 + (at + 1) * each {
                                publisher.publish(&server.body(number..number + 1, size))?;
                            }
                            anyhow::Ok(start.elapsed())
                        })
                    })
                    .collect();
                while !threads.iter().all(|thread| thread.is_finished()) {
                    readers.read_once(TURN)?;
                }
                let mut longest = Duration::ZERO;
                for thread in threads {
                    longest = longest.max(thread.join().map_err(|_| anyhow!("a publisher panicked"))??);
                }
                anyhow::Ok(longest)
            })?;
            bench.readers.finish(events as u64)?;
            Ok(published)
        })?;
        Ok(vec![
            Figure::new("events published per second", "", events as f64 / published.as_secs_f64()),
            Figure::new("deliveries per second", "", self.deliveries(events) / seconds),
            Figure::new("CPU of the server per event", "us", cpu * 1e6 / events as f64),
        ])
    }
}
