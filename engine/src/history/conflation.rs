//! What conflation keeps: while somebody conflates, the latest event of each key that the ring of a topic has let go.
//!
//! All of it is guarded by the log's lock. What goes is handed out of the critical section as [`Evicted`].

use std::collections::{BTreeMap, HashMap};

use crate::wire::Frame;

/// Frames that history has let go, to be dropped outside the critical section. The first needs no allocation.
#[derive(Default)]
pub(crate) struct Evicted {
    first: Option<Frame>,
    more: Vec<Frame>,
}

impl Evicted {
    pub(crate) fn evict(&mut self, frame: Frame) {
        match &mut self.first {
            slot @ None => *slot = Some(frame),
            Some(_) => self.more.push(frame),
        }
    }
}

/// The latest event of each key that the ring has let go, for readers that want just that.
pub(crate) struct Conflation {
    /// How many subscriptions want it.
    pub(crate) readers: u32,
    /// Position of the latest event of each key, in the ring or kept.
    latest: HashMap<Box<str>, u64, ahash::RandomState>,
    /// What is kept, by position.
    kept: BTreeMap<u64, Frame>,
    pub(crate) kept_bytes: u64,
    /// Position of the newest event that was dropped although it was the latest of its key.
    pub(crate) lost_through: u64,
}

impl Conflation {
    /// Keeps what is evicted from now on; events up to `lost_through` are gone.
    pub(crate) fn new(hasher: ahash::RandomState, lost_through: u64) -> Self {
        Self {
            readers: 0,
            latest: HashMap::with_hasher(hasher),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            lost_through,
        }
    }

    /// Notes the newest event of a key; what it replaces goes. Returns the bytes that are free.
    pub(crate) fn replaced(&mut self, key: &str, seq: u64, done: &mut Evicted) -> u64 {
        let before = match self.latest.get_mut(key) {
            Some(latest) => core::mem::replace(latest, seq),
            None => {
                self.latest.insert(key.into(), seq);
                return 0;
            }
        };
        match self.kept.remove(&before) {
            None => 0,
            Some(frame) => {
                let cost = frame.cost();
                self.kept_bytes -= cost;
                done.evict(frame);
                cost
            }
        }
    }

    /// Takes an event that the ring evicts: keeps it if it is the latest of its key. Returns the bytes that are free.
    pub(crate) fn let_go(
        &mut self,
        frame: Frame,
        max_keys: usize,
        max_bytes: u64,
        done: &mut Evicted,
    ) -> u64 {
        let (cost, seq) = (frame.cost(), frame.seq());
        if self.latest.get(frame.key()).is_some_and(|latest| *latest > seq) {
            done.evict(frame);
            return cost;
        }
        // From before the first reader that conflates, an older event of the key may have been taken for the latest.
        let mut freed = self.replaced(frame.key(), seq, done);
        self.kept_bytes += cost;
        self.kept.insert(seq, frame);
        while self.kept.len() > max_keys || self.kept_bytes > max_bytes {
            let Some(cost) = self.drop_oldest(done) else { break };
            freed += cost;
        }
        freed
    }

    /// Drops the oldest event that is kept, although it is the latest of its key. Returns the bytes that are free.
    pub(crate) fn drop_oldest(&mut self, done: &mut Evicted) -> Option<u64> {
        let (seq, frame) = self.kept.pop_first()?;
        let cost = frame.cost();
        self.lost_through = seq;
        self.latest.remove(frame.key());
        self.kept_bytes -= cost;
        done.evict(frame);
        Some(cost)
    }

    /// Position of the oldest event that is kept.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.kept.keys().next().copied()
    }

    /// The first event that is kept after `seq`.
    pub(crate) fn first_after(&self, seq: u64) -> Option<&Frame> {
        self.kept.range(seq + 1..).next().map(|(_, frame)| frame)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::draft::Draft;
    use crate::id::Epoch;
    use crate::time::Timestamp;
    use crate::wire::NewFrame;

    fn frame(key: &str, seq: u64) -> Frame {
        let draft = Draft { key: Some(key.into()), ..Draft::new("t", "d") };
        NewFrame::render("t".into(), &draft, Timestamp(0)).seal(&Epoch::from_seed(0), seq)
    }

    #[test]
    fn keys_without_end_are_forgotten_with_their_events() {
        let mut conflation = Conflation::new(ahash::RandomState::with_seeds(1, 2, 3, 4), 0);
        let mut out = Evicted::default();
        for seq in 1..1000 {
            let frame = frame(&seq.to_string(), seq);
            conflation.replaced(frame.key(), seq, &mut out);
            conflation.let_go(frame, 10, u64::MAX, &mut out);
            assert!(conflation.latest.len() <= 10 && conflation.kept.len() <= 10);
        }
        assert_eq!((conflation.oldest(), conflation.lost_through), (Some(990), 989));
        assert_eq!(conflation.kept_bytes, conflation.kept.values().map(Frame::cost).sum::<u64>());
    }
}
