//! Readers of one topic, in any transport.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::plain::Plain;
use super::tally::{Look, Tally};
use super::tasks::Tasks;
use super::{OPENING, PATIENCE};
use crate::server::Transport;

/// Where and how to subscribe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// What clients of TLS trust.
    pub(crate) certificate: Option<&'a Path>,
    /// Each reads a topic of its own, if it is a plain reader.
    pub(crate) own_topics: bool,
}

/// Readers wait in vain for what was published.
#[derive(Debug)]
pub(crate) struct Lost {
    sum: u64,
    least: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sum, least } = self;
        write!(f, "events do not come any more; {sum} deliveries counted so far, the least {least}")
    }
}

impl std::error::Error for Lost {}

/// Subscribers, read by the calling thread.
pub(crate) struct Subscribers(Kind);

enum Kind {
    Plain(Plain, Tally),
    Tasks(Tasks),
}

impl Subscribers {
    /// Opens `count` streams and waits until each is answered. The first event of each has to have the number `next`.
    /// With `after`, they resume after the event of that id.
    pub(crate) fn open(target: &Target<'_>, count: usize, next: u64, after: Option<&str>) -> Result<Self> {
        let mut all = Self(match target.transport {
            Transport::Plain => Kind::Plain(Plain::new()?, Tally::new()),
            _ if after.is_some() || next > 0 => bail!("only plain readers resume here"),
            transport => Kind::Tasks(Tasks::new(transport, target.certificate)?),
        });
        // Events may come with the head already: of readers that resume.
        all.tally(|tally| tally.look = Look::Exact);
        let mut opened = 0;
        while opened < count {
            for number in opened..count.min(opened + OPENING) {
                match &mut all.0 {
                    Kind::Plain(plain, tally) => {
                        tally.add_reader();
                        let topic = target.own_topics.then_some(number);
                        plain.add(target.address, number, next, topic, after)?;
                    }
                    Kind::Tasks(tasks) => tasks.add(target.address, number)?,
                }
            }
            opened = count.min(opened + OPENING);
            all.read_until(|all| match &all.0 {
                Kind::Plain(plain, _) => plain.are_streaming(),
                Kind::Tasks(tasks) => tasks.are_streaming(),
            })?;
        }
        Ok(all)
    }

    /// Starts measuring: everything is counted from zero. With `arrivals`, the times of so many events are kept.
    pub(crate) fn begin(&mut self, look: Look, arrivals: Option<usize>) {
        if let Kind::Plain(plain, _) = &mut self.0 {
            plain.begin();
        }
        self.tally(|tally| tally.begin(look, arrivals));
    }

    /// Reads until everybody has got `events`, and fails if somebody has got more or other bytes.
    pub(crate) fn finish(&mut self, events: u64) -> Result<()> {
        let (look, readers) = self.tally(|tally| (tally.look, tally.readers() as u64));
        self.read_until(|all| match &all.0 {
            Kind::Plain(plain, tally) if look == Look::Bytes => {
                tally.count_of(0) >= events && plain.are_level()
            }
            _ => all.tally_ref(|tally| tally.delivered) >= events * readers,
        })?;
        match &self.0 {
            Kind::Plain(plain, tally) if look == Look::Bytes => {
                plain.check_level()?;
                if tally.count_of(0) != events {
                    bail!("{} events came instead of {events}", tally.count_of(0));
                }
                Ok(())
            }
            _ => self.tally_ref(|tally| tally.check(events)),
        }
    }

    /// Reads until `done`.
    fn read_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        let started = Instant::now();
        let mut progress = started;
        while !done(self) {
            if self.read_once(Duration::from_millis(100))? {
                progress = Instant::now();
            }
            // Some servers' signs of life cannot be told from events.
            if progress.elapsed() > PATIENCE || started.elapsed() > 4 * PATIENCE {
                let (sum, least) = self.tally_ref(|tally| (tally.delivered, tally.least()));
                bail!(Lost { sum, least });
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` and reads what is there; false if nothing was.
    pub(crate) fn read_once(&mut self, timeout: Duration) -> Result<bool> {
        match &mut self.0 {
            Kind::Plain(plain, tally) => plain.read_once(timeout, tally),
            Kind::Tasks(tasks) => tasks.read_once(timeout),
        }
    }

    /// When each event had reached half of the readers, and all of them.
    pub(crate) fn arrivals(&self) -> Result<(Vec<Instant>, Vec<Instant>)> {
        self.tally_ref(Tally::arrivals)
    }

    /// Events that all readers together have got.
    pub(crate) fn delivered(&self) -> u64 {
        self.tally_ref(|tally| tally.delivered)
    }

    /// The id of the last event that the first reader has got, and the number of the one after it.
    pub(crate) fn position(&self) -> Result<(String, u64)> {
        match &self.0 {
            Kind::Plain(plain, _) => {
                let first = plain.first()?;
                Ok((first.last_id()?, first.next()))
            }
            Kind::Tasks(_) => bail!("only plain readers know their position"),
        }
    }

    fn tally<T>(&mut self, body: impl FnOnce(&mut Tally) -> T) -> T {
        match &mut self.0 {
            Kind::Plain(_, tally) => body(tally),
            Kind::Tasks(tasks) => tasks.tally(body),
        }
    }

    fn tally_ref<T>(&self, body: impl FnOnce(&Tally) -> T) -> T {
        match &self.0 {
            Kind::Plain(_, tally) => body(tally),
            Kind::Tasks(tasks) => tasks.tally(|tally| body(tally)),
        }
    }
}
