//! Group commit: one write and one sync for all who wait at the same time.
//!
//! **Taking.** `Store::admit` waits until there is room in the queue and positions are reserved on disk; then
//! `Store::try_submit` waits for nobody but who copies into the queue. Who holds a lock of his own around it calls
//! the first before.
//!
//! **Writing.** `Store::submit` gives a transaction its positions and puts it behind those that wait; `Store::wait`
//! returns when it is as safe as its durability says. Whoever waits first writes for all: it takes the whole queue, writes it
//! with one call and one sync, and wakes those whose transactions were in it. Others have filled the queue meanwhile; for them,
//! and for those who leave a waker by `Store::poll` instead of waiting, a thread of the store goes on at once. What nobody
//! waits for it writes every `history.sync_interval`.
//!
//! **Failing.** A transaction whose publisher waits fails as a whole and its positions stay unused. One that was
//! answered before goes back to the head of the queue; while it is there, nothing new is taken unless the disk works again.
//! With changes of handlers' state that fail, those that wait and have some fail too, for they may have been made of them,
//! and the state gets another version: who has read it before is refused. So what is stored is made of what is stored.
//!
//! **Locks, in this order:** queue → (writer, by the flag `writing`, without the queue's lock) → segments, state, index.

use std::any::Any;
use std::borrow::Borrow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use fanfare_engine::{Draft, Epoch};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::config::Config;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::Meta;
use crate::queue::{Outcome, Queue};
use crate::record::Change;
use crate::rules::Rules;
use crate::sleeper;
use crate::stats::Timing;
use crate::writer::{Files, Writer};

/// Positions that are reserved at once. The sequence goes on behind them after an unclean stop.
pub(crate) const RESERVE: u64 = 1 << 20;

/// What one write may take for a thread to do it that has other things to do.
const QUICK: Duration = Duration::from_millis(1);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) epoch: Epoch,
    pub(crate) files: Files,
    pub(crate) inner: Mutex<Inner>,
    /// Somebody has finished writing.
    pub(crate) written: Condvar,
    /// There is something to write, or the store is closing.
    pub(crate) work: Condvar,
    /// Counts how often changes of state failed. Changed under the queue's lock.
    pub(crate) state_version: AtomicU64,
    /// When state was last looked through for what has passed its time, in milliseconds since 1970.
    pub(crate) expired_ms: AtomicU64,
}

pub(crate) struct Inner {
    pub(crate) meta: Meta,
    pub(crate) next: u64,
    pub(crate) queue: Queue,
    /// What becomes of the positions up to here is known: their events are stored, or never will be.
    pub(crate) settled: u64,
    /// Absent while somebody writes.
    pub(crate) writer: Option<Box<Writer>>,
    /// Somebody awaits the outcome of what is in the queue, and does not write himself.
    pub(crate) awaited: bool,
    /// Transactions of the last write.
    pub(crate) last_group: u64,
    /// Why the last attempt failed; something waits to be tried again.
    pub(crate) failing: Option<Error>,
    /// Why the last attempt failed, whether or not something waits.
    pub(crate) fault: Option<Error>,
    pub(crate) closed: bool,
    pub(crate) timing: Timing,
    /// Held for as long as the store is open.
    pub(crate) lock: Option<Box<dyn Any + Send + Sync>>,
}

impl Shared {
    /// Waits for room and positions for `events` more, or finds out whether the disk works again.
    pub(crate) fn admit(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        events: u64,
        durability: Durability,
    ) -> Result<()> {
        loop {
            self.check_open(inner)?;
            if inner.failing.is_none() && !self.is_full(inner) {
                return self.reserve(inner, inner.next, events, durability);
            }
            self.write_or_wait(inner, durability.syncs());
            if let Some(error) = &inner.failing {
                return Err(error.clone());
            }
        }
    }

    /// Whether a transaction could be taken now, without waiting for the disk.
    pub(crate) fn has_room(&self, inner: &Inner, events: u64, durability: Durability) -> bool {
        let end = inner.next.saturating_add(events);
        let weak = durability < Durability::Always;
        inner.failing.is_none()
            && !self.is_full(inner)
            && end <= inner.meta.reserved
            && (inner.meta.weak || !weak)
    }

    fn is_full(&self, inner: &Inner) -> bool {
        inner.queue.len() as u64 >= self.config.queue_bytes
    }

    pub(crate) fn check_open(&self, inner: &Inner) -> Result<()> {
        if inner.closed {
            return Err(Error::new(ErrorKind::Closed, &self.files.dir, None, "the store is closed"));
        }
        Ok(())
    }

    /// Refuses events of closed topics.
    pub(crate) fn check_topics<'d>(&self, events: &[impl Borrow<Draft<'d>>]) -> Result<()> {
        let state = self.files.state.read();
        if state.topics.is_empty() {
            return Ok(());
        }
        let closed = |event: &&Draft<'_>| state.topics.get(&*event.topic).is_some_and(|state| state.closed);
        match events.iter().map(Borrow::borrow).find(closed) {
            None => Ok(()),
            Some(event) => {
                let text = format!("the topic {:?} has been closed", event.topic);
                Err(Error::new(ErrorKind::TopicClosed, Path::new(""), None, text))
            }
        }
    }

    /// Makes sure that `META` on disk covers positions before they are given out, with some ahead, and says so if they
    /// may get lost. Others submit meanwhile.
    pub(crate) fn reserve(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        first: u64,
        count: u64,
        durability: Durability,
    ) -> Result<()> {
        let end = first.checked_add(count).ok_or_else(|| Error::invalid("there are no positions left"))?;
        let ahead = end.saturating_add(RESERVE / 2);
        let weak = durability < Durability::Always;
        let covered = |meta: &Meta| ahead <= meta.reserved && (meta.weak || !weak);
        if covered(&inner.meta) {
            return Ok(());
        }
        // Who writes META is the writer, so that it is not written twice at once.
        let writer = self.take_writer(inner);
        let mut result = self.check_open(inner);
        if result.is_ok() && !covered(&inner.meta) {
            let meta = Meta {
                reserved: inner.meta.reserved.max(end.saturating_add(RESERVE)),
                weak: inner.meta.weak || weak,
                ..inner.meta.clone()
            };
            result = MutexGuard::unlocked(inner, || meta.write(&*self.files.disk, &self.files.dir));
            inner.fault = result.as_ref().err().cloned();
            if result.is_ok() {
                inner.meta = meta;
            }
        }
        self.give_writer(inner, writer);
        result
    }

    /// Becomes the writer if nobody is, else waits until somebody has written.
    pub(crate) fn write_or_wait(&self, inner: &mut MutexGuard<'_, Inner>, sync: bool) {
        match inner.writer.take() {
            None => self.written.wait(inner),
            Some(writer) => {
                // Told to each who waits, and kept in `failing` for the others.
                let _ = self.write_all(inner, writer, sync);
            }
        }
    }

    pub(crate) fn take_writer(&self, inner: &mut MutexGuard<'_, Inner>) -> Box<Writer> {
        loop {
            match inner.writer.take() {
                Some(writer) => return writer,
                None => self.written.wait(inner),
            }
        }
    }

    pub(crate) fn give_writer(&self, inner: &mut Inner, writer: Box<Writer>) {
        inner.writer = Some(writer);
        self.written.notify_all();
        if inner.awaited {
            self.work.notify_all();
        }
    }

    /// Returns when it is known what became of a transaction: writes for all if nobody does so, else sleeps until it is woken
    /// for this transaction alone.
    pub(crate) fn wait(&self, outcome: &Outcome) -> Result<()> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(result) = outcome.get() {
                return result;
            }
            match inner.writer.take() {
                Some(writer) => {
                    // Told to each who waits, and kept in `failing` for the others.
                    let _ = self.write_all(&mut inner, writer, false);
                }
                None => {
                    inner.awaited = true;
                    let known = outcome.get_or_wake(&sleeper::waker());
                    drop(inner);
                    return known.unwrap_or_else(|| sleeper::until(|| outcome.get()));
                }
            }
        }
    }

    /// What became of a transaction. While that is open, the waker is kept, and the thread of the store writes at once.
    pub(crate) fn poll(&self, outcome: &Outcome, waker: &Waker) -> Option<Result<()>> {
        if let Some(result) = outcome.get() {
            return Some(result);
        }
        let mut inner = self.inner.lock();
        if let Some(result) = outcome.get_or_wake(waker) {
            return Some(result);
        }
        // If it is being written just now, the thread finds nothing to do, or something of others.
        if !std::mem::replace(&mut inner.awaited, true) && inner.writer.is_some() {
            self.work.notify_all();
        }
        None
    }

    /// Writes for all who wait, if nobody does so and the disk has been quick.
    pub(crate) fn write_if_quick(&self) {
        let mut inner = self.inner.lock();
        if inner.queue.is_empty() || inner.timing.recent > QUICK {
            return;
        }
        if let Some(writer) = inner.writer.take() {
            // Told to each who waits, and kept in `failing` for the others.
            let _ = self.write_all(&mut inner, writer, false);
        }
    }

    /// Writes the queue. `sync`: even if nothing in it wants that.
    pub(crate) fn write_all(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        mut writer: Box<Writer>,
        sync: bool,
    ) -> Result<()> {
        if inner.queue.transactions() < inner.last_group {
            // Those who were woken by the last write are about to come again: one write for all of them is the cheaper.
            MutexGuard::unlocked(inner, std::thread::yield_now);
        }
        let mut queue = std::mem::take(&mut inner.queue);
        inner.last_group = queue.transactions();
        inner.awaited = false;
        let tried = sync || !queue.is_empty();
        let mut woken = Vec::new();
        let through = inner.next - 1;
        let mut timing = inner.timing;
        let result = MutexGuard::unlocked(inner, || {
            let start = Instant::now();
            let result = if queue.is_empty() {
                if sync { writer.sync(&self.files) } else { Ok(()) }
            } else {
                let group = queue.group();
                group.sync |= sync;
                writer.write(&self.files, group)
            };
            timing.add(start.elapsed(), queue.transactions());
            result
        });
        inner.timing = timing;
        if let Err(error) = &result
            && queue.fails_state()
        {
            inner.queue.fail_state(error, &mut woken);
            // Release pairs with the load without the lock.
            self.state_version.fetch_add(1, Ordering::Release);
        }
        let answered = queue.settle(&result, &mut woken);
        inner.settled = answered.first().map_or(through, |first| first - 1);
        if !answered.is_empty() {
            // Publishers were told that these are taken, so they go first when writing is tried again.
            inner.queue.put_back(answered);
        }
        inner.failing = result.as_ref().err().filter(|_| !inner.queue.is_empty()).cloned();
        if tried {
            inner.fault = result.as_ref().err().cloned();
        }
        self.give_writer(inner, writer);
        if !woken.is_empty() {
            MutexGuard::unlocked(inner, || woken.into_iter().for_each(Waker::wake));
        }
        result
    }

    /// The thread of the store: writes what nobody waits for, once in an interval.
    pub(crate) fn write_by_and_by(&self) {
        let mut inner = self.inner.lock();
        while !inner.closed {
            if inner.queue.is_empty() {
                inner.awaited = false;
                self.work.wait(&mut inner);
                continue;
            }
            let until = Instant::now() + self.config.sync_interval;
            while !inner.closed && !inner.awaited && !self.work.wait_until(&mut inner, until).timed_out() {}
            if !inner.closed && !inner.queue.is_empty() {
                self.write_or_wait(&mut inner, false);
            }
        }
    }
}

impl Inner {
    pub(crate) fn put<'d>(
        &mut self,
        shared: &Shared,
        events: &[impl Borrow<Draft<'d>>],
        changes: &[Change],
        at_ms: u64,
        durability: Durability,
    ) -> Option<Outcome> {
        let was_empty = self.queue.is_empty();
        let outcome = self.queue.put(events, changes, self.next, at_ms, durability, shared.files.salt);
        self.next += events.len() as u64;
        if was_empty && outcome.is_none() {
            shared.work.notify_all();
        }
        outcome
    }
}

/// The beginning of a new store.
pub(crate) fn fresh(disk: &dyn Disk, dir: &Path) -> Result<Meta> {
    if let Some(number) = crate::segment::numbers(disk, dir)?.first() {
        let path = dir.join(crate::segment::log_name(*number));
        return Err(Error::new(
            ErrorKind::Corrupt,
            &path,
            None,
            "there are events, but the file META is missing",
        ));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Error::new(ErrorKind::Io, dir, None, format!("cannot get random bytes: {error}")))?;
    let [a, b] =
        [&random[..8], &random[8..]].map(|half| half.iter().fold(0, |sum, &b| sum << 8 | u64::from(b)));
    let meta = Meta { epoch: Epoch::from_seed(a), salt: b, reserved: 1, clean: Some((0, 1)), weak: false };
    meta.write(disk, dir)?;
    Ok(meta)
}
