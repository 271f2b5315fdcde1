//! What the readers of a run have got so far, and when.

use std::time::Instant;

use anyhow::{Result, bail};

/// How closely readers look at what they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// One reader counts events; of the others the kernel counts bytes, and each has to have got as many as the first.
    /// Readers of TLS and HTTP/2 count events.
    Bytes,
    /// Every reader counts events, as they arrive.
    Events,
    /// Every reader checks the number in each event: all, once, in order.
    Exact,
}

/// Counts over all readers since the measurement began.
pub(crate) struct Tally {
    pub(crate) look: Look,
    /// Events of each reader that counts them.
    counts: Vec<u64>,
    /// Sum of `counts`.
    pub(crate) delivered: u64,
    arrivals: Option<Arrivals>,
}

/// When each event had reached half of the readers, and all.
struct Arrivals {
    seen: Vec<usize>,
    median: Vec<Option<Instant>>,
    last: Vec<Option<Instant>>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { look: Look::Events, counts: Vec::new(), delivered: 0, arrivals: None }
    }

    /// Starts again at zero. With `arrivals`, the times of so many events are kept.
    pub(crate) fn begin(&mut self, look: Look, arrivals: Option<usize>) {
        self.look = look;
        self.counts.fill(0);
        self.delivered = 0;
        self.arrivals = arrivals.map(|events| Arrivals {
            seen: vec![0; events],
            median: vec![None; events],
            last: vec![None; events],
        });
    }

    /// One more reader; its number is returned.
    pub(crate) fn add_reader(&mut self) -> usize {
        self.counts.push(0);
        self.counts.len() - 1
    }

    /// A reader has got so many events more.
    pub(crate) fn add(&mut self, reader: usize, events: u64) {
        if events == 0 {
            return;
        }
        let before = self.counts[reader];
        self.counts[reader] += events;
        self.delivered += events;
        let Some(arrivals) = &mut self.arrivals else { return };
        let (now, readers) = (Instant::now(), self.counts.len());
        for event in before..before + events {
            let Some(seen) =
                usize::try_from(event).ok().and_then(|at| Some((at, arrivals.seen.get_mut(at)?)))
            else {
                // More than were published; the check at the end says so.
                break;
            };
            let (at, seen) = seen;
            *seen += 1;
            if *seen == readers.div_ceil(2) {
                arrivals.median[at] = Some(now);
            }
            if *seen == readers {
                arrivals.last[at] = Some(now);
            }
        }
    }

    /// When each event had reached half of the readers, and all of them.
    ///
    /// # Errors
    /// An event has not, or times were not asked for.
    pub(crate) fn arrivals(&self) -> Result<(Vec<Instant>, Vec<Instant>)> {
        let Some(arrivals) = &self.arrivals else { bail!("no times were kept") };
        let complete = |times: &[Option<Instant>]| times.iter().copied().collect::<Option<Vec<Instant>>>();
        match (complete(&arrivals.median), complete(&arrivals.last)) {
            (Some(median), Some(last)) => Ok((median, last)),
            _ => bail!("not every event has reached every reader"),
        }
    }

    pub(crate) fn readers(&self) -> usize {
        self.counts.len()
    }

    pub(crate) fn least(&self) -> u64 {
        self.counts.iter().copied().min().unwrap_or_default()
    }

    pub(crate) fn count_of(&self, reader: usize) -> u64 {
        self.counts[reader]
    }

    /// Fails unless every reader has got exactly `events`.
    pub(crate) fn check(&self, events: u64) -> Result<()> {
        let wrong = self.counts.iter().filter(|count| **count != events).count();
        if wrong > 0 {
            bail!("{wrong} of {} subscribers did not get exactly {events} events", self.counts.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_arrived_when_the_last_reader_has_it() {
        let mut tally = Tally::new();
        for _ in 0..3 {
            tally.add_reader();
        }
        tally.begin(Look::Events, Some(2));
        tally.add(0, 2);
        tally.add(1, 1);
        assert!(tally.arrivals().is_err(), "reader 2 has nothing");
        tally.add(1, 1);
        tally.add(2, 2);
        let (median, last) = tally.arrivals().unwrap();
        assert!(median[0] <= median[1] && median[1] <= last[0] && last[0] == last[1]);
        tally.check(2).unwrap();
        tally.add(2, 1);
        assert!(tally.check(2).is_err(), "one event too many");
        assert_eq!((tally.delivered, tally.least()), (7, 2));
    }
}
