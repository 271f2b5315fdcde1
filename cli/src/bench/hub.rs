//! The hub that is measured: one in this process, or one that runs elsewhere.

use fanfare_hub::engine::Draft;
use fanfare_hub::{Hub, Loader, StartError};

use super::{Bench, tally};
use crate::exit::Failure;
use crate::http::{HubArgs, Target};
use crate::publish::Poster;
use crate::settings;

/// Bytes of bookkeeping that history counts for an event, generously.
const EVENT_OVERHEAD: u64 = 1024;

/// The largest history that a hub in this process is given, in bytes.
const MAX_HISTORY: u64 = 2 << 30;

/// Events and bytes in one request to a hub elsewhere.
const BATCH_EVENTS: u32 = 500;
const BATCH_BYTES: usize = 1 << 20;

/// The hub that is measured.
pub(super) struct Subject {
    topic: String,
    place: Place,
}

enum Place {
    Here(Box<Hub>),
    There(Target),
}

impl Subject {
    /// Starts a hub on a free loopback port, unless one is given.
    pub(super) fn start(bench: &Bench) -> Result<Self, Failure> {
        // A topic of its own, so that a hub in use keeps its topics clean.
        let topic = format!("fanfare-bench-{}", std::process::id());
        if let Some(target) = &bench.url {
            return Ok(Self { topic, place: Place::There(target.clone()) });
        }
        let bytes = u64::from(bench.events).saturating_mul(u64::from(bench.size) + EVENT_OVERHEAD);
        if bytes > MAX_HISTORY {
            return Err(Failure::usage(format_args!(
                "{} events of {} bytes are too much for one pass: a history of {bytes} bytes is above {MAX_HISTORY}",
                bench.events, bench.size
            )));
        }
        let mut loader = Loader::new();
        loader.begin_flags();
        // No reader may fall out of history: what is measured is delivery, not recovery.
        for (name, number) in [
            ("history.events", u64::from(bench.events).max(1024)),
            ("history.bytes", bytes.max(8 << 20)),
            ("limits.history_bytes", bytes.saturating_mul(2).max(256 << 20)),
            ("limits.connections", 100_000),
        ] {
            loader.flag("bench", name, &number.to_string()).map_err(Failure::usage)?;
        }
        loader.flag("bench", "listen", "127.0.0.1:0").map_err(Failure::usage)?;
        loader.begin_flags();
        settings::set(&mut loader, &bench.set)?;
        let hub = Hub::start(loader.finish().map_err(Failure::usage)?).map_err(|error| match error {
            StartError::Config(_) => Failure::usage(error),
            error => Failure::runtime(error),
        })?;
        Ok(Self { topic, place: Place::Here(Box::new(hub)) })
    }

    /// Where it listens.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        match &self.place {
            Place::Here(hub) => hub.url().parse().map_err(Failure::runtime),
            Place::There(target) => Ok(target.clone()),
        }
    }

    /// The topic to read.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Publishes the events of a pass back to back.
    pub(super) fn publish(&mut self, pass: u32, events: u32, size: usize) -> Result<(), Failure> {
        match &self.place {
            Place::Here(hub) => {
                for number in 0..events {
                    let draft = Draft::new(self.topic.as_str(), tally::data(pass, number, size));
                    hub.publish(draft).map_err(Failure::runtime)?;
                }
            }
            Place::There(target) => {
                let hub = HubArgs { url: target.clone(), cacert: None };
                let mut poster = Poster::new(&hub, &self.topic);
                let mut body = Vec::new();
                for number in 0..events {
                    // The data needs no escaping.
                    body.extend_from_slice(
                        format!("{{\"data\":\"{}\"}}\n", tally::data(pass, number, size)).as_bytes(),
                    );
                    let last = number + 1 == events;
                    if last || body.len() >= BATCH_BYTES || (number + 1) % BATCH_EVENTS == 0 {
                        poster.post_lines(&body)?;
                        body.clear();
                    }
                }
            }
        }
        Ok(())
    }

    /// Stops what was started here.
    pub(super) fn stop(self) {
        if let Place::Here(hub) = self.place {
            hub.stop(std::time::Duration::ZERO);
        }
    }
}
