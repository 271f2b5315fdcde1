//! Open streams by the name of their client, so that all of one client's can be ended.
//!
//! A stream with a name has a [`Ticket`] from before its cursor is opened: whoever revokes the name after that reaches it,
//! wherever it is on its way. A lane finds the connections that it holds by their names, so a ticket lives until the lane has
//! taken its stream; every other stream keeps its ticket to the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// All tickets of one server.
#[derive(Default)]
pub(crate) struct Named {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    next: u64,
    flags: HashMap<Box<str>, BTreeMap<u64, Arc<Flag>>, ahash::RandomState>,
}

impl Named {
    /// Lists a stream of `client`.
    pub(crate) fn enter(self: &Arc<Named>, client: &str) -> Ticket {
        let flag = Arc::new(Flag::default());
        let mut book = self.book.lock();
        let id = book.next;
        book.next += 1;
        book.flags.entry(client.into()).or_default().insert(id, Arc::clone(&flag));
        drop(book);
        Ticket { named: Arc::clone(self), client: client.into(), id, flag }
    }

    /// Tells every stream of `client` that is listed now.
    pub(crate) fn revoke(&self, client: &str) {
        let told: Vec<Arc<Flag>> =
            self.book.lock().flags.get(client).map(|of| of.values().cloned().collect()).unwrap_or_default();
        // Wakers are other people's code: not under the lock.
        for flag in told {
            flag.revoke();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.book.lock().flags.len()
    }
}

/// One listed stream; dropping it takes it off the list.
pub(crate) struct Ticket {
    named: Arc<Named>,
    client: Box<str>,
    id: u64,
    flag: Arc<Flag>,
}

impl Ticket {
    pub(crate) fn flag(&self) -> &Arc<Flag> {
        &self.flag
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.named.book.lock();
        if let Some(of) = book.flags.get_mut(&self.client) {
            of.remove(&self.id);
            if of.is_empty() {
                book.flags.remove(&self.client);
            }
        }
    }
}

/// Whether a stream has been revoked, and whom to tell.
#[derive(Default)]
pub(crate) struct Flag {
    /// Set before the waker is taken, read after it is set; the waker's lock orders the two, so relaxed will do.
    revoked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Wakes `waker` on a revocation from now on; look at [`is_revoked`](Self::is_revoked) after this.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_reaches_the_name_and_no_other() {
        let named = Arc::new(Named::default());
        let (first, second, other) = (named.enter("a"), named.enter("a"), named.enter("b"));
        named.revoke("a");
        named.revoke("nobody");
        assert!(first.flag().is_revoked() && second.flag().is_revoked() && !other.flag().is_revoked());
        let later = named.enter("a");
        assert!(!later.flag().is_revoked(), "it came back: whoever revokes refuses it");
        drop((first, second, other));
        assert_eq!(named.len(), 1);
        drop(later);
        assert_eq!(named.len(), 0);
    }
}
