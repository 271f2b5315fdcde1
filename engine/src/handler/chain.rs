//! The ordered chain of handlers.
//!
//! **Order.** Each handler has locks of its own, one for a share of all topics. A publisher takes those of the topics
//! that are about to pass the handler and holds them until its commit, so events of a topic are committed in the order
//! in which they passed, wherever they came from. Locks are taken handler by handler and sorted within one. Chains
//! grow at their end only, and who leaves one never comes back with the same locks: the handlers that two chains share
//! stand in the same order in both, so two publishers cannot wait for each other.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Fault, HandlerInfo, HandlerSpec, OnFault, Verdict};
use crate::code::Code;
use crate::draft::Draft;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::time::Timestamp;

/// How many locks a handler has. Topics that share one by hash wait for each other, no more.
const ORDERS: usize = 64;

/// Why an event did not get through the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// A handler refused it, for the reason given.
    Refused {
        /// The handler's name.
        handler: String,
        /// Its words, for the publisher.
        reason: String,
    },
    /// A handler failed and its policy is [`OnFault::Closed`].
    Failed {
        /// The handler's name.
        handler: String,
        /// What went wrong.
        fault: Fault,
    },
}

impl HandlerError {
    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::HandlerRefused,
            Self::Failed { .. } => Code::HandlerFailed,
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { handler, reason } => write!(f, "handler {handler} refused the event: {reason}"),
            Self::Failed { handler, fault } => write!(f, "handler {handler} failed: {fault}"),
        }
    }
}

impl std::error::Error for HandlerError {}

/// The handlers of a hub, in order. Immutable: adding or removing one makes a new chain.
#[derive(Clone, Default)]
pub(crate) struct Chain(Vec<Stage>);

/// The order of topics, held until this is dropped: after the commit.
#[derive(Default)]
pub(crate) struct Held<'c>(Vec<MutexGuard<'c, ()>>);

/// A handler, and the locks of the topics that pass it.
#[derive(Clone)]
struct Stage {
    spec: HandlerSpec,
    orders: Arc<[Mutex<()>]>,
}

impl Chain {
    pub(crate) fn with(&self, spec: HandlerSpec) -> Self {
        let mut stages = self.0.clone();
        stages.push(Stage { spec, orders: (0..ORDERS).map(|_| Mutex::new(())).collect() });
        Self(stages)
    }

    /// The chain without the handlers of that name; `None` if there is none.
    pub(crate) fn without(&self, name: &str) -> Option<Self> {
        let stages: Vec<_> = self.0.iter().filter(|stage| stage.spec.name != name).cloned().collect();
        (stages.len() < self.0.len()).then_some(Self(stages))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn info(&self) -> Vec<HandlerInfo> {
        let of = |Stage { spec, .. }: &Stage| HandlerInfo {
            name: spec.name.to_string(),
            topics: spec.topics.clone(),
            stats: spec.handler.stats(),
        };
        self.0.iter().map(of).collect()
    }

    /// Whether any handler wants events of `topic`.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.0.iter().any(|stage| stage.spec.topics.matches(topic))
    }

    /// Sends `drafts` through the chain; what comes out is to be committed in order, with the index of the draft that
    /// it came from. Each handler sees what the ones before it left, so an emitted event never meets the handler that
    /// made it: there is no loop. An error comes with the index of its draft.
    pub(crate) fn run<'c, 'a>(
        &'c self,
        drafts: Vec<Draft<'a>>,
        now: Timestamp,
        held: &mut Held<'c>,
    ) -> Result<Vec<(usize, Draft<'a>)>, (usize, HandlerError)> {
        let mut events: Vec<_> = drafts.into_iter().enumerate().collect();
        for Stage { spec, orders } in &self.0 {
            let mut wanted: Vec<usize> = events
                .iter()
                .filter(|(_, event)| spec.topics.matches(&event.topic))
                .map(|(_, event)| order_of(&event.topic))
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            held.0.extend(wanted.into_iter().map(|at| orders[at].lock()));
            let mut next = Vec::with_capacity(events.len());
            for (index, event) in events {
                if !spec.topics.matches(&event.topic) {
                    next.push((index, event));
                    continue;
                }
                match spec.call(&event, now).map_err(|error| (index, error))? {
                    Verdict::Pass => next.push((index, event)),
                    Verdict::Replace(event) => next.push((index, event)),
                    Verdict::Drop => {}
                    Verdict::Emit(made) => next.extend(made.into_iter().map(|event| (index, event))),
                    Verdict::Refuse(reason) => {
                        return Err((
                            index,
                            HandlerError::Refused { handler: spec.name.to_string(), reason },
                        ));
                    }
                }
            }
            events = next;
        }
        Ok(events)
    }
}

/// The lock of a topic among those of a handler.
fn order_of(topic: &str) -> usize {
    // Fixed seeds: who finds colliding names only makes his own topics wait.
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(topic) as usize % ORDERS
}

impl HandlerSpec {
    fn call(&self, event: &Draft<'_>, now: Timestamp) -> Result<Verdict, HandlerError> {
        // A handler is foreign code: what it leaves behind after a panic is its own affair, the engine's state is not
        // touched while it runs.
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.handle(event, now)));
        match result.unwrap_or_else(|_| Err(Fault("it panicked".into()))) {
            Ok(verdict) => Ok(verdict),
            Err(_) if self.on_fault == OnFault::Open => Ok(Verdict::Pass),
            Err(fault) => Err(HandlerError::Failed { handler: self.name.to_string(), fault }),
        }
    }
}
