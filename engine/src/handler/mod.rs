//! Handlers: user code between admission and history. They may pass an event, change it, drop it, make several of it,
//! or refuse it.
//!
//! Handlers run on the publisher's thread, in the order in which they were added, before the event has a position.
//! Events of one topic pass them one after the other and are committed in that order, so what a handler says last is
//! what readers see last. Topics that no handler wants take no extra lock.
//!
//! A handler may also be asked about readers who come, and make events on its own when time has passed. Both happen while
//! no event is between it and history, so what it says then fits between two events.
//!
//! What a handler keeps beside ([`OpenState`]) changes with the events that changed it: in the journal in one transaction, and not
//! at all if the publish is refused, by whomever. Calls of a handler that touches its state wait for each other from the
//! first touch until the commit, whatever their topics; others do not.
//!
//! A handler sees drafts only, never history or subscriptions.

mod chain;
mod stats;
mod turn;
mod welcome;

use std::borrow::Cow;
use std::fmt;

pub use chain::HandlerError;
pub(crate) use chain::{Chain, Held};
pub use stats::{HandlerInfo, HandlerStats};
pub use turn::{OpenState, Turn};
pub use welcome::{Visitor, Welcome};

use crate::draft::Draft;
use crate::time::Timestamp;

/// User code that transforms events.
///
/// `handle` may be called from several threads at once for different topics, and from one at a time for the same topic.
/// No method may publish or subscribe to the hub it is called by (emit instead): the topic's order is held meanwhile. They
/// should be quick: the caller waits, and so may publishers to other topics of the handler. A panic counts as a [`Fault`].
/// All calls for one publish get the same [`Turn`], for those that keep state.
pub trait Handler: Send + Sync {
    /// Decides about one event.
    ///
    /// # Errors
    /// [`Fault`] when the handler itself failed; its [`OnFault`] policy then decides about the event.
    fn handle(&self, event: &Draft<'_>, now: Timestamp, turn: &mut Turn) -> Result<Verdict, Fault>;

    /// Whether events of one batch are to come together, by [`handle_batch`](Self::handle_batch).
    fn batches(&self) -> bool {
        false
    }

    /// Decides about several events, at most [`MAX_BATCH`], in their order: one answer for each. Called if
    /// [`batches`](Self::batches).
    fn handle_batch(
        &self,
        events: &[&Draft<'_>],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Vec<Result<Verdict, Fault>> {
        events.iter().map(|event| self.handle(event, now, turn)).collect()
    }

    /// Whether it wants to be asked about readers, by [`welcome`](Self::welcome).
    fn welcomes(&self) -> bool {
        false
    }

    /// Decides about a reader of its topics, before that one is there. Meanwhile no event is between this handler and
    /// history, whatever its topic: a greeting tells of every event that is published, and of none that is not.
    ///
    /// # Errors
    /// [`Fault`] when the handler itself failed; by its [`OnFault`] policy the reader is admitted or refused.
    fn welcome(&self, visitor: &Visitor<'_>, now: Timestamp, turn: &mut Turn) -> Result<Welcome, Fault> {
        let _ = (visitor, now, turn);
        Ok(Welcome::Admit)
    }

    /// Makes events because time has passed; see [`Engine::tick_handler`](crate::Engine::tick_handler). As with
    /// [`welcome`](Self::welcome), no event is between this handler and history.
    ///
    /// # Errors
    /// [`Fault`] when the handler itself failed; nothing is published then.
    fn tick(&self, now: Timestamp, turn: &mut Turn) -> Result<Vec<Draft<'static>>, Fault> {
        let _ = (now, turn);
        Ok(Vec::new())
    }

    /// What it has done so far, if it counts.
    fn stats(&self) -> Option<HandlerStats> {
        None
    }
}

/// The most events that [`Handler::handle_batch`] gets at once.
pub const MAX_BATCH: usize = 64;

/// What a handler says about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Broadcast it as it is.
    Pass,
    /// Broadcast this instead.
    Replace(Draft<'static>),
    /// Broadcast nothing; the publisher is told that it worked.
    Drop,
    /// Broadcast these, in this order, to whatever topics they name. Later handlers of the chain see each of them.
    Emit(Vec<Draft<'static>>),
    /// Broadcast nothing; the publisher is told why.
    Refuse(String),
}

/// A handler's own failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// What becomes of an event when its handler fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// Refuse the event: nothing unhandled gets out.
    #[default]
    Closed,
    /// Pass the event on as if the handler were not there.
    Open,
}

/// Which topics a handler wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPattern {
    /// One topic.
    Exact(Box<str>),
    /// Every topic whose name begins so; the empty prefix is every topic.
    Prefix(Box<str>),
}

impl TopicPattern {
    /// Reads `votes` as one topic and `rooms/*` as every topic that begins with `rooms/`. A `*` elsewhere is itself.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether the pattern names `topic`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// A handler and how it is used.
#[derive(Clone)]
pub struct HandlerSpec {
    /// Named in errors and statistics.
    pub name: Cow<'static, str>,
    /// The topics whose events it sees.
    pub topics: TopicPattern,
    /// The types of the events it sees, where `message` is that of an event without one; none = all. Others go past it at the
    /// price of the comparison: they take none of its locks, and have no order with those that it sees.
    pub events: Box<[Box<str>]>,
    /// What happens when it fails.
    pub on_fault: OnFault,
    /// The code.
    pub handler: std::sync::Arc<dyn Handler>,
}
