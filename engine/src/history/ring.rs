//! The ring of one topic: slots, and the three numbers that say what is in them.
//!
//! 1. `index` counts the events of the topic, from 0; the slot of an index is `index & mask`.
//! 2. `head..tail` are the indexes that are retained. Both are written by the holder of the log's lock alone, and read
//!    by anybody.
//! 3. A writer fills the slot before it moves `tail`; it raises `lost_through` before it empties a slot and moves
//!    `head`. So a reader that finds a slot empty or overtaken is sure to see `lost_through` at or above the event
//!    that stood there.
//! 4. The first slot stands in the ring, because many topics hold a single event. The others live in chunks (7, 8, 16, 32 ...)
//!    that are allocated on first use, and so is the list of the chunks.

use crate::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};
use crate::wire::Frame;

use slots::Slots;

/// A slot holds the index it was filled for, so that a reader that comes late knows.
#[derive(Default)]
struct Slot {
    index: u64,
    frame: Option<Frame>,
}

/// The retained events of one topic.
pub(crate) struct Ring {
    slots: Slots,
    state: state::State,
}

/// What a reader finds at an index.
pub(crate) enum Found {
    Frame(Frame),
    /// Nothing was published there yet.
    NotYet,
    /// It was here and is evicted.
    Gone,
}

impl Ring {
    /// A ring that can hold `capacity` events; events up to `lost_through` count as evicted.
    pub(crate) fn new(capacity: u32, lost_through: u64) -> Self {
        Self {
            slots: Slots::new(u64::from(capacity.max(1)).next_power_of_two()),
            state: state::State::new(lost_through),
        }
    }

    /// Position of the newest evicted event; 0 if none was.
    pub(crate) fn lost_through(&self) -> u64 {
        self.state.lost_through()
    }

    /// The retained indexes. Each end is exact for a moment; an index may be gone when it is asked for.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let tail = self.state.tail();
        (self.state.head().min(tail), tail)
    }

    /// Whether nothing will follow.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// Says that nothing will follow; false if that was said before. The caller holds the log's lock.
    pub(crate) fn close_while_locked(&self) -> bool {
        self.state.close_while_locked()
    }

    /// How many events are retained.
    pub(crate) fn len(&self) -> u64 {
        let (head, tail) = self.bounds();
        tail - head
    }

    /// The index that the next event will get.
    pub(crate) fn tail(&self) -> u64 {
        self.state.tail()
    }

    /// Copies the frame at `index`.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> Found {
        if index >= self.state.tail() {
            return Found::NotYet;
        }
        self.slots.with(index, |slot| match &slot.frame {
            Some(frame) if slot.index == index => Found::Frame(frame.clone()),
            _ => Found::Gone,
        })
    }

    /// The first retained index whose event is after `seq`, or the tail.
    pub(crate) fn first_after(&self, seq: u64) -> u64 {
        let (mut low, mut high) = self.bounds();
        while low < high {
            let middle = low + (high - low) / 2;
            let before = match self.get(middle) {
                Found::Frame(frame) => frame.seq() <= seq,
                // Evicted meanwhile, so everything below is as well.
                Found::Gone => true,
                Found::NotYet => false,
            };
            if before { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Appends. The caller holds the log's lock and has evicted, so that the slot is free.
    pub(crate) fn push_while_locked(&self, frame: Frame) {
        let index = self.state.tail();
        self.slots.with(index, |slot| *slot = Slot { index, frame: Some(frame) });
        self.state.set_tail_while_locked(index + 1);
    }

    /// Takes the oldest event out. The caller holds the log's lock.
    pub(crate) fn pop_while_locked(&self) -> Option<Frame> {
        let head = self.state.head();
        if head >= self.state.tail() {
            return None;
        }
        self.slots.with(head, |slot| {
            // Before the slot is free to look into: who finds it empty learns how much is lost.
            let seq = slot.frame.as_ref().map(Frame::seq);
            self.state.set_lost_while_locked(seq.unwrap_or_default());
            self.state.set_head_while_locked(head + 1);
            slot.frame.take()
        })
    }

    /// The oldest event. The caller holds the log's lock.
    pub(crate) fn oldest(&self) -> Option<Frame> {
        self.frame_at_end(|head, _| head)
    }

    /// The newest event.
    pub(crate) fn newest(&self) -> Option<Frame> {
        self.frame_at_end(|_, tail| tail - 1)
    }

    fn frame_at_end(&self, end: impl Fn(u64, u64) -> u64) -> Option<Frame> {
        loop {
            let (head, tail) = self.bounds();
            if head == tail {
                return None;
            }
            // Evicted between the two looks: look again; every round the head has moved.
            if let Found::Frame(frame) = self.get(end(head, tail)) {
                return Some(frame);
            }
        }
    }
}

/// The lazily allocated slots.
mod slots {
    use super::{Mutex, Slot};

    /// How many slots the first one and the first chunk are; each chunk behind is as long as all slots before it.
    #[cfg(not(loom))]
    const FEW: u64 = 8;

    #[cfg(not(loom))]
    type Chunk = std::sync::OnceLock<Box<[Mutex<Slot>]>>;

    pub(super) struct Slots {
        mask: u64,
        #[cfg(not(loom))]
        first: Mutex<Slot>,
        #[cfg(not(loom))]
        chunks: std::sync::OnceLock<Box<[Chunk]>>,
        /// loom has no `OnceLock`: its models allocate at once.
        #[cfg(loom)]
        all: Box<[Mutex<Slot>]>,
    }

    fn allocate(len: u64) -> Box<[Mutex<Slot>]> {
        (0..len).map(|_| Mutex::new(Slot::default())).collect()
    }

    #[cfg(not(loom))]
    impl Slots {
        /// `capacity` is a power of two.
        pub(super) fn new(capacity: u64) -> Self {
            Self { mask: capacity - 1, first: Mutex::default(), chunks: std::sync::OnceLock::new() }
        }

        #[inline]
        pub(super) fn with<R>(&self, index: u64, f: impl FnOnce(&mut Slot) -> R) -> R {
            let at = index & self.mask;
            let slot = if at == 0 { &self.first } else { self.in_chunk(at) };
            f(&mut slot.lock())
        }

        #[inline]
        fn in_chunk(&self, at: u64) -> &Mutex<Slot> {
            let (chunk, start, len) = match at / FEW {
                0 => (0, 1, FEW - 1),
                n => {
                    let chunk = 1 + n.ilog2();
                    (chunk, FEW << (chunk - 1), FEW << (chunk - 1))
                }
            };
            let chunk = &self.chunks()[chunk as usize];
            &chunk.get_or_init(|| allocate(len))[(at - start) as usize]
        }

        fn chunks(&self) -> &[Chunk] {
            self.chunks.get_or_init(|| {
                let count = 1 + ((self.mask + 1).max(FEW) / FEW).ilog2();
                (0..count).map(|_| Chunk::new()).collect()
            })
        }
    }

    #[cfg(loom)]
    impl Slots {
        pub(super) fn new(capacity: u64) -> Self {
            Self { mask: capacity - 1, all: allocate(capacity) }
        }

        pub(super) fn with<R>(&self, index: u64, f: impl FnOnce(&mut Slot) -> R) -> R {
            f(&mut self.all[(index & self.mask) as usize].lock())
        }
    }

    #[cfg(all(test, not(loom)))]
    mod tests {
        use super::*;

        #[test]
        fn every_index_has_a_slot_of_its_own() {
            for capacity in [1, 2, 8, 16, 64, 1024] {
                let slots = Slots::new(capacity);
                for index in 0..capacity {
                    slots.with(index, |slot| slot.index = index);
                }
                for index in 0..capacity {
                    assert_eq!(slots.with(index + 3 * capacity, |slot| slot.index), index, "{capacity}");
                }
            }
        }

        #[test]
        fn few_events_allocate_few_slots() {
            let slots = Slots::new(1024);
            slots.with(0, |_| ());
            assert!(slots.chunks.get().is_none());
            slots.with(1, |_| ());
            slots.with(7, |_| ());
            assert_eq!(slots.chunks().iter().filter(|chunk| chunk.get().is_some()).count(), 1);
        }
    }
}

/// The ring's numbers and every ordering on them.
mod state {
    use super::{AtomicBool, AtomicU64};
    use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    pub(super) struct State {
        head: AtomicU64,
        tail: AtomicU64,
        lost_through: AtomicU64,
        closed: AtomicBool,
    }

    impl State {
        pub(super) fn new(lost_through: u64) -> Self {
            Self {
                head: AtomicU64::new(0),
                tail: AtomicU64::new(0),
                lost_through: AtomicU64::new(lost_through),
                closed: AtomicBool::new(false),
            }
        }

        /// Acquire pairs with the Release of `close_while_locked`: who sees a ring closed sees its last tail.
        pub(super) fn is_closed(&self) -> bool {
            self.closed.load(Acquire)
        }

        /// Load and store need not be one step: the log's lock is held.
        pub(super) fn close_while_locked(&self) -> bool {
            let open = !self.closed.load(Relaxed);
            self.closed.store(true, Release);
            open
        }

        /// Acquire pairs with the Release of `set_head_while_locked`: who sees a head sees the loss that moved it.
        pub(super) fn head(&self) -> u64 {
            self.head.load(Acquire)
        }

        /// Acquire pairs with the Release of `set_tail_while_locked`: who sees a tail sees the slots below it filled.
        pub(super) fn tail(&self) -> u64 {
            self.tail.load(Acquire)
        }

        /// Acquire pairs with the Release of `set_lost_while_locked`: who sees a loss sees a tail behind it.
        pub(super) fn lost_through(&self) -> u64 {
            self.lost_through.load(Acquire)
        }

        pub(super) fn set_tail_while_locked(&self, tail: u64) {
            self.tail.store(tail, Release);
        }

        pub(super) fn set_head_while_locked(&self, head: u64) {
            self.head.store(head, Release);
        }

        /// Release: see `lost_through`. The Release of the head and the slot's lock, both of which follow, publish it to
        /// who sees a head or finds a slot empty.
        pub(super) fn set_lost_while_locked(&self, seq: u64) {
            self.lost_through.store(seq, Release);
        }
    }
}
