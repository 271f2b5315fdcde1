//! A journal in memory, whose disk is as slow and as bad as a test says.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use fanfare_engine::{
    Config, Draft, Engine, Epoch, Journal, JournalError, JournalStats, Lent, ReadFrom, ReadRequest,
    Settlement, StateChanges, StateValue, StoredGap, StoredPage, StoredState, Ticket,
};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// A store in memory. Clones are the same store; an engine made of it anew is a restart.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<(Mutex<World>, Condvar)>);

#[derive(Default)]
struct World {
    next: u64,
    stored: BTreeMap<u64, Draft<'static>>,
    /// Positions that nobody was ever given an event at.
    unused: BTreeSet<u64>,
    closed: BTreeSet<String>,
    states: BTreeMap<String, BTreeMap<String, StateValue>>,
    /// Changes when changes of state were not stored.
    version: u64,
    /// Transactions that are not on disk, oldest first.
    queue: VecDeque<Waiting>,
    /// Publishers wait until the test says that the disk has written.
    waits: bool,
    /// Why nothing is taken.
    refuses: Option<&'static str>,
    /// How many more times `try_submit` says that there is no room.
    full: u32,
    requests: Vec<ReadRequest>,
    /// Pages are answered at once.
    reads_at_once: bool,
    let_go_through: u64,
    /// Deleted with their topics.
    deleted: BTreeMap<u64, String>,
    pages: u64,
    /// As many as there are pages that readers hold, and one.
    held: Arc<()>,
    /// What readers got.
    lent: Vec<Lent>,
}

struct Waiting {
    first: u64,
    drafts: Vec<Draft<'static>>,
    closes: Option<String>,
    states: Vec<StateChanges>,
    deletes: Option<String>,
    outcome: Arc<Outcome>,
}

#[derive(Default)]
struct Outcome {
    result: Mutex<Option<Result<(), JournalError>>>,
    known: Condvar,
    /// Changed with `result` locked.
    wakers: Mutex<Vec<Waker>>,
}

impl Settlement for Outcome {
    fn outcome(&self) -> Option<Result<(), JournalError>> {
        self.result.lock().clone()
    }

    fn wait(&self) -> Result<(), JournalError> {
        let mut result = self.result.lock();
        loop {
            match &*result {
                Some(result) => return result.clone(),
                None => self.known.wait(&mut result),
            }
        }
    }

    fn poll(&self, waker: &Waker) -> Option<Result<(), JournalError>> {
        let result = self.result.lock();
        if result.is_none() {
            self.wakers.lock().push(waker.clone());
        }
        result.clone()
    }

    // Only the test writes.
    fn write_if_quick(&self) {}
}

impl Memory {
    /// A store that answers readers at once and publishers without waiting.
    pub(crate) fn new() -> Self {
        let memory = Self::default();
        memory.world().next = 1;
        memory.world().reads_at_once = true;
        memory
    }

    /// An engine of it that keeps `events` of each topic in memory.
    pub(crate) fn engine(&self, events: u32) -> Engine {
        let mut config = Config::new(Epoch::from_seed(99));
        config.history.age_ms = 0;
        config.history.events = events;
        Engine::with_journal(config, Arc::new(self.clone())).expect("a valid configuration")
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.0.lock()
    }

    /// From now on publishers wait for [`settle`](Self::settle).
    pub(crate) fn wait_for_disk(&self) {
        self.world().waits = true;
    }

    /// Waits until so many transactions wait for the disk.
    pub(crate) fn until_waiting(&self, count: usize) {
        let mut world = self.world();
        while world.queue.len() < count {
            self.0.1.wait(&mut world);
        }
    }

    /// A value of a handler's state on disk.
    pub(crate) fn value(&self, name: &str, key: &str) -> Option<String> {
        let state = Journal::state(self, name);
        state.entries.into_iter().find(|(name, _)| **name == *key).map(|(_, value)| value.text.into())
    }

    /// The disk has written, or failed to write, the oldest `count` transactions that wait. With changes that are lost those
    /// that wait and may build on them are lost too.
    pub(crate) fn settle(&self, count: usize, result: Result<(), &'static str>) {
        let mut world = self.world();
        let settled: Vec<Waiting> = world.queue.drain(..count).collect();
        Self::tell(world, settled, result);
    }

    /// As [`settle`](Self::settle), of the newest one alone.
    pub(crate) fn settle_last(&self, result: Result<(), &'static str>) {
        let mut world = self.world();
        let settled = world.queue.pop_back().into_iter().collect();
        Self::tell(world, settled, result);
    }

    fn tell(mut world: MutexGuard<'_, World>, mut settled: Vec<Waiting>, result: Result<(), &'static str>) {
        if result.is_err() && settled.iter().any(|waiting| !waiting.states.is_empty()) {
            world.version += 1;
            let (lost, rest): (Vec<_>, Vec<_>) =
                world.queue.drain(..).partition(|waiting| !waiting.states.is_empty());
            settled.extend(lost);
            world.queue = rest.into();
        }
        let mut outcomes = Vec::new();
        for waiting in settled {
            let result = result.map_err(|reason| JournalError::Failed(reason.into()));
            if result.is_err() {
                world.unused.extend(waiting.first..waiting.first + waiting.drafts.len() as u64);
            } else {
                world.store(waiting.first, waiting.drafts, waiting.closes, waiting.states, waiting.deletes);
            }
            *waiting.outcome.result.lock() = Some(result);
            waiting.outcome.known.notify_all();
            outcomes.push(waiting.outcome);
        }
        drop(world);
        for outcome in outcomes {
            let wakers = std::mem::take(&mut *outcome.wakers.lock());
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    pub(crate) fn refuse(&self, reason: Option<&'static str>) {
        self.world().refuses = reason;
    }

    pub(crate) fn say_full(&self, times: u32) {
        self.world().full = times;
    }

    /// From now on readers wait for [`answer`](Self::answer).
    pub(crate) fn hold_reads(&self) {
        self.world().reads_at_once = false;
    }

    /// Requests that wait and are wanted.
    pub(crate) fn requests(&self) -> usize {
        self.world().requests.iter().filter(|request| request.is_wanted()).count()
    }

    /// Answers the oldest request.
    pub(crate) fn answer(&self) {
        let request = self.world().requests.remove(0);
        let page = self.world().page(&request);
        request.answer(page);
    }

    /// Drops the oldest request.
    pub(crate) fn drop_request(&self) {
        drop(self.world().requests.remove(0));
    }

    /// Retention lets everything up to a position go.
    pub(crate) fn let_go(&self, through: u64) {
        let mut world = self.world();
        world.stored.retain(|position, _| *position > through);
        world.let_go_through = through;
    }

    /// The store loses an event, as by damage.
    pub(crate) fn lose(&self, position: u64) {
        self.world().stored.remove(&position);
    }

    /// The sequence goes on later, as after an unclean stop.
    pub(crate) fn skip_to(&self, next: u64) {
        self.world().next = next;
    }

    /// Pages that readers hold.
    /// Takes back what readers hold.
    pub(crate) fn take_back(&self) {
        let lent = std::mem::take(&mut self.world().lent);
        lent.iter().for_each(Lent::take_back);
    }

    pub(crate) fn held(&self) -> usize {
        Arc::strong_count(&self.world().held) - 1
    }

    pub(crate) fn pages(&self) -> u64 {
        self.world().pages
    }
}

impl World {
    fn store(
        &mut self,
        first: u64,
        drafts: Vec<Draft<'static>>,
        closes: Option<String>,
        states: Vec<StateChanges>,
        deletes: Option<String>,
    ) {
        self.stored.extend((first..).zip(drafts));
        self.closed.extend(closes);
        if let Some(topic) = deletes {
            let of_it = |at: &u64, draft: &mut Draft<'_>| *at < first && *draft.topic == *topic;
            let gone = self.stored.extract_if(.., of_it);
            self.deleted.extend(gone.map(|(at, draft)| (at, draft.topic.into_owned())));
        }
        for StateChanges { name, changes, .. } in states {
            let kept = self.states.entry(name.to_string()).or_default();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(kept.insert(key.into(), value)),
                    None => drop(kept.remove(&*key)),
                }
            }
        }
    }

    fn submit(
        &mut self,
        drafts: Vec<Draft<'static>>,
        closes: Option<String>,
        states: Vec<StateChanges>,
        deletes: Option<String>,
    ) -> Ticket {
        let first = self.next;
        self.next += drafts.len() as u64;
        if !self.waits {
            self.store(first, drafts, closes, states, deletes);
            return Ticket { first, settlement: None };
        }
        let outcome = Arc::<Outcome>::default();
        let waiting = Waiting { first, drafts, closes, states, deletes, outcome: Arc::clone(&outcome) };
        self.queue.push_back(waiting);
        Ticket { first, settlement: Some(outcome) }
    }

    /// Pages of three events, so that every way through history has many. Every position between two stored ones that
    /// was used, or may have been, is a gap.
    fn page(&mut self, request: &ReadRequest) -> Result<StoredPage, JournalError> {
        self.pages += 1;
        let wanted = |draft: &Draft<'_>| request.topics.iter().any(|topic| **topic == *draft.topic);
        let mut unknown = false;
        let after = match &request.from {
            ReadFrom::After(position) => *position,
            ReadFrom::AfterId(id) => {
                let has = |draft: &Draft<'_>| wanted(draft) && draft.id.as_deref() == Some(&**id);
                let mut found = self.stored.iter().filter(|(_, draft)| has(draft)).map(|(at, _)| *at);
                let first = found.next().filter(|_| found.next().is_none());
                unknown = first.is_none();
                first.unwrap_or(0)
            }
            ReadFrom::Last(count) => {
                let of_topics = self.stored.iter().rev().filter(|(_, draft)| wanted(draft));
                of_topics.take(*count as usize).last().map_or(0, |(position, _)| position - 1)
            }
        };
        let settled = self.queue.front().map_or(self.next, |waiting| waiting.first) - 1;
        let mut page = StoredPage { after, through: after, unknown, ..StoredPage::default() };
        let held: Arc<()> = Arc::clone(&self.held);
        page.held = Some(held);
        if after < self.let_go_through {
            page.gaps.push(StoredGap { first: after + 1, last: self.let_go_through, let_go: true });
            page.through = self.let_go_through;
        }
        for (position, draft) in self.stored.range(page.through + 1..) {
            if page.events.len() == 3 {
                page.more = true;
                page.gone.extend(self.gone(request, after, page.through));
                return Ok(page);
            }
            let known = |lost: &u64| self.unused.contains(lost) || self.deleted.contains_key(lost);
            if (page.through + 1..*position).any(|lost| !known(&lost)) {
                page.gaps.push(StoredGap { first: page.through + 1, last: position - 1, let_go: false });
            }
            page.through = *position;
            if wanted(draft) {
                page.events.push((*position, draft.clone()));
            }
        }
        page.through = page.through.max(settled);
        page.gone.extend(self.gone(request, after, page.through));
        Ok(page)
    }
}

impl World {
    /// The first deleted event of each topic in a range.
    fn gone(&self, request: &ReadRequest, after: u64, through: u64) -> Vec<(u64, Arc<str>)> {
        let first = |topic: &Arc<str>| {
            let mut range = self.deleted.range(after + 1..=through.max(after + 1));
            range.find(|(_, name)| ***name == **topic).map(|(at, _)| (*at, Arc::clone(topic)))
        };
        request.topics.iter().filter_map(first).collect()
    }
}

impl Journal for Memory {
    fn epoch(&self) -> Epoch {
        Epoch::parse(super::EPOCH).expect("a valid epoch")
    }

    fn next_position(&self) -> u64 {
        self.world().next
    }

    fn is_closed(&self, topic: &str) -> bool {
        self.world().closed.contains(topic)
    }

    fn is_read_to_end(&self, topics: &[&str], from: &ReadFrom, resumes: bool) -> bool {
        let world = self.world();
        let after = match from {
            ReadFrom::After(position) => *position,
            ReadFrom::AfterId(id) => {
                let has = |draft: &Draft<'_>| draft.id.as_deref() == Some(&**id);
                world.stored.iter().find(|(_, draft)| has(draft)).map_or(0, |(at, _)| *at)
            }
            ReadFrom::Last(_) => 0,
        };
        let mut later = world.stored.range(after + 1..);
        let is_missed = resumes && after < world.let_go_through;
        !(is_missed || later.any(|(_, draft)| topics.contains(&&*draft.topic)))
    }

    fn admit(&self, _: usize) -> Result<(), JournalError> {
        match self.world().refuses {
            None => Ok(()),
            Some(reason) => Err(JournalError::Failed(reason.into())),
        }
    }

    fn has_room(&self, _: usize) -> bool {
        let world = self.world();
        world.full == 0 && world.refuses.is_none()
    }

    fn try_submit(
        &self,
        events: &[&Draft<'_>],
        states: &[StateChanges],
    ) -> Result<Option<Ticket>, JournalError> {
        let mut world = self.world();
        if world.refuses.is_some() {
            return Ok(None);
        }
        if world.full > 0 {
            world.full -= 1;
            return Ok(None);
        }
        if events.iter().any(|event| world.closed.contains(&*event.topic)) {
            return Err(JournalError::TopicClosed);
        }
        if states.iter().any(|state| state.version != world.version) {
            return Err(JournalError::Failed("what it builds on was not stored".into()));
        }
        let drafts = events.iter().map(|draft| (*draft).clone().into_owned()).collect();
        let ticket = world.submit(drafts, None, states.to_vec(), None);
        self.0.1.notify_all();
        Ok(Some(ticket))
    }

    fn try_close(&self, topic: &str) -> Result<Option<Ticket>, JournalError> {
        let ticket = self.world().submit(Vec::new(), Some(topic.to_owned()), Vec::new(), None);
        self.0.1.notify_all();
        Ok(Some(ticket))
    }

    fn try_delete(&self, topic: &str) -> Result<Option<Ticket>, JournalError> {
        let ticket = self.world().submit(Vec::new(), None, Vec::new(), Some(topic.to_owned()));
        self.0.1.notify_all();
        Ok(Some(ticket))
    }

    fn state(&self, name: &str) -> StoredState {
        let world = self.world();
        let kept = world.states.get(name).into_iter().flatten();
        let entries = kept.map(|(key, value)| (key.as_str().into(), value.clone())).collect();
        StoredState { version: world.version, entries }
    }

    fn state_version(&self) -> u64 {
        self.world().version
    }

    fn read(&self, request: ReadRequest) {
        let mut world = self.world();
        if !world.reads_at_once {
            world.requests.push(request);
            return;
        }
        let page = world.page(&request);
        drop(world);
        let lent = request.answer(page);
        self.world().lent.push(lent);
    }

    fn stats(&self) -> JournalStats {
        let mut stats = JournalStats::default();
        stats.events = self.world().stored.len() as u64;
        stats
    }
}
