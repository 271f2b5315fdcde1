//! The door to history on disk. The engine knows a [`Journal`] and nothing else about it.
//!
//! **Publishing.** Room is waited for before the log is locked ([`Journal::admit`]); under the lock the events get their
//! positions ([`Journal::try_submit`]), which waits for no disk. Where the durability asks for it, the publisher then waits
//! for the [`Settlement`], and readers see the event after that, in the order of the positions.
//!
//! **State.** What handlers have changed in their state goes along with the events of the same publish, in one transaction. A
//! handler changes a copy in memory and goes on from there before the disk has answered; when changes are not stored
//! after all, what was built on them is refused too, and [`Journal::state_version`] says that copies are to be read anew.
//!
//! **Reading.** The rings are the tail of history. A reader that comes from before them asks for a page
//! ([`Journal::read`]), is told that there is nothing yet, and woken when the page is there.

use core::any::Any;
use core::fmt;
use core::task::Waker;
use core::time::Duration;

use crate::draft::Draft;
use crate::id::Epoch;
use crate::sync::Arc;

/// History on disk, as an engine uses it. Every method may be called from any thread.
pub trait Journal: Send + Sync {
    /// The name of the life of its sequence, which restarts do not end.
    fn epoch(&self) -> Epoch;

    /// The position that the next event gets. Everything before it is stored, or lost.
    fn next_position(&self) -> u64;

    /// Whether a topic was closed. Does not wait for a disk.
    fn is_closed(&self, topic: &str) -> bool;

    /// Whether nothing of these topics is stored behind that place. `resumes`: nor was anything let go there. Asked on the
    /// reader's thread, for closed topics alone, and may read the disk; false if that fails.
    fn is_read_to_end(&self, topics: &[&str], from: &ReadFrom, resumes: bool) -> bool;

    /// Waits until there is room for so many events more. May wait for the disk.
    ///
    /// # Errors
    /// [`JournalError::Failed`] while the disk fails.
    fn admit(&self, events: usize) -> Result<(), JournalError>;

    /// Whether [`try_submit`](Self::try_submit) would have room for so many events. Never waits for the disk.
    fn has_room(&self, events: usize) -> bool;

    /// Gives events the next positions, without a hole between them. Never waits for the disk: `None` if there is no
    /// room now, and [`admit`](Self::admit) is to be asked again.
    ///
    /// # Errors
    /// [`JournalError`]; nothing has changed then. `states` that were made of state of another
    /// [`version`](Self::state_version) are refused.
    fn try_submit(
        &self,
        events: &[&Draft<'_>],
        states: &[StateChanges],
    ) -> Result<Option<Ticket>, JournalError>;

    /// The state that is kept under a name, with all that was submitted. Waits at most for a write that is under way.
    fn state(&self, name: &str) -> StoredState;

    /// Changes when changes of state that were submitted have not been stored. Waits for nothing.
    fn state_version(&self) -> u64;

    /// Notes that a topic takes no more events, as [`try_submit`](Self::try_submit) does with events.
    ///
    /// # Errors
    /// [`JournalError`]; nothing has changed then.
    fn try_close(&self, topic: &str) -> Result<Option<Ticket>, JournalError>;

    /// Notes that a topic's events before the ticket's position are deleted, as [`try_submit`](Self::try_submit) does with
    /// events. A closed topic stays closed.
    ///
    /// # Errors
    /// [`JournalError`]; nothing has changed then.
    fn try_delete(&self, topic: &str) -> Result<Option<Ticket>, JournalError>;

    /// Reads a page and answers the request, on another thread or at once. Never waits for the disk itself.
    fn read(&self, request: ReadRequest);

    /// What it holds and how it goes.
    fn stats(&self) -> JournalStats;
}

/// What the calls of one publish have changed in the state of one handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChanges {
    /// The name that it is kept under, 1 to 255 bytes: the handler's.
    pub name: Arc<str>,
    /// The [`version`](Journal::state_version) of the state that they were made of.
    pub version: u64,
    /// Keys of at most 1,024 bytes, each once, with their new values; none removes the key.
    pub changes: Vec<(Box<str>, Option<StateValue>)>,
}

/// A value of a handler's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateValue {
    /// At most 64 MiB.
    pub text: Box<str>,
    /// From when on it is gone, in milliseconds since 1970; none = never.
    pub until_ms: Option<u64>,
}

/// A handler's state as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// The [`version`](Journal::state_version) that it is of.
    pub version: u64,
    /// Its keys, also those whose time has passed.
    pub entries: Vec<(Box<str>, StateValue)>,
}

/// What a transaction got.
pub struct Ticket {
    /// Position of its first event.
    pub first: u64,
    /// Where its outcome will be found; none if nobody waits for it.
    pub settlement: Option<Arc<dyn Settlement>>,
}

/// The outcome of a transaction. Outcomes become known in the order of the tickets, but for those that fail with what they
/// build on.
pub trait Settlement: Send + Sync {
    /// The outcome, if it is known. Stored means that it is known of all before it.
    fn outcome(&self) -> Option<Result<(), JournalError>>;

    /// Returns when it is known; may write for all who wait.
    ///
    /// # Errors
    /// Why it was not stored: nobody will ever see it.
    fn wait(&self) -> Result<(), JournalError>;

    /// The outcome, if it is known; else the waker is woken once it is, by whoever writes, who holds no lock of the journal
    /// then. Never waits for the disk: that somebody writes is the journal's care.
    fn poll(&self, waker: &Waker) -> Option<Result<(), JournalError>>;

    /// Writes for all who wait, if nobody does so at the moment and the disk has lately been quick: for callers who may be
    /// held up for a moment, but not for longer.
    fn write_if_quick(&self);
}

/// Why something was not stored or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalError {
    /// The topic was closed.
    TopicClosed,
    /// The disk, or what is on it, in words.
    Failed(Arc<str>),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicClosed => f.write_str("the topic is closed"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for JournalError {}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Behind this position.
    After(u64),
    /// Behind the one event of the topics that its publisher gave this id; with the first, if there is none or several.
    AfterId(Arc<str>),
    /// With the last so many events of the topics.
    Last(u64),
}

/// A reader's wish for a page. Dropped without an answer, it is answered with a failure.
pub struct ReadRequest {
    /// The topics to read.
    pub topics: Vec<Arc<str>>,
    /// Where to begin.
    pub from: ReadFrom,
    /// A page that says that no more follows is complete up to here: what waits to be written is written before.
    pub at_least: u64,
    /// Events of a page at most.
    pub max_events: usize,
    /// Bytes of their data and names, above which no event is added.
    pub max_bytes: usize,
    is_wanted: Box<dyn Fn() -> bool + Send>,
    answer: Option<Answer>,
}

pub(crate) type Answer = Box<dyn FnOnce(Result<StoredPage, JournalError>) -> Lent + Send>;

/// A page that a reader has got, for who wants its memory back.
pub struct Lent(Option<Box<dyn Fn() + Send>>);

impl Lent {
    pub(crate) fn new(take_back: Option<Box<dyn Fn() + Send>>) -> Self {
        Self(take_back)
    }

    /// Takes back what the reader has not handed out yet, and drops it, on this thread. The reader misses nothing: when it reads
    /// on, it asks for the rest anew. Nothing happens to a page that is handed out, or whose reader has gone.
    pub fn take_back(&self) {
        if let Some(take_back) = &self.0 {
            take_back();
        }
    }
}

/// A page of stored events.
#[derive(Clone, Debug, Default)]
pub struct StoredPage {
    /// The position behind which it begins.
    pub after: u64,
    /// Events with their positions, in order.
    pub events: Vec<(u64, Draft<'static>)>,
    /// What is missing among them, in order.
    pub gaps: Vec<StoredGap>,
    /// Positions of events that were let go for their topic's sake, or deleted with it, each with the topic. One is enough for
    /// all that lie before the topic's next event.
    pub gone: Vec<(u64, Arc<str>)>,
    /// All there is up to here is in the page or before it.
    pub through: u64,
    /// There may be more behind `through`.
    pub more: bool,
    /// It was to begin behind an id that no stored event has, or several have.
    pub unknown: bool,
    /// Dropped when the reader has handed out what is in the page, or has gone, or it was [taken back](Lent::take_back).
    pub held: Option<Arc<dyn Any + Send + Sync>>,
}

/// Positions that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredGap {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Retention let them go; else they were lost, or are damaged.
    pub let_go: bool,
}

/// What a journal holds and how it goes. Sums are since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalStats {
    /// Events on disk.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files on disk.
    pub files: u64,
    /// Position of the oldest event on disk; 0 if there is none.
    pub oldest: u64,
    /// Bytes that wait to be written.
    pub queue_bytes: u64,
    /// Writes, each with its sync if it had one.
    pub writes: u64,
    /// Time of all of them.
    pub write_time: Duration,
    /// The longest.
    pub longest_write: Duration,
    /// Pages that readers got.
    pub pages: u64,
    /// Events in them.
    pub page_events: u64,
    /// Why it cannot write at the moment.
    pub failing: Option<String>,
}

impl ReadRequest {
    pub(crate) fn new(
        topics: Vec<Arc<str>>,
        from: ReadFrom,
        at_least: u64,
        is_wanted: Box<dyn Fn() -> bool + Send>,
        answer: Answer,
    ) -> Self {
        const EVENTS: usize = 512;
        const BYTES: usize = 64 << 10;
        let (max_events, max_bytes) = (EVENTS, BYTES);
        Self { topics, from, at_least, max_events, max_bytes, is_wanted, answer: Some(answer) }
    }

    /// Whether somebody still waits for it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        (self.is_wanted)()
    }

    /// Gives the page to the reader and wakes it.
    pub fn answer(mut self, page: Result<StoredPage, JournalError>) -> Lent {
        self.answer.take().map_or_else(|| Lent::new(None), |answer| answer(page))
    }
}

impl Drop for ReadRequest {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Err(JournalError::Failed("the store does not read any more".into())));
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent")
    }
}

impl fmt::Debug for ReadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadRequest")
            .field("topics", &self.topics)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("first", &self.first).finish_non_exhaustive()
    }
}
