//! The newest position that every reader can see, and its orderings.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

pub(super) struct Visible(AtomicU64);

impl Visible {
    pub(super) fn new(seq: u64) -> Self {
        Self(AtomicU64::new(seq))
    }

    /// Acquire pairs with the Release below: who sees a position sees the rings filled up to it.
    pub(super) fn load(&self) -> u64 {
        self.0.load(Acquire)
    }

    pub(super) fn store_while_locked(&self, seq: u64) {
        self.0.store(seq, Release);
    }
}
