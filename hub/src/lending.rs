//! Memory for pages of stored history: what readers hold of it, who waits for it, and from whom it is taken back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use fanfare_engine::{Lent, ReadRequest};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Who reads pages waits for requests, and for room.
#[derive(Default)]
pub(crate) struct Waiters {
    pub(crate) work: Mutex<Work>,
    pub(crate) changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Work {
    pub(crate) requests: VecDeque<ReadRequest>,
    /// Bytes of pages that readers hold.
    pub(crate) held: u64,
    pub(crate) stopping: bool,
    /// Pages that readers hold, by their number, which is the order in which they were given, and since when.
    lent: BTreeMap<u64, (Instant, Lent)>,
    /// The number of the last page.
    last: u64,
}

impl Waiters {
    /// Waits for something to do. If there is a request and no room for it, who has held a page for longer than `patience` loses
    /// what is left of it.
    pub(crate) fn wait_for_room(&self, work: &mut MutexGuard<'_, Work>, patience: Duration) {
        let oldest = work.lent.first_key_value().map(|(_, (since, _))| *since + patience);
        match oldest.filter(|_| !work.requests.is_empty()) {
            None => self.changed.wait(work),
            Some(end) if end > Instant::now() => {
                self.changed.wait_until(work, end);
            }
            Some(_) => {
                let lent = work.lent.pop_first();
                // Its bytes come back by themselves, and lock.
                MutexGuard::unlocked(work, || {
                    if let Some((_, (_, lent))) = lent {
                        lent.take_back();
                    }
                });
            }
        }
    }

    /// Counts the bytes of a page until what is returned is dropped.
    pub(crate) fn count(waiting: &Arc<Self>, bytes: u64) -> Arc<PageBytes> {
        let mut work = waiting.work.lock();
        work.held += bytes;
        work.last += 1;
        Arc::new(PageBytes { bytes, number: work.last, waiting: Arc::clone(waiting) })
    }

    /// Notes who has a page, unless that has been handed out by now.
    pub(crate) fn lend(&self, held: &Weak<PageBytes>, lent: Lent) {
        let Some(page) = held.upgrade() else { return };
        // Whoever else drops it is not the last: its end comes behind this, and finds the note.
        self.work.lock().lent.insert(page.number, (Instant::now(), lent));
    }
}

/// The bytes of a page, until its reader has handed it out.
pub(crate) struct PageBytes {
    bytes: u64,
    number: u64,
    waiting: Arc<Waiters>,
}

impl Drop for PageBytes {
    fn drop(&mut self) {
        let mut work = self.waiting.work.lock();
        work.held -= self.bytes;
        let lent = work.lent.remove(&self.number);
        drop(work);
        drop(lent);
        self.waiting.changed.notify_all();
    }
}
