//! The ordered chain of handlers.
//!
//! **Order.** Each handler has locks of its own, one for a share of all topics. A publisher takes those of the topics
//! that are about to pass the handler and holds them until its commit, so events of a topic are committed in the order
//! in which they passed, wherever they came from. Locks are taken handler by handler and sorted within one. Chains
//! grow at their end only, and who leaves one never comes back with the same locks: the handlers that two chains share
//! stand in the same order in both, so two publishers cannot wait for each other.
//!
//! A handler that is asked about a reader, or that makes events on its own, is called with all of its locks held: then
//! every event that has passed it is committed. They are taken in the same order.
//!
//! A handler's state is opened with its locks held, and before those of the next handler are taken; so it stands between
//! them in the order.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Fault, HandlerInfo, HandlerSpec, MAX_BATCH, OnFault, Turn, Verdict, Visitor, Welcome};
use crate::code::Code;
use crate::config::Config;
use crate::draft::Draft;
use crate::journal::StateChanges;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::time::Timestamp;

/// How many locks a handler has. Topics that share one by hash wait for each other, no more.
const ORDERS: usize = 64;

/// Why an event did not get through the chain, or a reader not in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// A handler refused it, for the reason given.
    Refused {
        /// The handler's name.
        handler: String,
        /// Its words, for the publisher or reader.
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

/// What is held from the handlers to the commit. Dropped, it takes back what they have changed in their state.
#[derive(Default)]
pub(crate) struct Held<'c> {
    /// Handlers whose state is open. Before the order, so that who comes next finds the state that is committed.
    turns: Vec<Turn>,
    /// The order of topics.
    orders: Vec<MutexGuard<'c, ()>>,
}

impl Held<'_> {
    /// What the handlers have changed in their state.
    pub(crate) fn changes(&self) -> Vec<StateChanges> {
        self.turns.iter().filter_map(Turn::changes).collect()
    }

    /// Whether any handler has opened its state.
    pub(crate) fn has_state(&self) -> bool {
        !self.turns.is_empty()
    }

    /// What they have changed counts, and others may go on.
    pub(crate) fn commit(self) {
        self.turns.into_iter().for_each(Turn::commit);
    }

    fn keep(&mut self, turn: Turn) {
        if turn.is_open() {
            self.turns.push(turn);
        }
    }
}

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
            events: spec.events.iter().map(|kind| kind.to_string()).collect(),
            stats: spec.handler.stats(),
        };
        self.0.iter().map(of).collect()
    }

    /// Whether any handler wants this event.
    pub(crate) fn wants(&self, event: &Draft<'_>) -> bool {
        self.0.iter().any(|stage| stage.spec.wants(event))
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
        self.run_behind(0, drafts, now, held)
    }

    /// As [`run`](Self::run), through the handlers from place `first` on.
    pub(crate) fn run_behind<'c, 'a>(
        &'c self,
        first: usize,
        drafts: Vec<Draft<'a>>,
        now: Timestamp,
        held: &mut Held<'c>,
    ) -> Result<Vec<(usize, Draft<'a>)>, (usize, HandlerError)> {
        let mut events: Vec<_> = drafts.into_iter().enumerate().collect();
        for Stage { spec, orders } in &self.0[first..] {
            let mut wanted: Vec<usize> = events
                .iter()
                .filter(|(_, event)| spec.wants(event))
                .map(|(_, event)| order_of(&event.topic))
                .collect();
            let together = wanted.len() > 1 && spec.handler.batches();
            wanted.sort_unstable();
            wanted.dedup();
            held.orders.extend(wanted.into_iter().map(|at| orders[at].lock()));
            let mut turn = Turn::default();
            let mut answers = VecDeque::new();
            let mut next = Vec::with_capacity(events.len());
            for at in 0..events.len() {
                let index = events[at].0;
                if !spec.wants(&events[at].1) {
                    next.push((index, std::mem::take(&mut events[at].1)));
                    continue;
                }
                if together && answers.is_empty() {
                    let ahead = events[at..].iter().map(|(_, event)| event).filter(|event| spec.wants(event));
                    answers.extend(spec.call_batch(
                        &ahead.take(MAX_BATCH).collect::<Vec<_>>(),
                        now,
                        &mut turn,
                    ));
                }
                let event = std::mem::take(&mut events[at].1);
                let answer = match answers.pop_front() {
                    Some(answer) => spec.decided(answer),
                    None => spec.call(&event, now, &mut turn),
                };
                match answer.map_err(|error| (index, error))? {
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
            held.keep(turn);
            events = next;
        }
        Ok(events)
    }

    /// Asks the handlers of a reader's topics about him, in order. What those say who greet him, or `None` if nobody
    /// does; what is held then keeps events from passing these handlers until he is there.
    pub(crate) fn welcome<'c>(
        &'c self,
        visitor: &Visitor<'_>,
        config: &Config,
        now: Timestamp,
        held: &mut Held<'c>,
    ) -> Result<Option<Vec<Draft<'static>>>, HandlerError> {
        let mut greeting = None;
        for Stage { spec, orders } in &self.0 {
            let topics: Vec<&str> =
                visitor.topics.iter().copied().filter(|topic| spec.topics.matches(topic)).collect();
            if topics.is_empty() || !spec.handler.welcomes() {
                continue;
            }
            held.orders.extend(orders.iter().map(Mutex::lock));
            let mut turn = Turn::default();
            let visitor = Visitor { topics, ..visitor.clone() };
            let asked = || {
                let answer = spec.handler.welcome(&visitor, now, &mut turn)?;
                if let Welcome::Greet(made) = &answer {
                    made.iter().try_for_each(|event| greets(event, &visitor, config))?;
                }
                Ok(answer)
            };
            let answer = spec.guarded(Welcome::Admit, asked)?;
            held.keep(turn);
            match answer {
                Welcome::Admit => {}
                Welcome::Greet(made) => greeting.get_or_insert_with(Vec::new).extend(made),
                Welcome::Refuse(reason) => {
                    return Err(HandlerError::Refused { handler: spec.name.to_string(), reason });
                }
            }
        }
        Ok(greeting)
    }

    /// Lets the first handler of that name make events. Their place in the chain is behind it: the number to
    /// [`run_behind`](Self::run_behind). `None` if there is no such handler.
    pub(crate) fn tick<'c>(
        &'c self,
        name: &str,
        now: Timestamp,
        held: &mut Held<'c>,
    ) -> Result<Option<(usize, Vec<Draft<'static>>)>, HandlerError> {
        let Some(at) = self.0.iter().position(|stage| stage.spec.name == name) else { return Ok(None) };
        let Stage { spec, orders } = &self.0[at];
        held.orders.extend(orders.iter().map(Mutex::lock));
        let mut turn = Turn::default();
        let made = spec.guarded(Vec::new(), || spec.handler.tick(now, &mut turn))?;
        held.keep(turn);
        Ok(Some((at + 1, made)))
    }
}

/// Whether a reader can be greeted by this event.
fn greets(event: &Draft<'_>, visitor: &Visitor<'_>, config: &Config) -> Result<(), Fault> {
    let (size, limit) = (event.data.len() as u64, config.limits.event_bytes);
    let wrong = if let Err(error) = event.check(&config.epoch) {
        error.to_string()
    } else if !visitor.topics.contains(&&*event.topic) {
        "its topic is none that the reader reads and the handler handles".to_owned()
    } else if event.id.is_some() {
        "it has an id of its own".to_owned()
    } else if size > limit {
        format!("its data of {size} bytes is larger than {limit} bytes (limits.event_bytes)")
    } else {
        return Ok(());
    };
    Err(Fault(format!("it greets with an event that cannot be sent: {wrong}")))
}

/// The lock of a topic among those of a handler.
fn order_of(topic: &str) -> usize {
    // Fixed seeds: who finds colliding names only makes his own topics wait.
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(topic) as usize % ORDERS
}

impl HandlerSpec {
    fn wants(&self, event: &Draft<'_>) -> bool {
        self.topics.matches(&event.topic) && (self.events.is_empty() || self.wants_type(event))
    }

    fn wants_type(&self, event: &Draft<'_>) -> bool {
        // What it is to a browser, and to readers who filter: WHATWG HTML 9.2.6.
        let kind = event.event.as_deref().unwrap_or("message");
        self.events.iter().any(|wanted| **wanted == *kind)
    }

    fn call(&self, event: &Draft<'_>, now: Timestamp, turn: &mut Turn) -> Result<Verdict, HandlerError> {
        self.guarded(Verdict::Pass, || self.handler.handle(event, now, turn))
    }

    /// Exactly as many answers as events.
    fn call_batch(
        &self,
        events: &[&Draft<'_>],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Vec<Result<Verdict, Fault>> {
        let answers = catch_unwind(AssertUnwindSafe(|| self.handler.handle_batch(events, now, turn)));
        let fault = match &answers {
            Ok(answers) => format!("it answered {} of {} events", answers.len(), events.len()),
            Err(_) => "it panicked".to_owned(),
        };
        let mut answers = answers.unwrap_or_default();
        answers.resize(events.len(), Err(Fault(fault)));
        answers
    }

    /// Runs foreign code: what it leaves behind after a panic is its own affair, the engine's state is not touched
    /// while it runs. `open` is what stands for its answer when it fails and is not to be in the way.
    fn guarded<T>(&self, open: T, call: impl FnOnce() -> Result<T, Fault>) -> Result<T, HandlerError> {
        let result =
            catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(Fault("it panicked".into())));
        self.judged(open, result)
    }

    fn decided(&self, answer: Result<Verdict, Fault>) -> Result<Verdict, HandlerError> {
        self.judged(Verdict::Pass, answer)
    }

    fn judged<T>(&self, open: T, result: Result<T, Fault>) -> Result<T, HandlerError> {
        match result {
            Ok(answer) => Ok(answer),
            Err(_) if self.on_fault == OnFault::Open => Ok(open),
            Err(fault) => Err(HandlerError::Failed { handler: self.name.to_string(), fault }),
        }
    }
}
