//! Pulling: merging rings by position, filtering, and telling what is lost.

use smallvec::SmallVec;

use super::LagPolicy;
use super::entry::Entry;
use super::filter::Filter;
use super::replay::{Answer, Item, Next, Replay};
use crate::core::Core;
use crate::fanout::Watcher;
use crate::history::Found;
use crate::journal::ReadFrom;
use crate::sync::Arc;
use crate::topic::Topic;
use crate::wire::{Frame, Gap};

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pulled {
    /// There may be more: pull again.
    More,
    /// Nothing more is there now.
    Idle,
    /// Every topic is closed and read to its end.
    Ended,
    /// History has moved past the cursor, and the policy is to end the subscription.
    Lapped,
}

/// Most readers have one topic. It stands in their state, so that a pull follows one pointer less.
pub(super) type Entries = SmallVec<[Entry; 1]>;

/// A cursor over topics.
pub(super) struct State {
    /// Everything up to here has been pulled or passed over.
    cursor: u64,
    entries: Entries,
    filter: Filter,
    /// What handlers have to say first.
    pub(super) greeting: Vec<Frame>,
    /// The id after which something is missing: told before the next frame.
    gap: Option<Box<str>>,
    arrival: Arrival,
    lapped: bool,
    /// It had no id to come back with.
    is_new: bool,
    /// What the rings have lost is read from the journal, until the reader has caught up once.
    from_journal: bool,
    replay: Option<Replay>,
}

/// Where a reader of one topic stands in its ring.
pub(super) struct Place {
    topic: Arc<Topic>,
    cursor: u64,
    next: u64,
}

/// Whether the reader has got anything yet, and if not, what it may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It reads for the first time: what is evicted before it gets anything, it has not missed, unless that was
    /// published after it came, when `newest` was the hub's newest position.
    FirstVisit { newest: u64 },
    /// It came back with an id: what is evicted before it gets anything is told, whatever the policy.
    Resuming,
    /// It has been here all the time.
    Present,
}

impl State {
    pub(super) fn new(
        cursor: u64,
        entries: Entries,
        filter: Filter,
        gap: Option<&str>,
        arrival: Arrival,
    ) -> Self {
        Self {
            cursor,
            entries,
            filter,
            greeting: Vec::new(),
            gap: gap.map(Box::from),
            arrival,
            lapped: false,
            is_new: matches!(arrival, Arrival::FirstVisit { .. }),
            from_journal: false,
            replay: None,
        }
    }

    /// Lets the reader have from the journal what the rings have lost; `first`: where to begin, if they have.
    pub(super) fn with_journal(mut self, first: Option<ReadFrom>) -> Self {
        self.from_journal = true;
        self.replay = first.map(Replay::new);
        self
    }

    /// Whether a page was asked for and has not been taken: `Idle` says nothing about what is in history then.
    pub(super) fn wait_as(&self, token: u64) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.wait_as(token))
    }

    /// Puts `frames` before everything else, as far as the reader wants their types.
    pub(super) fn greet(&mut self, frames: impl Iterator<Item = Frame>) {
        self.greeting = frames.filter(|frame| self.filter.passes(frame)).collect();
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.entries.iter().map(|entry| &entry.topic)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let at = self.entries.iter().position(|entry| *entry.topic.name == *name)?;
        Some(self.entries.swap_remove(at).topic)
    }

    /// Whether there is nothing to read and never will be.
    pub(super) fn is_finished(&self) -> bool {
        self.replay.is_none()
            && self.gap.is_none()
            && !self.entries.is_empty()
            && self.entries.iter().all(Entry::is_finished)
    }

    pub(super) fn pull(
        &mut self,
        core: &Core,
        watcher: &Watcher,
        lag: LagPolicy,
        out: &mut Vec<Frame>,
        max_bytes: usize,
        through: u64,
    ) -> Pulled {
        if !self.greeting.is_empty() {
            out.append(&mut self.greeting);
        }
        if self.lapped {
            return Pulled::Lapped;
        }
        // First the position, then the rings: what they show up to it is complete.
        let committed = core.log.committed();
        if self.from_journal
            && let Some(pulled) = self.pull_stored(core, watcher, out, max_bytes, committed, through)
        {
            return pulled;
        }
        if let Some(pulled) = self.look_for_losses(core, lag, committed) {
            return pulled;
        }
        let all = through >= committed;
        let through = committed.min(through);
        let pulled = match &self.entries[..] {
            [only] if only.kept_from.is_none() => self.read(core, out, max_bytes, through),
            _ => {
                let pulled = self.merge(core, out, max_bytes, through);
                self.entries.iter_mut().for_each(|entry| entry.head = None);
                pulled
            }
        };
        if all && pulled == Pulled::Idle {
            // It has caught up: from now on it is a reader like any other.
            self.from_journal = false;
        }
        pulled
    }

    /// Hands out what comes from the journal; `None`: there is nothing that the rings do not hold, go on there.
    fn pull_stored(
        &mut self,
        core: &Core,
        watcher: &Watcher,
        out: &mut Vec<Frame>,
        max_bytes: usize,
        committed: u64,
        through: u64,
    ) -> Option<Pulled> {
        let limit = committed.min(through);
        let overtaken = |entry: &Entry, cursor: u64| entry.topic.ring.lost_through() > cursor.max(entry.told);
        if self.replay.is_none() {
            if !self.entries.iter().any(|entry| overtaken(entry, self.cursor)) {
                return None;
            }
            self.replay = Some(Replay::new(ReadFrom::After(self.cursor)));
        }
        let mut bytes = 0;
        loop {
            let replay = self.replay.as_mut()?;
            match replay.take() {
                Answer::Waiting => return Some(Pulled::Idle),
                Answer::Failed => {
                    // It comes back, with the id of what it got last.
                    core.counters.lapped();
                    self.lapped = true;
                    return Some(Pulled::Lapped);
                }
                Answer::Page { after, unknown } => {
                    self.cursor = self.cursor.max(after);
                    self.gap = self.gap.take().or_else(|| Some(unknown.as_deref()?.into()));
                }
                Answer::NotAsked => {}
            }
            while let Some(replay) = &mut self.replay {
                if bytes >= max_bytes && bytes > 0 {
                    return Some(Pulled::More);
                }
                let item = match replay.next(limit) {
                    Next::Item(item) => item,
                    Next::None => break,
                    // On disk, and not committed yet or not for this pull.
                    Next::Beyond => return Some(if bytes > 0 { Pulled::More } else { Pulled::Idle }),
                };
                let last = item.last();
                match item {
                    Item::Frame(frame) => bytes += self.hand_out(core, frame, limit, out),
                    // What was let go before its first event, a first visit has not missed.
                    Item::Gap(gap) if gap.let_go && self.is_first_visit() => {}
                    // The same of one topic.
                    Item::Gone(_, topic) if !self.misses(&topic) => {}
                    Item::Gap(_) | Item::Gone(..) => {
                        self.gap.get_or_insert_with(|| core.id_of(self.cursor).to_string().into());
                    }
                }
                self.cursor = self.cursor.max(last);
            }
            let come = self.replay.as_ref().map_or(0, Replay::through);
            self.cursor = self.cursor.max(come.min(limit));
            if bytes > 0 {
                return Some(Pulled::More);
            }
            if self.enter_rings() {
                self.replay = None;
                return None;
            }
            if self.cursor >= limit {
                // Of what is beyond, the rings have lost something: a batch longer than history is being committed.
                return Some(if limit < committed { Pulled::Idle } else { Pulled::More });
            }
            let at_least =
                self.entries.iter().map(|entry| entry.topic.ring.lost_through()).max().unwrap_or(0);
            let topics = self.topics().map(|topic| (topic.key, Arc::clone(&topic.name))).collect();
            let cursor = self.cursor;
            self.replay.as_mut()?.ask(core, watcher, topics, cursor, at_least);
        }
    }

    /// Where a reader of one topic's ring stands to whom nothing is due but what comes next there, as nearly all readers are.
    fn plain(&self) -> Option<&Entry> {
        let nothing_due =
            self.greeting.is_empty() && self.gap.is_none() && !self.lapped && !self.from_journal;
        match &self.entries[..] {
            [only] if nothing_due && only.kept_from.is_none() && self.filter.passes_all() => Some(only),
            _ => None,
        }
    }

    /// The place of a reader that gets what any other one gets that stands there.
    pub(super) fn place(&self) -> Option<Place> {
        let entry = self.plain()?;
        Some(Place { topic: Arc::clone(&entry.topic), cursor: self.cursor, next: entry.next })
    }

    /// Goes from one place to another, past what another reader has pulled on that way. False, and nothing done, if this one
    /// does not stand there, or has lost something.
    #[inline]
    pub(super) fn follow(&mut self, from: &Place, to: &Place) -> bool {
        let stands = self.plain().is_some_and(|entry| {
            Arc::ptr_eq(&entry.topic, &from.topic)
                && (self.cursor, entry.next) == (from.cursor, from.next)
                && entry.topic.ring.lost_through() <= self.cursor.max(entry.told)
        });
        if stands {
            (self.cursor, self.entries[0].next) = (to.cursor, to.next);
            self.arrival = Arrival::Present;
        }
        stands
    }

    /// Whether what was let go of a topic, a reader would have got: it came back, or has had something of it.
    fn misses(&self, topic: &str) -> bool {
        self.entries.iter().any(|entry| *entry.topic.name == *topic && (entry.begun || !self.is_new))
    }

    fn is_first_visit(&self) -> bool {
        matches!(self.arrival, Arrival::FirstVisit { .. })
    }

    /// Hands out a frame from the journal, if it is wanted; returns its size.
    fn hand_out(&mut self, core: &Core, frame: Frame, through: u64, out: &mut Vec<Frame>) -> usize {
        let topic = self.entries.iter_mut().find(|entry| *entry.topic.name == *frame.topic());
        // A topic may have been left, or entered later, while the page was on its way.
        let Some(entry) = topic.filter(|entry| frame.seq() > entry.since.max(self.cursor)) else { return 0 };
        entry.begun = true;
        let mut bytes = self.tell_gap(core, Some(&frame), through, out);
        self.arrival = Arrival::Present;
        if self.filter.passes(&frame) {
            bytes += frame.chunk().len();
            out.push(frame);
        }
        bytes
    }

    /// Goes on in the rings, if they hold all that is behind the cursor.
    fn enter_rings(&mut self) -> bool {
        let cursor = self.cursor;
        self.entries.iter_mut().all(|entry| {
            let from = cursor.max(entry.since);
            entry.skip_losses(from, from)
        })
    }

    /// Notes what the rings have let go since the last pull; something if that ends this pull, or the subscription.
    #[inline]
    fn look_for_losses(&mut self, core: &Core, lag: LagPolicy, committed: u64) -> Option<Pulled> {
        // Whether a batch longer than history is being committed: what is left of it comes with the next pull.
        let (mut lost, mut ahead) = (false, false);
        for entry in &self.entries {
            lost |= entry.topic.ring.lost_through() > self.cursor.max(entry.told);
            ahead |= entry.told > committed;
        }
        if lost {
            return self.lose_all(core, lag, committed);
        }
        ahead.then_some(Pulled::More)
    }

    #[cold]
    fn lose_all(&mut self, core: &Core, lag: LagPolicy, committed: u64) -> Option<Pulled> {
        let mut ahead = false;
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            if entry.topic.ring.lost_through() > self.cursor.max(entry.told)
                && let Some(pulled) = self.lose(core, lag, at)
            {
                return Some(pulled);
            }
            ahead |= self.entries[at].told > committed;
        }
        ahead.then_some(Pulled::More)
    }

    /// Notes what the ring of an entry has let go.
    fn lose(&mut self, core: &Core, lag: LagPolicy, at: usize) -> Option<Pulled> {
        if self.from_journal {
            return Some(Pulled::More);
        }
        let entry = &mut self.entries[at];
        if let Arrival::FirstVisit { newest } = self.arrival
            && entry.skip_losses(self.cursor, newest)
        {
            return None;
        }
        let resuming = self.arrival == Arrival::Resuming;
        if lag == LagPolicy::Conflate && !resuming {
            entry.kept_from.get_or_insert(self.cursor.max(entry.told));
            entry.told = entry.topic.ring.lost_through();
        } else if lag == LagPolicy::Disconnect && !resuming && self.gap.is_none() {
            core.counters.lapped();
            self.lapped = true;
            return Some(Pulled::Lapped);
        } else {
            self.gap.get_or_insert_with(|| core.id_of(self.cursor).to_string().into());
            entry.skip_losses(self.cursor, u64::MAX);
        }
        None
    }

    /// [`merge`](Self::merge) for one topic and nothing but its ring, as nearly all readers are: there is nothing to compare.
    #[inline]
    fn read(&mut self, core: &Core, out: &mut Vec<Frame>, max_bytes: usize, through: u64) -> Pulled {
        let mut bytes = 0;
        loop {
            let entry = &mut self.entries[0];
            let frame = match entry.topic.ring.get(entry.next) {
                Found::Frame(frame) if frame.seq() <= through => frame,
                Found::Frame(_) | Found::NotYet => return self.caught_up(core, out, through),
                Found::Gone => return Pulled::More,
            };
            let seq = frame.seq();
            if seq <= self.cursor {
                entry.next += 1;
                continue;
            }
            if bytes >= max_bytes && bytes > 0 {
                return Pulled::More;
            }
            entry.next += 1;
            bytes += self.take(core, seq, frame, through, out);
            if seq == through {
                // Nothing up to there can follow: no need to look.
                return self.caught_up(core, out, through);
            }
        }
    }

    /// Hands out a frame of the rings, if it is wanted; returns the bytes that this adds.
    #[inline]
    fn take(&mut self, core: &Core, seq: u64, frame: Frame, through: u64, out: &mut Vec<Frame>) -> usize {
        let mut bytes = 0;
        if self.gap.is_some() {
            bytes = self.tell_gap(core, Some(&frame), through, out);
        }
        self.cursor = seq;
        self.arrival = Arrival::Present;
        if self.filter.passes(&frame) {
            bytes += frame.chunk().len();
            out.push(frame);
        }
        bytes
    }

    /// Nothing more is there up to `through`.
    #[inline]
    fn caught_up(&mut self, core: &Core, out: &mut Vec<Frame>, through: u64) -> Pulled {
        if self.gap.is_some() {
            self.tell_gap(core, None, through, out);
        }
        self.cursor = self.cursor.max(through);
        self.arrival = Arrival::Present;
        let entries = &self.entries[..];
        let ended = !entries.is_empty() && entries.iter().all(Entry::is_finished);
        if ended { Pulled::Ended } else { Pulled::Idle }
    }

    fn merge(&mut self, core: &Core, out: &mut Vec<Frame>, max_bytes: usize, through: u64) -> Pulled {
        for at in 0..self.entries.len() {
            if !self.fill(core, at, through) {
                return Pulled::More;
            }
        }
        let mut bytes = 0;
        loop {
            let oldest = self
                .entries
                .iter()
                .enumerate()
                .filter_map(|(at, entry)| Some((entry.head.as_ref()?.seq(), at)))
                .min();
            let Some((seq, at)) = oldest else { return self.caught_up(core, out, through) };
            if bytes >= max_bytes && bytes > 0 {
                return Pulled::More;
            }
            let Some(frame) = self.entries[at].head.take() else { continue };
            self.entries[at].step(seq);
            bytes += self.take(core, seq, frame, through, out);
            if !self.fill(core, at, through) {
                return Pulled::More;
            }
        }
    }

    /// Finds the next frame of an entry; false if the pull must begin anew because the ring has moved on.
    fn fill(&mut self, core: &Core, at: usize, through: u64) -> bool {
        let mut missed = false;
        let filled = self.entries[at].fill(core, self.cursor, through, &mut missed);
        if missed {
            self.gap.get_or_insert_with(|| core.id_of(self.cursor).to_string().into());
        }
        filled.is_ok()
    }

    /// Gives the notice that is due, right before `next`. Returns its size.
    fn tell_gap(&mut self, core: &Core, next: Option<&Frame>, through: u64, out: &mut Vec<Frame>) -> usize {
        let Some(requested) = self.gap.take() else { return 0 };
        let Some(first) = self.entries.first() else { return 0 };
        let in_rings = self.entries.iter().filter_map(|entry| entry.topic.ring.newest());
        // Right after a restart the rings are empty.
        let newest = in_rings.chain(next.cloned()).max_by_key(Frame::seq);
        let frame = Frame::gap(&Gap {
            topic: &first.topic.name,
            epoch: &core.config.epoch,
            requested: &requested,
            oldest: next.map(|frame| frame.id().to_owned()),
            newest: next.and(newest).map(|frame| frame.id().to_owned()),
            before: next.map_or(self.cursor.max(through), |frame| frame.seq() - 1),
        });
        core.counters.gap();
        let size = frame.chunk().len();
        out.push(frame);
        size
    }
}
