//! The store: transactions in, pages out, one sync for all who wait at the same time.
//!
//! `commit` says how writing works and fails; all locks are taken there.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::JoinHandle;

use fanfare_engine::options::OptionError;
use fanfare_engine::{Draft, Epoch};
use parking_lot::{Condvar, Mutex};

use crate::commit::{Inner, RESERVE, Shared, fresh};
use crate::compact::Compactor;
use crate::config::Config;
use crate::disk::{Disk, OsDisk};
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::Meta;
use crate::pages::{Page, PageLimits, Source, Topics};
use crate::queue::Queue;
use crate::record::{Change, check_change, check_event};
use crate::recover::recover;
use crate::rules::Rules;
use crate::stats::{Damaged, Stats, Timing};
use crate::ticket::Ticket;
use crate::writer::Files;

/// History on disk. All methods may be called from any thread.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held by who lets events go.
    pub(crate) compactor: Mutex<Compactor>,
}

impl Store {
    /// Opens the store in a folder of this machine, which is made if need be.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if somebody has it open; [`ErrorKind::NewerVersion`], [`ErrorKind::Corrupt`] (only for what
    /// cannot be read on behind: `META` and handlers' state); or what the file system says.
    pub fn open(dir: impl Into<PathBuf>, config: Config) -> Result<Self> {
        Self::open_on(Arc::new(OsDisk), dir.into(), config)
    }

    /// Opens the store in a folder of any file system.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, dir: PathBuf, config: Config) -> Result<Self> {
        let invalid = |error: OptionError| Error::invalid(error.to_string());
        config.validate().map_err(invalid)?;
        let rules = Rules::parse(&config.topics).map_err(invalid)?;
        disk.create_dir(&dir).map_err(|error| Error::io("make the folder", &dir, None, &error))?;
        let lock_path = dir.join("LOCK");
        let lock = disk.lock(&lock_path).map_err(|e| Error::io("lock it", &lock_path, None, &e))?;
        let Some(lock) = lock else {
            let text = "another process, or this one, has the store open";
            return Err(Error::new(ErrorKind::Locked, &lock_path, None, text));
        };
        let mut meta = match Meta::read(&*disk, &dir)? {
            Some(meta) => meta,
            None => fresh(&*disk, &dir)?,
        };
        let found = recover(disk, &dir, &meta, config.segment_bytes)?;
        meta.reserved = found.next.saturating_add(RESERVE);
        meta.clean = None;
        meta.weak = config.durability.min(rules.weakest().unwrap_or(Durability::Always)) < Durability::Always;
        meta.write(&*found.files.disk, &dir)?;
        let shared = Arc::new(Shared {
            epoch: meta.epoch.clone(),
            files: found.files,
            inner: Mutex::new(Inner {
                meta,
                next: found.next,
                settled: found.next - 1,
                awaited: false,
                last_group: 0,
                queue: Queue::default(),
                writer: Some(Box::new(found.writer)),
                failing: None,
                fault: None,
                closed: false,
                timing: Timing::default(),
                lock: Some(lock),
            }),
            written: Condvar::new(),
            work: Condvar::new(),
            state_version: AtomicU64::new(0),
            expired_ms: AtomicU64::new(0),
            config,
            rules,
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("fanfare-store".to_owned())
            .spawn(move || theirs.write_by_and_by())
            .map_err(|error| Error::io("start a thread for it", &dir, None, &error))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), compactor: Mutex::default() })
    }

    /// How safe events of a topic are when their publisher has an answer: as its rule in `history.topics` says, or
    /// `history.durability`.
    #[must_use]
    pub fn durability_of(&self, topic: &str) -> Durability {
        self.shared.rules.durability(topic).unwrap_or(self.shared.config.durability)
    }

    /// The strongest durability of several events' topics; that of the hub if there are none.
    #[must_use]
    pub fn durability_of_all<'d>(&self, events: &[impl Borrow<Draft<'d>>]) -> Durability {
        let each = events.iter().map(|event| self.durability_of(&event.borrow().topic));
        each.max().unwrap_or(self.shared.config.durability)
    }

    /// Stores events and changes in one transaction, with the durability of the configuration. Returns the position
    /// of the first event.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`wait`](Self::wait).
    pub fn append(&self, events: &[Draft<'_>], changes: &[Change], at_ms: u64) -> Result<u64> {
        let ticket = self.submit(events, changes, at_ms, self.durability_of_all(events))?;
        let first = ticket.first;
        self.wait(&ticket).map(|()| first)
    }

    /// Gives a transaction its positions; `at_ms`: when it is, in milliseconds since 1970. Transactions become
    /// readable in the order of their positions. Blocks only while `store.queue_bytes` are used up.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] and [`ErrorKind::TopicClosed`] change nothing. While writing fails, what it fails with.
    pub fn submit(
        &self,
        events: &[Draft<'_>],
        changes: &[Change],
        at_ms: u64,
        durability: Durability,
    ) -> Result<Ticket> {
        loop {
            self.admit(events.len() as u64, durability)?;
            if let Some(ticket) = self.try_submit(events, changes, at_ms, durability)? {
                return Ok(ticket);
            }
        }
    }

    /// Waits until there is room for a transaction of so many events. What [`try_submit`](Self::try_submit) says no to
    /// comes here first.
    ///
    /// # Errors
    /// While writing fails, what it fails with.
    pub fn admit(&self, events: u64, durability: Durability) -> Result<()> {
        self.shared.admit(&mut self.shared.inner.lock(), events, durability)
    }

    /// As [`submit`](Self::submit), but never waits for the disk: `None` if there is no room now.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::TopicClosed`] and [`ErrorKind::Closed`]; nothing has changed then.
    pub fn try_submit<'d>(
        &self,
        events: &[impl Borrow<Draft<'d>>],
        changes: &[Change],
        at_ms: u64,
        durability: Durability,
    ) -> Result<Option<Ticket>> {
        self.take(None, events, changes, at_ms, durability)
    }

    /// Takes a transaction, if there is room and nothing that its changes were made of was lost.
    pub(crate) fn take<'d>(
        &self,
        version: Option<u64>,
        events: &[impl Borrow<Draft<'d>>],
        changes: &[Change],
        at_ms: u64,
        durability: Durability,
    ) -> Result<Option<Ticket>> {
        events.iter().map(Borrow::borrow).try_for_each(check_event)?;
        changes.iter().try_for_each(check_change)?;
        let shared = &*self.shared;
        let mut inner = shared.inner.lock();
        shared.check_open(&inner)?;
        shared.check_topics(events)?;
        shared.check_version(version)?;
        let count = events.len() as u64;
        if !shared.has_room(&inner, count, durability) {
            return Ok(None);
        }
        let first = inner.next;
        let outcome = inner.put(shared, events, changes, at_ms, durability);
        Ok(Some(Ticket { first, events: count, outcome }))
    }

    /// Returns when a transaction is as safe as its durability says: on disk (`always`), written (`os`), or at once.
    ///
    /// # Errors
    /// Why it was not stored. None of it will be seen by readers, and its positions are never used again.
    pub fn wait(&self, ticket: &Ticket) -> Result<()> {
        ticket.outcome.as_ref().map_or(Ok(()), |outcome| self.shared.wait(outcome))
    }

    /// As [`wait`](Self::wait) without waiting: `None` while it is open. Then the waker is woken when it is known, on whichever
    /// thread has written, with no lock held; another thread than the caller's writes, soon.
    ///
    /// The result is an error for the same reasons.
    #[must_use]
    pub fn poll(&self, ticket: &Ticket, waker: &Waker) -> Option<Result<()>> {
        match &ticket.outcome {
            None => Some(Ok(())),
            Some(outcome) => self.shared.poll(outcome, waker),
        }
    }

    /// Writes for all who wait, if nobody does so at the moment and writing has taken less than a millisecond of late.
    pub fn write_if_quick(&self) {
        self.shared.write_if_quick();
    }

    /// Whether [`try_submit`](Self::try_submit) has room for so many events now.
    #[must_use]
    pub fn has_room(&self, events: u64, durability: Durability) -> bool {
        self.shared.has_room(&self.shared.inner.lock(), events, durability)
    }

    /// Writes what waits, and syncs it.
    ///
    /// # Errors
    /// What the file system says; what was answered before stays in the queue.
    pub fn flush(&self) -> Result<()> {
        let mut inner = self.shared.inner.lock();
        let writer = self.shared.take_writer(&mut inner);
        self.shared.write_all(&mut inner, writer, true)
    }

    /// Events after a position, in order. See [`Page`]. Sees what has been written, not what still waits.
    ///
    /// # Errors
    /// What the file system says. Damage is no error but a gap of the page.
    pub fn page(&self, topics: Topics<'_>, after: u64, limits: PageLimits) -> Result<Page> {
        // Looked at before the files: what is settled now is found in them.
        let settled = self.shared.inner.lock().settled;
        self.read(|source| {
            let mut page = source.page(topics, after, limits)?;
            if !page.more {
                page.through = page.through.max(settled);
            }
            Ok(page)
        })
    }

    /// Position before the last `count` events of some topics, for [`page`](Self::page) to go on from. Sees what has
    /// been written.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn before_last(&self, topics: &[&str], count: usize) -> Result<u64> {
        self.read(|source| source.before_last(topics, count))
    }

    /// Position of the one event of some topics that its publisher gave an id; none if there is no such event, or several.
    /// Sees what has been written.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn position_of_id(&self, topics: &[&str], id: &str) -> Result<Option<u64>> {
        self.read(|source| source.position_of_id(topics, id))
    }

    /// Reads files, again if retention removed one meanwhile.
    fn read<R>(&self, read: impl Fn(&Source<'_>) -> Result<R>) -> Result<R> {
        let files = &self.shared.files;
        loop {
            let _whole = files.replacing.read();
            let lost_through = files.lost_through.load(Ordering::Acquire);
            let segments = files.segments.read().clone();
            let topic_state = |topic: &str| files.state.read().topics.get(topic).copied();
            let source = Source {
                disk: &*files.disk,
                dir: &files.dir,
                salt: files.salt,
                segments: &segments,
                lost_through: lost_through.max(segments.first().map_or(0, |first| first.head.previous_last)),
                before: files.before,
                topic_state: &topic_state,
            };
            match read(&source) {
                // A file that retention removed meanwhile is not among the segments any more.
                Err(error) if error.kind() == ErrorKind::Io && files.changed_since(&segments) => {}
                result => return result,
            }
        }
    }

    /// Hands what waits to the operating system, unless the store does so already, so that [`page`](Self::page) sees it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn write(&self) -> Result<()> {
        let mut inner = self.shared.inner.lock();
        let through = inner.next - 1;
        while inner.settled < through && !inner.closed {
            self.shared.write_or_wait(&mut inner, false);
            if let Some(error) = &inner.failing {
                return Err(error.clone());
            }
        }
        Ok(())
    }

    /// Closes a topic: it takes no more events, and this outlives a restart.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn close_topic(&self, topic: &str, at_ms: u64) -> Result<()> {
        self.say(topic, true, 0, at_ms)
    }

    /// Deletes the events that a topic has now, and opens it if it was closed. They are not read any more at once;
    /// their space is given back by the next [`compact`](Self::compact) or [`retain`](Self::retain).
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn delete_topic(&self, topic: &str, at_ms: u64) -> Result<()> {
        let through = self.shared.inner.lock().next - 1;
        self.say(topic, false, through, at_ms)
    }

    /// As [`close_topic`](Self::close_topic), but in the manner of [`try_submit`](Self::try_submit).
    ///
    /// # Errors
    /// As [`try_submit`](Self::try_submit).
    pub fn try_close_topic(&self, topic: &str, at_ms: u64, durability: Durability) -> Result<Option<Ticket>> {
        let change = Change::Topic { topic: topic.to_owned(), closed: Some(true), deleted_through: 0 };
        self.try_submit(&[] as &[Draft<'_>], &[change], at_ms, durability)
    }

    /// As [`delete_topic`](Self::delete_topic), but in the manner of [`try_submit`](Self::try_submit), and what is closed stays
    /// closed. The caller makes sure that nobody else submits meanwhile.
    ///
    /// # Errors
    /// As [`try_submit`](Self::try_submit).
    pub fn try_delete_topic(
        &self,
        topic: &str,
        at_ms: u64,
        durability: Durability,
    ) -> Result<Option<Ticket>> {
        let deleted_through = self.next_position() - 1;
        let change = Change::Topic { topic: topic.to_owned(), closed: None, deleted_through };
        self.try_submit(&[] as &[Draft<'_>], &[change], at_ms, durability)
    }

    fn say(&self, topic: &str, closed: bool, deleted_through: u64, at_ms: u64) -> Result<()> {
        let change = Change::Topic { topic: topic.to_owned(), closed: Some(closed), deleted_through };
        let ticket = self.submit(&[], &[change], at_ms, Durability::Always)?;
        self.wait(&ticket)
    }

    /// The name of the life of this store's sequence; it is kept over restarts.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.shared.epoch
    }

    /// The position that the next event gets.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.shared.inner.lock().next
    }

    /// Whether a topic is closed.
    #[must_use]
    pub fn is_closed(&self, topic: &str) -> bool {
        self.shared.files.state.read().topics.get(topic).is_some_and(|topic| topic.closed)
    }

    /// Topics that are closed.
    #[must_use]
    pub fn closed_topics(&self) -> Vec<String> {
        let state = self.shared.files.state.read();
        state.topics.iter().filter(|(_, topic)| topic.closed).map(|(name, _)| name.clone()).collect()
    }

    /// What is stored and how writing goes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let files = &self.shared.files;
        let (events, bytes) = files.totals();
        let segments = files.segments.read().clone();
        let inner = self.shared.inner.lock();
        Stats {
            events,
            bytes,
            files: segments.len() as u64,
            oldest: segments.iter().map(|s| s.summary()).find(|s| s.events > 0).map_or(0, |s| s.first),
            newest: segments.iter().map(|s| s.summary().last).max().unwrap_or(0),
            next: inner.next,
            queue_bytes: inner.queue.len() as u64,
            failing: inner.fault.clone(),
            timing: inner.timing,
        }
    }

    /// Damage that opening found: bytes of files that are no records, with what they may have held.
    #[must_use]
    pub fn damages(&self) -> Vec<Damaged> {
        let segments = self.shared.files.segments.read().clone();
        segments.iter().flat_map(|segment| Damaged::all(&self.shared.files.dir, &segment.summary())).collect()
    }

    /// Writes and syncs everything and ends. Later calls fail with [`ErrorKind::Closed`]; readers may go on.
    ///
    /// # Errors
    /// What the file system says. The folder is free for others all the same.
    pub fn close(&self) -> Result<()> {
        let thread = self.thread.lock().take();
        let shared = &*self.shared;
        let mut inner = shared.inner.lock();
        if std::mem::replace(&mut inner.closed, true) {
            return Ok(());
        }
        shared.work.notify_all();
        let writer = shared.take_writer(&mut inner);
        let mut result = shared.write_all(&mut inner, writer, true);
        if result.is_ok() {
            let last =
                shared.files.segments.read().last().map_or(0, |s| s.summary().last.max(s.head.previous_last));
            inner.meta.clean = Some((last, inner.next));
            result = inner.meta.write(&*shared.files.disk, &shared.files.dir);
        }
        inner.lock = None;
        drop(inner);
        if let Some(thread) = thread {
            // It cannot panic but by a bug, which its own message has told.
            let _ = thread.join();
        }
        result
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.shared.files.dir
    }

    pub(crate) fn files(&self) -> &Files {
        &self.shared.files
    }

    /// For an import into an empty store: the next event gets this position.
    pub(crate) fn skip_to(&self, position: u64) -> Result<()> {
        let mut inner = self.shared.inner.lock();
        if position < inner.next {
            return Err(Error::invalid(format!("position {position} is not behind the ones before it")));
        }
        let shared = &*self.shared;
        shared.reserve(&mut inner, position, 0, Durability::Interval)?;
        inner.next = position;
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Who wants to know calls `close`.
        let _ = self.close();
    }
}
