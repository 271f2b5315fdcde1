//! A running hub as its handle sees it, from start to the last call that still holds it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::fanfare_hub::authorize::Answer;
use ::fanfare_hub::embed::Adopted;
use ::fanfare_hub::engine::{Code, Engine, LagPolicy};
use ::fanfare_hub::{Clock, Hub, StopReport};
use parking_lot::{Mutex, RwLock};

use crate::failure::Failure;
use crate::ids::Ids;
use crate::item::Items;
use crate::queue::{Entry, Queue};
use crate::reader::{Looked, Patience, Reader};
use crate::written::Written;

/// Most items that one drain looks for; the last look may go beyond.
const DRAIN_ITEMS: usize = 4_096;

/// What a hub handle names.
pub(crate) struct Instance {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    /// The option `lag`.
    pub(crate) lag: LagPolicy,
    /// None once it has been stopped.
    hub: RwLock<Option<Hub>>,
    stopping: AtomicBool,
    pub(crate) queue: Arc<Queue>,
    pub(crate) ids: Ids<Target>,
    pub(crate) url: CString,
    pub(crate) urls: CString,
}

/// What an id names.
#[derive(Clone)]
pub(crate) enum Target {
    /// A subscription.
    Reader(Arc<Reader>),
    /// A host-written stream.
    Written(Arc<Written>),
    /// A socket in a lane; empty for a moment while it is handed over.
    Adopted(Arc<OnceLock<Adopted>>),
    /// A request that waits for a decision.
    Request(Arc<Waiting>),
}

/// A request that waits for the host.
pub(crate) struct Waiting {
    pub(crate) answer: Mutex<Option<Answer>>,
}

impl Instance {
    pub(crate) fn new(hub: Hub, lag: LagPolicy, queue: Arc<Queue>) -> Instance {
        // An address has no NUL.
        let text = |text: String| CString::new(text).unwrap_or_default();
        Instance {
            engine: hub.engine().clone(),
            clock: hub.clock(),
            lag,
            url: text(hub.url()),
            urls: text(hub.urls().join("\n")),
            hub: RwLock::new(Some(hub)),
            stopping: AtomicBool::new(false),
            queue,
            ids: Ids::default(),
        }
    }

    /// Refuses once a stop has begun.
    pub(crate) fn running(&self) -> Result<(), Failure> {
        // Relaxed: a call that races with the stop may see either side of it.
        if self.stopping.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(()) }
    }

    /// Works with the hub, which cannot stop meanwhile.
    pub(crate) fn with_hub<R>(&self, work: impl FnOnce(&Hub) -> Result<R, Failure>) -> Result<R, Failure> {
        self.running()?;
        match &*self.hub.read() {
            Some(hub) => work(hub),
            None => Err(stopped()),
        }
    }

    /// What an id names.
    pub(crate) fn target(&self, id: u64) -> Result<Target, Failure> {
        self.ids.with(id, |target| target.clone()).ok_or_else(|| stale(id))
    }

    /// Ends the subscription or stream. Its id is stale when this returns.
    pub(crate) fn forget(&self, id: u64) -> Result<(), Failure> {
        match self.ids.remove(id) {
            Some(Target::Reader(reader)) => reader.end(Code::StaleHandle),
            Some(Target::Written(stream)) => stream.close(),
            // Their ends come from elsewhere; dropped, a request is refused.
            Some(Target::Adopted(_) | Target::Request(_)) => {}
            None => return Err(stale(id)),
        }
        Ok(())
    }

    /// Reads what the queue points to. True if more is left.
    pub(crate) fn drain(&self, items: &mut Items) -> bool {
        let mut entries = self.queue.begin();
        let mut again = VecDeque::new();
        while items.as_slice().len() < DRAIN_ITEMS
            && let Some(entry) = entries.pop_front()
        {
            match entry {
                Entry::Control(control) => items.push_control(*control),
                Entry::Target(id) => {
                    if self.drain_target(id, items) {
                        again.push_back(Entry::Target(id));
                    }
                }
            }
        }
        // Whoever had its turn stands behind the others.
        entries.append(&mut again);
        self.queue.finish(entries)
    }

    /// True if it has more.
    fn drain_target(&self, id: u64, items: &mut Items) -> bool {
        // One that is gone has nothing to say.
        let Ok(target) = self.target(id) else { return false };
        match target {
            Target::Reader(reader) if reader.on_demand => items.push_ready(id, reader.user),
            Target::Reader(reader) => match reader.look(id, Patience::None, items) {
                Ok(Looked::More) => return true,
                Ok(Looked::Over) => drop(self.ids.remove(id)),
                // Unsubscribed a moment ago.
                Ok(Looked::Idle) | Err(_) => {}
            },
            Target::Written(stream) => items.push_ready(id, stream.user),
            // They do not ring.
            Target::Adopted(_) | Target::Request(_) => {}
        }
        false
    }

    /// Stops everything. The first call does it; later ones find it done, or being done.
    pub(crate) fn stop(&self, deadline: Option<Duration>) -> StopReport {
        // AcqRel: one caller wins.
        if self.stopping.swap(true, Ordering::AcqRel) {
            return StopReport::default();
        }
        for id in self.ids.all() {
            // A request that waits for the host that stops: dropped, it is refused.
            if matches!(self.target(id), Ok(Target::Request(_))) {
                drop(self.ids.remove(id));
            }
        }
        let hub = self.hub.write().take();
        let report = hub.map_or_else(StopReport::default, |hub| {
            let deadline = deadline.unwrap_or_else(|| hub.stop_timeout());
            hub.stop(deadline)
        });
        for id in self.ids.all() {
            match self.target(id) {
                Ok(Target::Reader(reader)) => {
                    reader.end(Code::Stopping);
                    // Also one whose bell nobody has armed: it has an end to tell.
                    self.queue.push(Entry::Target(id));
                }
                Ok(Target::Written(stream)) => {
                    stream.stop();
                    self.queue.push(Entry::Target(id));
                }
                Ok(Target::Adopted(_) | Target::Request(_)) => drop(self.ids.remove(id)),
                Err(_) => {}
            }
        }
        self.queue.close();
        report
    }
}

pub(crate) fn stopped() -> Failure {
    Failure::new(Code::Stopping, "the hub is stopped, or stopping")
}

pub(crate) fn stale(id: u64) -> Failure {
    Failure::format(Code::StaleHandle, move |f| {
        write!(f, "id {id:#x} names nothing: over, or never given out")
    })
}
