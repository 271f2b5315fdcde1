//! The states of a hub's handlers that are kept in a journal.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use fanfare_engine::Journal;
use parking_lot::Mutex;

use crate::kv::Kv;

/// Keeps what handlers have in their key-value stores in a journal, under their names. A handler that is loaded anew, in this
/// process or the next, finds what the one of its name has left.
pub struct States {
    journal: Arc<dyn Journal>,
    /// Stores in use: a handler that was unloaded may still be at work when the next of its name is loaded.
    used: Mutex<HashMap<String, Weak<Kv>>>,
}

impl States {
    /// The states in this journal, which one engine writes.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, used: Mutex::default() }
    }

    /// The store of a name.
    pub(crate) fn of(&self, name: &str, limit: u64) -> Arc<Kv> {
        let mut used = self.used.lock();
        if let Some(kv) = used.get(name).and_then(Weak::upgrade) {
            kv.set_limit(limit);
            return kv;
        }
        used.retain(|_, kv| kv.strong_count() > 0);
        let kv = Arc::new(Kv::stored(limit, Arc::clone(&self.journal), name));
        used.insert(name.to_owned(), Arc::downgrade(&kv));
        kv
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}
