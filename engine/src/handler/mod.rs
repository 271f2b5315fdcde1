//! Handlers: user code between admission and history. They may pass an event, change it, drop it, make several of it,
//! or refuse it.
//!
//! Handlers run on the publisher's thread, in the order in which they were added, before the event has a position.
//! Events of one topic pass them one after the other and are committed in that order, so what a handler says last is
//! what readers see last. Topics that no handler wants take no extra lock.
//!
//! A handler sees drafts only, never history or subscribers.

mod chain;
mod stats;

use std::borrow::Cow;
use std::fmt;

pub use chain::HandlerError;
pub(crate) use chain::{Chain, Held};
pub use stats::{HandlerInfo, HandlerStats};

use crate::draft::Draft;
use crate::time::Timestamp;

/// User code that transforms events.
///
/// `handle` may be called from several threads at once for different topics, and from one at a time for the same topic.
/// It must not publish to the hub it is called by (emit instead): the topic's order is held meanwhile. It should
/// be quick: its publisher waits, and so may publishers to other topics of the handler. A panic counts as a [`Fault`].
pub trait Handler: Send + Sync {
    /// Decides about one event.
    ///
    /// # Errors
    /// [`Fault`] when the handler itself failed; its [`OnFault`] policy then decides about the event.
    fn handle(&self, event: &Draft<'_>, now: Timestamp) -> Result<Verdict, Fault>;

    /// What it has done so far, if it counts.
    fn stats(&self) -> Option<HandlerStats> {
        None
    }
}

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
    /// What happens when it fails.
    pub on_fault: OnFault,
    /// The code.
    pub handler: std::sync::Arc<dyn Handler>,
}
