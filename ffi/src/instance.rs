//! A running hub as its handle sees it, from start to the last call that still holds it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::fanfare_hub::authorize::Answer;
use ::fanfare_hub::embed::Adopted;
use ::fanfare_hub::engine::{Code, Engine, LagPolicy};
use ::fanfare_hub::{Clock, Hub, StopReport};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::failure::Failure;
use crate::ids::Ids;
use crate::item::{Control, Items};
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
    /// Set, and told, when the stop is done.
    stopped: (Mutex<bool>, Condvar),
    /// The option `timeouts.stop`.
    stop_timeout: Duration,
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
    /// A socket in a lane.
    Adopted(Arc<Handed>),
    /// A request that waits for a decision.
    Request(Arc<Waiting>),
}

/// A socket that was handed over.
pub(crate) struct Handed {
    /// Empty for a moment while it is handed over.
    pub(crate) lane: OnceLock<Adopted>,
    pub(crate) user: u64,
    /// The host wants to be told of its end.
    pub(crate) notify: bool,
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
            stop_timeout: hub.stop_timeout(),
            hub: RwLock::new(Some(hub)),
            stopping: AtomicBool::new(false),
            stopped: (Mutex::new(false), Condvar::new()),
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

    /// Stops everything, when it is called first. Later calls wait for that to be done, for their own deadline at most: `None` if it
    /// is not then.
    pub(crate) fn stop(&self, deadline: Option<Duration>) -> Option<StopReport> {
        let deadline = deadline.unwrap_or(self.stop_timeout);
        let (stopped, told) = &self.stopped;
        // AcqRel: one caller wins.
        if self.stopping.swap(true, Ordering::AcqRel) {
            let mut stopped = stopped.lock();
            told.wait_while_for(&mut stopped, |stopped| !*stopped, deadline);
            return stopped.then(StopReport::default);
        }
        // Also when a panic cuts the rest short: whoever waits goes on.
        let _told = Told(&self.stopped);
        let report = self.stop_now(deadline);
        Some(report)
    }

    fn stop_now(&self, deadline: Duration) -> StopReport {
        for id in self.ids.all() {
            // A request that waits for the host that stops: dropped, it is refused.
            if matches!(self.target(id), Ok(Target::Request(_))) {
                drop(self.ids.remove(id));
            }
        }
        let hub = self.hub.write().take();
        // Whatever fails in there, everybody who waits is told below.
        let report =
            catch_unwind(AssertUnwindSafe(|| hub.map_or_else(StopReport::default, |hub| hub.stop(deadline))));
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
                Ok(Target::Adopted(handed)) => self.handed_over(id, &handed, None),
                Ok(Target::Request(_)) => drop(self.ids.remove(id)),
                Err(_) => {}
            }
        }
        self.queue.close();
        report.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// A socket in a lane is done with. Who takes its id away tells the host, once.
    pub(crate) fn handed_over(&self, id: u64, handed: &Handed, why: Option<Code>) {
        let why = why.or_else(|| self.running().err().map(|failure| failure.code()));
        let code = why.map_or(0, Code::number);
        if self.ids.remove(id).is_some() && handed.notify {
            let user = handed.user;
            self.queue.push(Entry::Control(Box::new(Control::End { handle: id, user, code })));
        }
    }
}

/// Tells everybody that the stop is done, when it is dropped.
struct Told<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for Told<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
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
