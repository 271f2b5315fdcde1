//! Subscriptions: a cursor over a set of topics, from which frames are pulled.
//!
//! A subscription holds no event: it knows a position and looks into the rings. Whatever its reader does, it costs the
//! publisher nothing and the hub a few hundred bytes.
//!
//! ```text
//!             start after an id,     caught up                  history moved past
//!             replay                 ┌──────────┐               the cursor
//!   subscribe ─────────▶ Replaying ──▶   Live   ──▶ Lagging ──┬─ disconnect ▶ Lapped
//!                                    └──▲───────┘             ├─ skip ▶ gap notice ─▶ Live
//!                                       └─────────────────────┴─ conflate ▶ latest per key ─▶ Live
//!                        every topic closed and read to its end ▶ Ended
//! ```
//!
//! **Beyond the rings.** With a journal, a reader that starts in the past gets from there what the rings have lost, until it
//! has caught up; see `replay`. From then on it lags like any other.
//!
//! **What is told.** A reader that asked to resume after an id that history does not reach (evicted, unknown, of
//! another epoch, from the future, given to several events) gets a gap notice before anything else, then all that is
//! retained.
//!
//! **The greeting.** What handlers say to a reader comes first. The cursor is opened while events are kept from passing
//! those handlers, so that every event they tell of is behind it and every other one before it.
//!
//! **The seam.** The subscription is registered with its topics before its start is resolved, and it reads up to the
//! committed position only. So an event is either found in history or announced to the watcher: none is between.

mod entry;
mod filter;
mod pull;
mod replay;
mod start;
mod together;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::task::{Context, Poll};

pub use pull::Pulled;
pub use together::pull_each;

use crate::code::Code;
use crate::core::{Core, WeakAny};
use crate::draft::{InvalidField, check_topic};
use crate::fanout::Watcher;
use crate::handler::HandlerError;
use crate::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use crate::table::Key;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::wire::Frame;
use pull::State;

/// Names a subscription for as long as it lives.
pub type SubscriptionKey = Key;

/// What a reader wants.
#[derive(Clone, Debug, Default)]
pub struct SubscribeOptions<'a> {
    /// Topics, at least one; a name that comes twice counts once. Topics that do not exist are opened.
    pub topics: Vec<Cow<'a, str>>,
    /// Where reading starts.
    pub start: Start<'a>,
    /// Who reads: events published `except` this client are left out.
    pub client: Option<Cow<'a, str>>,
    /// Event types to read; none means all. `message` stands for events without a type.
    pub events: Vec<Cow<'a, str>>,
    /// What happens when the reader falls out of history.
    pub lag: LagPolicy,
}

/// Where reading starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start<'a> {
    /// With what is published from now on.
    #[default]
    Live,
    /// With the oldest retained event.
    All,
    /// With the last so many retained events that the reader wants.
    Last(u64),
    /// After the event with this id, verbatim as the reader sent it (`Last-Event-ID`, WHATWG HTML 9.2.4).
    After(Cow<'a, str>),
    /// After this position, without a gap notice unless history has moved past it.
    Position(u64),
}

/// What happens to a reader that falls out of history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LagPolicy {
    /// It is ended; when it comes back it is told what it missed.
    #[default]
    Disconnect,
    /// It gets a gap notice and goes on with the oldest retained event.
    Skip,
    /// It gets the latest event of each key that it missed, and goes on. See [`Draft::key`](crate::Draft::key).
    Conflate,
}

impl fmt::Display for LagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnect => "disconnect",
            Self::Skip => "skip",
            Self::Conflate => "conflate",
        })
    }
}

/// A word that is no [`LagPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLagPolicy;

impl fmt::Display for UnknownLagPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected disconnect, skip or conflate")
    }
}

impl std::error::Error for UnknownLagPolicy {}

impl FromStr for LagPolicy {
    type Err = UnknownLagPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Disconnect, Self::Skip, Self::Conflate]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or(UnknownLagPolicy)
    }
}

crate::setting_by_name!(LagPolicy);

/// Why a subscription was not made. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A field breaks its rules.
    Invalid(InvalidField),
    /// No topic was named.
    NoTopics,
    /// More topics than one subscription may have.
    TooManyTopics {
        /// `limits.topics_per_stream`.
        limit: u32,
    },
    /// The hub cannot open that many more topics.
    TopicLimit {
        /// `limits.topics`.
        limit: u32,
    },
    /// Every topic is closed and the reader has everything: there will never be anything to read.
    Closed,
    /// A handler refused the reader, or failed.
    Handler(HandlerError),
}

impl SubscribeError {
    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(field) => field.code(),
            Self::NoTopics | Self::TooManyTopics { .. } => Code::InvalidTopic,
            Self::TopicLimit { .. } => Code::LimitTopics,
            Self::Closed => Code::TopicClosed,
            Self::Handler(error) => error.code(),
        }
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(field) => field.fmt(f),
            Self::NoTopics => f.write_str("no topic is named"),
            Self::TooManyTopics { limit } => write!(f, "more than {limit} topics (limits.topics_per_stream)"),
            Self::TopicLimit { limit } => write!(f, "the hub holds {limit} topics already (limits.topics)"),
            Self::Closed => f.write_str("every topic is closed and read to its end"),
            Self::Handler(HandlerError::Refused { handler, reason }) => {
                write!(f, "handler {handler} refused the reader: {reason}")
            }
            Self::Handler(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SubscribeError {}

impl From<InvalidField> for SubscribeError {
    fn from(field: InvalidField) -> Self {
        Self::Invalid(field)
    }
}

impl From<HandlerError> for SubscribeError {
    fn from(error: HandlerError) -> Self {
        Self::Handler(error)
    }
}

/// A reader's cursor. Clones are the same subscription; dropping the last one ends it.
///
/// Any thread may call; calls on the same subscription wait for each other, never for a publisher.
#[derive(Clone)]
pub struct Subscription(Arc<Shared>);

struct Shared {
    core: Arc<Core>,
    key: SubscriptionKey,
    watcher: Watcher,
    lag: LagPolicy,
    /// How many connections read through this cursor. Relaxed: shown to people, nothing depends on it.
    readers: AtomicUsize,
    /// The last `poll` took all there was: unless there is news, the next one need not look. Relaxed: it says so to the same
    /// reader, and the watcher's lock orders it after what publishers did.
    rested: AtomicBool,
    state: Mutex<State>,
}

impl Subscription {
    /// `asks`: handlers are asked about the reader, who may have a name.
    pub(crate) fn open(
        core: &Arc<Core>,
        watcher: &Watcher,
        options: &SubscribeOptions<'_>,
        asks: Option<Option<&str>>,
        now: Timestamp,
    ) -> Result<Self, SubscribeError> {
        let state = match asks.and_then(|client| Some((core.any_chain()?, client))) {
            None => start::open(core, watcher, options, now)?,
            Some((chain, client)) => start::open_asking(core, &chain, watcher, options, client, now)?,
        };
        for topic in state.topics() {
            topic.add_readers(1);
        }
        let make = |key| {
            let shared = Arc::new(Shared {
                core: Arc::clone(core),
                key,
                watcher: watcher.clone(),
                lag: options.lag,
                readers: AtomicUsize::new(1),
                rested: AtomicBool::new(false),
                state: Mutex::new(state),
            });
            let weak: WeakAny = Arc::<Shared>::downgrade(&shared);
            (weak, Self(shared))
        };
        Ok(core.subscriptions.lock().insert_with(make))
    }

    /// The subscription that the core's table holds under a key.
    pub(crate) fn upgrade(weak: &WeakAny) -> Option<Self> {
        weak.upgrade()?.downcast::<Shared>().ok().map(Self)
    }

    /// The key under which [`Engine::subscription`](crate::Engine::subscription) finds it.
    #[must_use]
    pub fn key(&self) -> SubscriptionKey {
        self.0.key
    }

    /// Appends what is new to `out`, in order: at least one frame if there is any, at most about `max_bytes` (the last
    /// frame may go beyond).
    pub fn pull(&self, out: &mut Vec<Frame>, max_bytes: usize) -> Pulled {
        self.pull_through(out, max_bytes, u64::MAX)
    }

    /// Whether [`Pulled::Idle`] meant that a page of stored events is being read, instead of "all there is". If so, the watcher
    /// lists `token` in [`take_arrived`](Watcher::take_arrived) when the page is there; it may be by now. For a watcher of many
    /// subscriptions: one that has given no token is found by a topic of its own among the dirty ones.
    #[must_use]
    pub fn wait_as(&self, token: u64) -> bool {
        self.0.state.lock().wait_as(token)
    }

    /// Like [`pull`](Self::pull), but not beyond position `through`: `Idle` then means "has reached `through` or all
    /// there is".
    pub fn pull_through(&self, out: &mut Vec<Frame>, max_bytes: usize, through: u64) -> Pulled {
        self.0.state.lock().pull(&self.0.core, &self.0.watcher, self.0.lag, out, max_bytes, through)
    }

    /// Takes the greeting of handlers out of what is to be pulled, where it stands before everything else. For who has
    /// another way to write it first. Empty when there is none, or it has been pulled.
    #[must_use]
    pub fn take_greeting(&self) -> Vec<Frame> {
        std::mem::take(&mut self.0.state.lock().greeting)
    }

    /// Pulls, or, when there is nothing, arranges that `cx` is woken. For a subscription whose watcher nobody else
    /// parks; never gives `Ready(Idle)`.
    pub fn poll(&self, cx: &mut Context<'_>, out: &mut Vec<Frame>, max_bytes: usize) -> Poll<Pulled> {
        let Shared { watcher, rested, .. } = &*self.0;
        if !rested.load(Ordering::Relaxed) {
            watcher.clear();
        } else if watcher.rest(cx.waker()) {
            return Poll::Pending;
        }
        loop {
            // What comes from here on is in the pull, or news to `rest`.
            let before = out.len();
            let pulled = self.pull(out, max_bytes);
            rested.store(pulled == Pulled::Idle, Ordering::Relaxed);
            match pulled {
                Pulled::Idle if out.len() == before => {}
                // Not `Pending`: the caller has frames to take.
                Pulled::Idle => return Poll::Ready(Pulled::More),
                pulled => return Poll::Ready(pulled),
            }
            if watcher.rest(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// The position up to which everything has been pulled.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.0.state.lock().cursor()
    }

    /// [`cursor`](Self::cursor) as an id to resume after.
    #[must_use]
    pub fn last_id(&self) -> String {
        self.0.core.id_of(self.cursor()).to_string()
    }

    /// Appends the keys under which the watcher names this subscription's topics.
    pub fn topic_keys(&self, out: &mut Vec<Key>) {
        out.extend(self.0.state.lock().topics().map(|topic| topic.key));
    }

    /// Appends the names of this subscription's topics.
    pub fn topic_names(&self, out: &mut Vec<String>) {
        out.extend(self.0.state.lock().topics().map(|topic| topic.name.to_string()));
    }

    /// Says how many connections read through this cursor, for the statistics of its topics. 1 at first.
    pub fn set_readers(&self, readers: usize) {
        let state = self.0.state.lock();
        let before = self.0.readers.swap(readers, Ordering::Relaxed);
        for topic in state.topics() {
            topic.add_readers(readers);
            topic.remove_readers(before);
        }
    }

    /// Reads one more topic, from now on. False if it is read already.
    ///
    /// # Errors
    /// [`SubscribeError::Invalid`], [`SubscribeError::TooManyTopics`], [`SubscribeError::TopicLimit`], or
    /// [`SubscribeError::Closed`] if that topic is closed.
    pub fn add_topic(&self, name: &str, now: Timestamp) -> Result<bool, SubscribeError> {
        check_topic(name)?;
        let mut state = self.0.state.lock();
        if state.topics().any(|topic| *topic.name == *name) {
            return Ok(false);
        }
        let limit = self.0.core.config.limits.topics_per_stream;
        if state.topics().count() >= limit as usize {
            return Err(SubscribeError::TooManyTopics { limit });
        }
        let topic = start::add(&self.0.core, &self.0.watcher, name, self.0.lag, now, &mut state)?;
        topic.add_readers(self.0.readers.load(Ordering::Relaxed));
        self.0.rested.store(false, Ordering::Relaxed);
        Ok(true)
    }

    /// Reads a topic no more; nothing of it is pulled after this call. False if it was not read.
    pub fn remove_topic(&self, name: &str) -> bool {
        let mut state = self.0.state.lock();
        match state.remove(name) {
            None => false,
            Some(topic) => {
                // Without it, all that is left may have ended.
                self.0.rested.store(false, Ordering::Relaxed);
                self.0.leave(&topic);
                true
            }
        }
    }
}

impl Shared {
    /// Gives back what entering a topic took.
    fn leave(&self, topic: &Arc<Topic>) {
        topic.remove_readers(self.readers.load(Ordering::Relaxed));
        start::leave(&self.core, &self.watcher, topic, self.lag);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.subscriptions.lock().remove(self.key);
        let topics: Vec<Arc<Topic>> = self.state.lock().topics().cloned().collect();
        for topic in &topics {
            self.leave(topic);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("key", &self.0.key).field("cursor", &self.cursor()).finish()
    }
}
