//! History on disk: the store as the engine's journal, its options, and the threads that read pages and let go of what is
//! old. The variant of this module without the feature `store` is `no_data`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare_engine::options::Kind;
use fanfare_engine::{
    Config as EngineConfig, ConfigError, Draft, Engine, Epoch, Journal, JournalError, JournalStats, ReadFrom,
    ReadRequest, Settlement, StateChanges, StateValue, StoredGap, StoredPage, StoredState, Ticket,
};
use fanfare_store::{
    Change, Durability, ErrorKind, Event, Gap, GapCause, PageLimits, Store, Topics, UnknownWord,
};
use parking_lot::{Mutex, MutexGuard};

use crate::lending::{PageBytes, Waiters};

pub use fanfare_store::{Config as StoreConfig, Error as OpenError};

/// Threads that read pages for readers that come from before what memory holds.
const READERS: usize = 2;
/// The part of what is left that one page may take, and what it may take at least, in bytes.
const SHARE: u64 = 8;
const LEAST: usize = 4096;
/// What an event in a page costs beside its data: names, and the frame's own fields.
const EVENT_BYTES: u64 = 256;
/// How often the store is asked to let go of what is beyond its limits, and whether it can write.
const TICK: Duration = Duration::from_secs(2);

fanfare_engine::options! {
    /// Where history is kept.
    pub struct Config {
        /// Folder in which events and handlers' state are kept over restarts, made if need be; one process at a time uses it. Empty = they are
        /// in memory only.
        ["data"] dir: Option<PathBuf> = Kind::Path, "";
        /// What a hub does at its start if the folder cannot be used: it is read-only, full, not permitted, or what cannot be read
        /// around is damaged. `refuse`: it does not start; damaged events are logged, and told to readers as a gap. `strict`: nor
        /// does it start if any event is damaged or missing. `memory`: it starts with history in memory only, and logs an
        /// error. A folder that another process uses is refused always.
        ["data.on_fault"] on_fault: OnFault = Kind::Choice(&["refuse", "strict", "memory"]), "refuse";
        /// Memory for pages of history on disk that wait to be written to their readers, of all readers together. When it gets
        /// scarce pages get smaller; when it is used up, readers of old events wait for others to take theirs. Who takes nothing for
        /// `timeouts.write` meanwhile loses what it holds, and reads it again when it goes on.
        ["history.replay_bytes"] replay_bytes: u64 = Kind::Bytes { min: 64 << 10, max: 1 << 30 }, "32MiB";
    }
}

/// What is done about a folder that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// The hub does not start.
    Refuse,
    /// Nor if any event is damaged.
    Strict,
    /// The hub starts without it.
    Memory,
}

const ON_FAULT: [(OnFault, &str); 3] =
    [(OnFault::Refuse, "refuse"), (OnFault::Strict, "strict"), (OnFault::Memory, "memory")];

impl fmt::Display for OnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ON_FAULT.iter().find(|(value, _)| value == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for OnFault {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        ON_FAULT.iter().find(|(_, word)| *word == text).map(|(value, _)| *value).ok_or(UnknownWord)
    }
}

fanfare_engine::setting_by_name!(OnFault);

/// An open store and its threads. Dropping it closes it.
pub(crate) struct Data {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<Store>,
    durability: Durability,
    replay_bytes: u64,
    /// How long a reader may keep a page that others wait for.
    patience: Duration,
    waiting: Arc<Waiters>,
    /// Deletions that were taken, and those that have been written for sure.
    deletions: AtomicU64,
    deletions_written: AtomicU64,
    pages: AtomicU64,
    page_events: AtomicU64,
}

/// Where memory for pages is short, a reader has to go on within `patience`, or reads what is left of its page anew.
pub(crate) fn open(data: &Config, store: StoreConfig, patience: Duration) -> Result<Option<Data>, OpenError> {
    let Some(dir) = &data.dir else { return Ok(None) };
    match open_in(dir, data, store, patience) {
        Ok(opened) => Ok(Some(opened)),
        Err(error)
            if data.on_fault == OnFault::Memory
                && !matches!(error.kind(), ErrorKind::Locked | ErrorKind::Invalid) =>
        {
            tracing::error!(%error, "history on disk cannot be used: until the next start it is in memory only");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn open_in(dir: &Path, data: &Config, store: StoreConfig, patience: Duration) -> Result<Data, OpenError> {
    let durability = store.durability;
    let store = Arc::new(Store::open(dir, store)?);
    if data.on_fault == OnFault::Strict {
        store.undamaged()?;
    }
    for damage in store.damages() {
        tracing::warn!(?damage, "history on disk is damaged; the rest is served");
    }
    let data = Data::start(Arc::clone(&store), durability, data.replay_bytes, patience)
        .map_err(|error| OpenError::io("start a thread for it", dir, None, &error))?;
    let stats = store.stats();
    tracing::info!(dir = %dir.display(), events = stats.events, bytes = stats.bytes, %durability, "history opened");
    Ok(data)
}

impl Data {
    fn start(
        store: Arc<Store>,
        durability: Durability,
        replay_bytes: u64,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store,
            durability,
            replay_bytes,
            patience,
            waiting: Arc::default(),
            deletions: AtomicU64::new(0),
            deletions_written: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            page_events: AtomicU64::new(0),
        });
        let data = Self { shared, threads: Mutex::new(Vec::new()) };
        let spawn = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&data.shared);
            let thread = Builder::new().name(name.to_owned()).spawn(move || run(&shared))?;
            data.threads.lock().push(thread);
            std::io::Result::Ok(())
        };
        for _ in 0..READERS {
            spawn("fanfare-replay", Shared::read_pages)?;
        }
        spawn("fanfare-retain", Shared::retain)?;
        Ok(data)
    }

    /// An engine whose history it keeps.
    pub(crate) fn engine(&self, config: EngineConfig) -> Result<Engine, ConfigError> {
        Engine::with_journal(config, Arc::clone(&self.shared) as Arc<dyn Journal>)
    }

    /// Writes what waits and lets others have the folder. Later publishers are refused.
    pub(crate) fn close(&self) {
        let unread = {
            let mut work = self.shared.waiting.work.lock();
            work.stopping = true;
            std::mem::take(&mut work.requests)
        };
        self.shared.waiting.changed.notify_all();
        // Answered with a failure: their readers end and come back to whoever serves then.
        drop(unread);
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended by a panic");
            }
        }
        if let Err(error) = self.shared.store.close() {
            tracing::error!(%error, "history could not be written to its end");
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn read_pages(&self) {
        let mut work = self.waiting.work.lock();
        while !work.stopping {
            let left = self.replay_bytes.saturating_sub(work.held);
            let Some(request) = work.requests.pop_front_if(|_| left > 0) else {
                self.waiting.wait_for_room(&mut work, self.patience);
                continue;
            };
            let max_bytes = usize::try_from(left / SHARE).unwrap_or(usize::MAX).max(LEAST);
            MutexGuard::unlocked(&mut work, || {
                if request.is_wanted() {
                    match self.page(&request, max_bytes) {
                        Ok((page, held)) => self.waiting.lend(&held, request.answer(Ok(page))),
                        Err(error) => {
                            tracing::warn!(%error, "a page of history cannot be read: its reader is ended");
                            request.answer(Err(failed(error)));
                        }
                    }
                }
            });
        }
    }

    fn page(
        &self,
        request: &ReadRequest,
        max_bytes: usize,
    ) -> Result<(StoredPage, Weak<PageBytes>), OpenError> {
        let names: Vec<&str> = request.topics.iter().map(|name| &**name).collect();
        self.write_deletions()?;
        let limits = PageLimits { events: request.max_events, bytes: request.max_bytes.min(max_bytes) };
        let place = self.place(&names, &request.from)?;
        let after = place.unwrap_or(0);
        let read = || self.store.page(Topics::Only(&names), after, limits);
        let mut page = read()?;
        if !page.more && page.through < request.at_least {
            // What memory has let go already, and still waits.
            self.store.write()?;
            page = read()?;
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.page_events.fetch_add(page.events.len() as u64, Ordering::Relaxed);
        let size = |event: &Event| EVENT_BYTES + event.draft.data.len() as u64;
        let bytes = page.events.iter().map(size).sum();
        let held = Waiters::count(&self.waiting, bytes);
        let weak = Arc::downgrade(&held);
        let page = StoredPage {
            held: Some(held),
            after,
            events: page.events.into_iter().map(|event| (event.position, event.draft)).collect(),
            gaps: page
                .gaps
                .iter()
                .map(|gap| StoredGap {
                    first: gap.first,
                    last: gap.last,
                    let_go: gap.cause == GapCause::LetGo,
                })
                .collect(),
            gone: page.gone.into_iter().map(|(position, topic)| (position, topic.into())).collect(),
            through: page.through,
            more: page.more,
            unknown: place.is_none(),
        };
        Ok((page, weak))
    }

    /// What was deleted is not read from the moment on at which the one who deleted it knows.
    fn write_deletions(&self) -> Result<(), OpenError> {
        let taken = self.deletions.load(Ordering::Acquire);
        if self.deletions_written.load(Ordering::Acquire) < taken {
            self.store.write()?;
            self.deletions_written.fetch_max(taken, Ordering::AcqRel);
        }
        Ok(())
    }

    /// The position behind which to read; none if nothing says where an id is.
    fn place(&self, topics: &[&str], from: &ReadFrom) -> Result<Option<u64>, OpenError> {
        match from {
            ReadFrom::After(position) => Ok(Some(*position)),
            ReadFrom::AfterId(id) => {
                self.store.write()?;
                self.store.position_of_id(topics, id)
            }
            ReadFrom::Last(count) => {
                self.store.write()?;
                self.store.before_last(topics, usize::try_from(*count).unwrap_or(usize::MAX)).map(Some)
            }
        }
    }

    fn is_read_to_end(&self, topics: &[&str], from: &ReadFrom, resumes: bool) -> Result<bool, OpenError> {
        self.store.write()?;
        let Some(after) = self.place(topics, from)? else { return Ok(false) };
        let page = self.store.page(Topics::Only(topics), after, PageLimits { events: 1, bytes: 1 })?;
        let missed = |gap: &Gap| resumes || gap.cause != GapCause::LetGo;
        let gone = resumes && !page.gone.is_empty();
        Ok(page.events.is_empty() && !page.more && !gone && !page.gaps.iter().any(missed))
    }

    /// Lets go of what is beyond the limits, and tells the operator when the disk begins and ceases to fail.
    fn retain(&self) {
        let (mut failing, mut kept, mut work) = (None, None, self.waiting.work.lock());
        while !work.stopping {
            self.waiting.changed.wait_for(&mut work, TICK);
            if work.stopping {
                return;
            }
            MutexGuard::unlocked(&mut work, || {
                let retained = self.store.retain(now_ms()).err().map(|error| error.to_string());
                let written = self.store.stats().failing.map(|error| error.to_string());
                match (&failing, &written) {
                    (before, Some(error)) if before.as_ref() != Some(error) => {
                        tracing::error!(error, "history cannot be written: publishers are refused");
                    }
                    (Some(_), None) => tracing::info!("history can be written again"),
                    _ => {}
                }
                match (&kept, &retained) {
                    (before, Some(error)) if before.as_ref() != Some(error) => {
                        tracing::error!(error, "old history cannot be let go: the folder grows");
                    }
                    (Some(_), None) => tracing::info!("old history can be let go again"),
                    _ => {}
                }
                (failing, kept) = (written, retained);
            });
        }
    }
}

impl Journal for Shared {
    fn epoch(&self) -> Epoch {
        self.store.epoch().clone()
    }

    fn next_position(&self) -> u64 {
        self.store.next_position()
    }

    fn is_closed(&self, topic: &str) -> bool {
        self.store.is_closed(topic)
    }

    fn is_read_to_end(&self, topics: &[&str], from: &ReadFrom, resumes: bool) -> bool {
        // A reader who is not told now gets a stream that ends.
        Shared::is_read_to_end(self, topics, from, resumes).unwrap_or(false)
    }

    fn admit(&self, events: usize) -> Result<(), JournalError> {
        self.store.admit(events as u64, self.durability).map_err(failed)
    }

    fn has_room(&self, events: usize) -> bool {
        self.store.has_room(events as u64, self.durability)
    }

    fn try_submit(
        &self,
        events: &[&Draft<'_>],
        states: &[StateChanges],
    ) -> Result<Option<Ticket>, JournalError> {
        let ticket = match states {
            [] => self.store.try_submit(events, &[], now_ms(), self.store.durability_of_all(events)),
            [first, ..] => {
                // Of several versions at most one is the present one.
                let differs = |state: &&StateChanges| state.version != first.version;
                let version = states.iter().find(differs).map_or(first.version, |_| u64::MAX);
                let changes: Vec<Change> = states.iter().flat_map(changes).collect();
                self.store.try_submit_onto(version, events, &changes, now_ms())
            }
        };
        Ok(ticket.map_err(failed)?.map(|ticket| self.ticket(ticket)))
    }

    fn state(&self, name: &str) -> StoredState {
        let (version, table) = self.store.table(name);
        let value = |(key, (text, until_ms)): (String, (String, u64))| {
            (key.into(), StateValue { text: text.into(), until_ms: (until_ms != 0).then_some(until_ms) })
        };
        StoredState { version, entries: table.into_iter().map(value).collect() }
    }

    fn state_version(&self) -> u64 {
        self.store.state_version()
    }

    fn try_close(&self, topic: &str) -> Result<Option<Ticket>, JournalError> {
        let durability = self.store.durability_of(topic);
        let ticket = self.store.try_close_topic(topic, now_ms(), durability).map_err(failed)?;
        Ok(ticket.map(|ticket| self.ticket(ticket)))
    }

    fn try_delete(&self, topic: &str) -> Result<Option<Ticket>, JournalError> {
        let durability = self.store.durability_of(topic);
        let ticket = self.store.try_delete_topic(topic, now_ms(), durability).map_err(failed)?;
        self.deletions.fetch_add(1, Ordering::AcqRel);
        Ok(ticket.map(|ticket| self.ticket(ticket)))
    }

    fn read(&self, request: ReadRequest) {
        let mut work = self.waiting.work.lock();
        if work.stopping {
            drop(work);
            // Answered with a failure.
            drop(request);
            return;
        }
        work.requests.push_back(request);
        drop(work);
        // Readers of pages and the one who lets go wait at the same place.
        self.waiting.changed.notify_all();
    }

    fn stats(&self) -> JournalStats {
        let store = self.store.stats();
        let mut stats = JournalStats::default();
        (stats.events, stats.bytes, stats.files) = (store.events, store.bytes, store.files);
        (stats.oldest, stats.queue_bytes) = (store.oldest, store.queue_bytes);
        stats.writes = store.timing.writes;
        stats.write_time = store.timing.total;
        stats.longest_write = store.timing.longest;
        stats.pages = self.pages.load(Ordering::Relaxed);
        stats.page_events = self.page_events.load(Ordering::Relaxed);
        stats.failing = store.failing.map(|error| error.to_string());
        stats
    }
}

impl Shared {
    fn ticket(&self, ticket: fanfare_store::Ticket) -> Ticket {
        let first = ticket.first;
        let settlement = (!ticket.is_settled_at_once()).then(|| {
            let store = Arc::clone(&self.store);
            Arc::new(Waiting { store, ticket }) as Arc<dyn Settlement>
        });
        Ticket { first, settlement }
    }
}

/// A publisher that waits for the disk.
struct Waiting {
    store: Arc<Store>,
    ticket: fanfare_store::Ticket,
}

impl Settlement for Waiting {
    fn outcome(&self) -> Option<Result<(), JournalError>> {
        self.ticket.outcome().map(|outcome| outcome.map_err(failed))
    }

    fn wait(&self) -> Result<(), JournalError> {
        self.store.wait(&self.ticket).map_err(failed)
    }

    fn poll(&self, waker: &Waker) -> Option<Result<(), JournalError>> {
        self.store.poll(&self.ticket, waker).map(|outcome| outcome.map_err(failed))
    }

    fn write_if_quick(&self) {
        self.store.write_if_quick();
    }
}

fn failed(error: OpenError) -> JournalError {
    match error.kind() {
        ErrorKind::TopicClosed => JournalError::TopicClosed,
        _ => JournalError::Failed(error.to_string().into()),
    }
}

/// What a handler has changed, as the store takes it.
fn changes(state: &StateChanges) -> impl Iterator<Item = Change> {
    let table = || state.name.to_string();
    state.changes.iter().map(move |(key, value)| match value {
        None => Change::Delete { table: table(), key: key.to_string() },
        Some(StateValue { text, until_ms }) => Change::Put {
            table: table(),
            key: key.to_string(),
            value: text.to_string(),
            until_ms: until_ms.unwrap_or(0),
        },
    })
}

/// Milliseconds since 1970. A clock that goes back only makes events stay longer.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data")
    }
}
