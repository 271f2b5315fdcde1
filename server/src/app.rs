//! What every request needs: the engine, the rules, the lanes.

use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{Engine, PublishError, Started, Timestamp};
use tokio::sync::Semaphore;

use crate::alarm::Alarms;
use crate::config::Config;
use crate::cors::Origins;
use crate::host::Hosts;
use crate::lane::Lanes;
use crate::limit::PublishRate;
use crate::pages::Pages;
use crate::shared::Shared;
use crate::stream;
use crate::watch::Limits;

/// Request bodies in memory at once, in blocks of [`BODY_BLOCK`], beyond the first block of each.
const MIN_BODY_BUDGET: u64 = 64 * 1024 * 1024;

/// The unit in which memory for bodies is given out.
pub(crate) const BODY_BLOCK: usize = 64 * 1024;

/// One running server, as its requests see it.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lanes: Lanes,
    /// For streams that the host polls.
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) hosts: Hosts,
    pub(crate) origins: Origins,
    pub(crate) rate: PublishRate,
    pub(crate) pages: Pages,
    /// Memory that bodies may take, all together.
    pub(crate) bodies: Semaphore,
    /// A thread of the runtime, which has one for each lane, may be held up for a millisecond: there are others.
    may_pause: bool,
}

impl App {
    pub(crate) fn new(engine: Engine, config: Config, shared: Arc<Shared>, lanes: Lanes) -> App {
        let budget = MIN_BODY_BUDGET.max(config.max_body_bytes.saturating_mul(4)) / BODY_BLOCK as u64;
        App {
            hosts: Hosts::new(&config.hosts),
            origins: Origins::new(&config.cors_origins, config.cors_credentials),
            rate: PublishRate::new(config.publish_rate),
            pages: Pages::new(&config.pages),
            bodies: Semaphore::new(usize::try_from(budget).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)),
            alarms: Arc::default(),
            may_pause: lanes.stats().len() > 1,
            engine,
            config,
            shared,
            lanes,
        }
    }

    /// Closes a topic or deletes its history. Where that may wait for a disk, other tasks go on meanwhile on another thread.
    pub(crate) fn write<R>(&self, work: impl FnOnce(&Engine) -> R) -> R {
        if self.engine.may_block() {
            tokio::task::block_in_place(|| work(&self.engine))
        } else {
            work(&self.engine)
        }
    }

    /// Starts to publish so many events. Where that has to wait for room on the way to the disk, other tasks go on meanwhile
    /// on another thread.
    pub(crate) fn start<R>(&self, events: usize, work: impl FnOnce(&Engine) -> R) -> R {
        if self.engine.has_room(events) {
            work(&self.engine)
        } else {
            tokio::task::block_in_place(|| work(&self.engine))
        }
    }

    /// Awaits what was started.
    pub(crate) async fn stored<T>(&self, started: Started<T>) -> Result<T, PublishError> {
        if !started.is_done() && self.may_pause {
            // Whoever is ready too publishes before, so that one write is for all of them.
            tokio::task::yield_now().await;
            started.write_if_quick();
        }
        started.await
    }

    /// Engine time.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The deadlines of a connection.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            request: self.config.request_timeout,
            idle: self.config.idle_timeout,
            write: self.config.write_timeout,
        }
    }

    /// `retry:` for one stream.
    pub(crate) fn retry(&self) -> Duration {
        self.config.retry + self.jitter(self.config.retry_jitter)
    }

    /// The age limit of one stream: shortened at random, so that streams opened together do not end together.
    pub(crate) fn max_age(&self) -> Option<Duration> {
        let age = self.config.stream_max_age;
        (!age.is_zero())
            .then(|| age - self.jitter(age * u32::from(self.config.stream_max_age_jitter.min(100)) / 100))
    }

    /// How often, and with which bytes, a silent stream shows that it is alive.
    pub(crate) fn heartbeat(&self) -> Option<(Duration, &'static str)> {
        let every = self.config.heartbeat;
        (!every.is_zero()).then(|| (every, stream::heartbeat(self.config.heartbeat_event)))
    }

    fn jitter(&self, spread: Duration) -> Duration {
        Duration::from_millis(self.shared.jitter.below(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX)))
    }
}
