//! Reading what the rings do not hold any more, page by page from the journal.
//!
//! ```text
//!   ask for a page ──▶ waiting ──▶ hand out ─┬─▶ the rings hold everything behind the cursor: go on there
//!        ▲                                   │
//!        └───────────────────────────────────┘
//! ```
//! A page is complete up to a position, and so are the rings behind what they have lost. Where the second is not behind the
//! first, reading goes on in the rings: no hole, and nothing twice, because both count the same positions. One page at a
//! time is asked for, and the next when it has been handed out, so a reader holds one page however slow it is. The journal may
//! take what is left of it back: then the rest is asked for anew, behind what has been handed out.

use std::any::Any;
use std::collections::VecDeque;

use crate::core::Core;
use crate::fanout::Watcher;
use crate::history::TopicKey;
use crate::id::Epoch;
use crate::journal::{JournalError, Lent, ReadFrom, ReadRequest, StoredGap, StoredPage};
use crate::sync::{Arc, Mutex};
use crate::time::Timestamp;
use crate::wire::{Frame, NewFrame};

/// A reader's way through stored history.
pub(super) struct Replay {
    first: Option<ReadFrom>,
    /// The id that it begins behind, until a page says where that is.
    id: Option<Arc<str>>,
    /// The page that was asked for, until it is handed out.
    slot: Option<Arc<Slot>>,
    /// It has come, and is being handed out.
    begun: bool,
    /// Everything up to here has come.
    through: u64,
}

/// What comes next.
pub(super) enum Item {
    Frame(Frame),
    Gap(StoredGap),
    /// At a position, an event of a topic is gone, and perhaps others before it.
    Gone(u64, Arc<str>),
}

/// What a page has next.
pub(super) enum Next {
    Item(Item),
    /// Something, but not yet.
    Beyond,
    /// Nothing, or there is no page.
    None,
}

/// Whether there is a page.
pub(super) enum Answer {
    NotAsked,
    Waiting,
    Page {
        /// The position behind which it begins.
        after: u64,
        /// The id that it was to begin behind, if that is not known.
        unknown: Option<Arc<str>>,
    },
    Failed,
}

/// Where the page that was asked for is put, and handed out of.
struct Slot {
    state: Mutex<SlotState>,
    watcher: Watcher,
    topic: TopicKey,
}

#[derive(Default)]
struct SlotState {
    page: Page,
    /// What the watcher is told when the page comes.
    token: Option<u64>,
}

#[derive(Default)]
enum Page {
    #[default]
    Awaited,
    Failed,
    There(Rendered),
    /// The journal has what was left of it.
    TakenBack,
}

struct Rendered {
    /// What the journal wants back with the last item.
    held: Option<Arc<dyn Any + Send + Sync>>,
    after: u64,
    unknown: bool,
    items: VecDeque<Item>,
    through: u64,
}

impl Replay {
    pub(super) fn new(first: ReadFrom) -> Self {
        let id = match &first {
            ReadFrom::AfterId(id) => Some(Arc::clone(id)),
            ReadFrom::After(_) | ReadFrom::Last(_) => None,
        };
        Self { first: Some(first), id, slot: None, begun: false, through: 0 }
    }

    /// If a page was asked for and has not been taken, lets the watcher list `token` when it is there, which may be now.
    pub(super) fn wait_as(&self, token: u64) -> bool {
        let Some(slot) = self.slot.as_ref().filter(|_| !self.begun) else { return false };
        let mut state = slot.state.lock();
        state.token = Some(token);
        let is_there = !matches!(state.page, Page::Awaited);
        drop(state);
        if is_there {
            slot.watcher.arrive(slot.topic, Some(token));
        }
        true
    }

    /// Takes the page that has come, if one has.
    pub(super) fn take(&mut self) -> Answer {
        let Some(slot) = self.slot.as_ref().filter(|_| !self.begun) else { return Answer::NotAsked };
        let state = slot.state.lock();
        let (after, unknown) = match &state.page {
            Page::Awaited => return Answer::Waiting,
            Page::Failed => return Answer::Failed,
            Page::There(page) => {
                self.through = page.through;
                (page.after, page.unknown)
            }
            Page::TakenBack => {
                drop(state);
                self.slot = None;
                return Answer::NotAsked;
            }
        };
        drop(state);
        (self.begun, self.first) = (true, None);
        Answer::Page { after, unknown: self.id.take().filter(|_| unknown) }
    }

    /// The next item if it lies at or before `limit`, and whether there is any.
    pub(super) fn next(&mut self, limit: u64) -> Next {
        let Some(slot) = self.slot.as_ref().filter(|_| self.begun) else { return Next::None };
        let mut state = slot.state.lock();
        let mut held = None;
        let item = match &mut state.page {
            Page::There(page) if page.items.front().is_some_and(|item| item.last() > limit) => {
                return Next::Beyond;
            }
            Page::There(page) => {
                let item = page.items.pop_front();
                held = page.held.take_if(|_| page.items.is_empty());
                item
            }
            Page::TakenBack => {
                // The rest has not come.
                self.through = 0;
                None
            }
            Page::Awaited | Page::Failed => None,
        };
        drop(state);
        // May wake others.
        drop(held);
        if let Some(item) = item {
            return Next::Item(item);
        }
        (self.slot, self.begun) = (None, false);
        Next::None
    }

    /// The position up to which everything has come.
    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// Asks for the next page behind `cursor`. One that says it is the last reaches `at_least`.
    pub(super) fn ask(
        &mut self,
        core: &Core,
        watcher: &Watcher,
        topics: Vec<(TopicKey, Arc<str>)>,
        cursor: u64,
        at_least: u64,
    ) {
        let (Some(journal), Some((topic, _))) = (&core.journal, topics.first()) else { return };
        let slot = Arc::new(Slot {
            state: Mutex::new(SlotState::default()),
            watcher: watcher.clone(),
            topic: *topic,
        });
        let names: Vec<Arc<str>> = topics.into_iter().map(|(_, name)| name).collect();
        let (epoch, now) = (core.config.epoch.clone(), core.now());
        let (wanted, answered, by_name) = (Arc::downgrade(&slot), Arc::downgrade(&slot), names.clone());
        let answer = move |page: Result<StoredPage, JournalError>| {
            // Nobody renders for a reader that has gone.
            let Some(slot) = answered.upgrade() else { return Lent::new(None) };
            let page = page.and_then(|page| render(page, &by_name, &epoch, now, at_least));
            let mut state = slot.state.lock();
            state.page = page.map_or(Page::Failed, Page::There);
            let token = state.token;
            drop(state);
            slot.watcher.arrive(slot.topic, token);
            Lent::new(Some(Box::new(move || {
                let Some(slot) = answered.upgrade() else { return };
                slot.take_back();
            })))
        };
        // Kept until the page has come to the reader: it may have to be asked for again.
        let from = self.first.clone().unwrap_or(ReadFrom::After(cursor));
        let is_wanted = Box::new(move || wanted.strong_count() > 0);
        (self.slot, self.begun) = (Some(slot), false);
        journal.read(ReadRequest::new(names, from, at_least, is_wanted, Box::new(answer)));
    }
}

impl Slot {
    fn take_back(&self) {
        let mut state = self.state.lock();
        // Nothing is left of one that is handed out, whose reader may be about to ask for the next.
        if !matches!(&state.page, Page::There(page) if !page.items.is_empty()) {
            return;
        }
        let taken = std::mem::replace(&mut state.page, Page::TakenBack);
        drop(state);
        // What it holds may wake others.
        drop(taken);
    }
}

impl Item {
    /// Everything up to here has come with it.
    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Frame(frame) => frame.seq(),
            Self::Gap(gap) => gap.last,
            Self::Gone(seq, _) => *seq,
        }
    }
}

/// Turns a page into what is handed out, gaps and events by position.
fn render(
    page: StoredPage,
    names: &[Arc<str>],
    epoch: &Epoch,
    now: Timestamp,
    at_least: u64,
) -> Result<Rendered, JournalError> {
    if !page.more && page.through < at_least {
        // Asking again would go on for ever.
        return Err(JournalError::Failed("the store has not got what the engine gave it".into()));
    }
    let mut items = VecDeque::with_capacity(page.events.len() + page.gaps.len());
    let gaps = page.gaps.into_iter().map(|gap| (gap.first, Item::Gap(gap)));
    let gone = page.gone.into_iter().map(|(seq, topic)| (seq, Item::Gone(seq, topic)));
    let mut missing: Vec<(u64, Item)> = gaps.chain(gone).collect();
    missing.sort_by_key(|(first, _)| *first);
    let mut missing = missing.into_iter().peekable();
    for (seq, draft) in page.events {
        while let Some((_, item)) = missing.next_if(|(first, _)| *first < seq) {
            items.push_back(item);
        }
        if let Some(topic) = names.iter().find(|name| ***name == *draft.topic) {
            let frame = NewFrame::render(Arc::clone(topic), &draft, now).seal(epoch, seq).stored();
            items.push_back(Item::Frame(frame));
        }
    }
    items.extend(missing.map(|(_, item)| item));
    Ok(Rendered {
        held: page.held.filter(|_| !items.is_empty()),
        after: page.after,
        unknown: page.unknown,
        items,
        through: page.through,
    })
}
