//! Entering and leaving topics, and where reading starts.

use super::entry::Entry;
use super::filter::Filter;
use super::pull::{Arrival, State};
use super::{LagPolicy, Start, SubscribeError, SubscribeOptions};
use crate::core::Core;
use crate::draft::{Draft, Field, InvalidField, Reason, check_client, check_event_type, check_topic};
use crate::fanout::Watcher;
use crate::handler::{Chain, Fault, HandlerError, Held, Visitor};
use crate::history::{Found, Refused, Ring};
use crate::journal::{Journal, ReadFrom};
use crate::sync::Arc;
use crate::time::Timestamp;
use crate::topic::Topic;
use crate::wire::NewFrame;

/// Longest id that a reader may ask to resume after, in bytes; it is repeated in the gap notice.
const MAX_REQUESTED_BYTES: usize = 1024;

/// Enters the topics of `options` and resolves the start.
pub(super) fn open(
    core: &Core,
    watcher: &Watcher,
    options: &SubscribeOptions<'_>,
    now: Timestamp,
) -> Result<State, SubscribeError> {
    let names = check(core, options)?;
    let conflate = options.lag == LagPolicy::Conflate;
    loop {
        let topics = find(core, &names, now)?;
        for topic in &topics {
            topic.interests.register(watcher);
        }
        let mut log = core.log.lock();
        let pinned = topics.iter().take_while(|topic| log.pin(topic.key, conflate)).count();
        if pinned < topics.len() {
            // Freed between look-up and here: give all back and look again.
            let unpin = |topic: &Arc<Topic>| log.unpin(topic.key, conflate, now);
            let kept: Vec<_> = topics[..pinned].iter().map(unpin).collect();
            drop(log);
            drop(kept);
            for topic in &topics {
                topic.interests.unregister(watcher);
            }
            continue;
        }
        let newest = log.newest();
        let place = match &options.start {
            Start::After(id) => resume(core, id, |topic, id| log.find_own_id(topic.key, id), &topics, newest),
            start => Place { start: start.clone(), gap: None },
        };
        drop(log);
        let state = state(options, topics, place, newest, core.journal.as_deref());
        if state.is_finished() {
            for topic in state.topics() {
                leave(core, watcher, topic, options.lag);
            }
            return Err(SubscribeError::Closed);
        }
        return Ok(state);
    }
}

/// Asks the handlers of the topics about a reader, then opens; who is greeted reads on from there.
pub(super) fn open_asking(
    core: &Core,
    chain: &Chain,
    watcher: &Watcher,
    options: &SubscribeOptions<'_>,
    client: Option<&str>,
    now: Timestamp,
) -> Result<State, SubscribeError> {
    let visitor = Visitor {
        topics: check(core, options)?,
        events: options.events.iter().map(|event| &**event).collect(),
        client,
        last_event_id: match &options.start {
            Start::After(id) => Some(&**id),
            _ => None,
        },
    };
    let mut held = Held::default();
    let greeting = chain.welcome(&visitor, &core.config, now, &mut held)?;
    if greeting.is_none() && !held.has_state() {
        drop(held);
        return open(core, watcher, options, now);
    }
    let greeted = SubscribeOptions { start: Start::Live, ..options.clone() };
    let mut state = open(core, watcher, if greeting.is_some() { &greeted } else { options }, now)?;
    if let Err(error) = keep(core, held, now) {
        for topic in state.topics() {
            leave(core, watcher, topic, options.lag);
        }
        return Err(error.into());
    }
    let Some(greeting) = greeting else { return Ok(state) };
    let (epoch, seq) = (&core.config.epoch, state.cursor());
    let rendered = |draft: Draft<'static>| NewFrame::render(draft.topic.as_ref().into(), &draft, now);
    state.greet(greeting.into_iter().map(|draft| rendered(draft).seal(epoch, seq)));
    Ok(state)
}

/// Commits what handlers that were asked about a reader have changed in their state.
fn keep(core: &Core, held: Held<'_>, now: Timestamp) -> Result<(), HandlerError> {
    let states = core.journal.as_ref().map_or_else(Vec::new, |_| held.changes());
    let Some(first) = states.first() else {
        held.commit();
        return Ok(());
    };
    let failed = |reason: &dyn std::fmt::Display| HandlerError::Failed {
        handler: first.name.to_string(),
        fault: Fault(format!("its state could not be stored: {reason}")),
    };
    match core.log.commit(&mut [], &[], &states, now) {
        Ok(done) => {
            held.commit();
            core.log.settle(done).map_err(|error| failed(&error))
        }
        Err(Refused::NotStored(reason)) => Err(failed(&reason)),
        Err(refused @ (Refused::Closed | Refused::Freed)) => Err(failed(&format_args!("{refused:?}"))),
    }
}

/// Enters one more topic, to be read from now on.
pub(super) fn add(
    core: &Core,
    watcher: &Watcher,
    name: &str,
    lag: LagPolicy,
    now: Timestamp,
    state: &mut State,
) -> Result<Arc<Topic>, SubscribeError> {
    let conflate = lag == LagPolicy::Conflate;
    loop {
        let topic = find(core, &[name], now)?.remove(0);
        if topic.ring.is_closed() {
            return Err(SubscribeError::Closed);
        }
        topic.interests.register(watcher);
        let mut log = core.log.lock();
        if log.pin(topic.key, conflate) {
            let (next, newest) = (topic.ring.tail(), log.newest());
            drop(log);
            state.push(Entry::late(Arc::clone(&topic), next, newest));
            return Ok(topic);
        }
        drop(log);
        topic.interests.unregister(watcher);
    }
}

/// Leaves a topic.
pub(super) fn leave(core: &Core, watcher: &Watcher, topic: &Topic, lag: LagPolicy) {
    topic.interests.unregister(watcher);
    // Dropped when the log is unlocked.
    let _kept = core.log.lock().unpin(topic.key, lag == LagPolicy::Conflate, core.now());
}

/// Checks every field; returns the topics without repetition.
fn check<'o>(core: &Core, options: &'o SubscribeOptions<'_>) -> Result<Vec<&'o str>, SubscribeError> {
    let mut names: Vec<&str> = Vec::with_capacity(options.topics.len());
    for name in &options.topics {
        check_topic(name)?;
        if !names.contains(&&**name) {
            names.push(name);
        }
        let limit = core.config.limits.topics_per_stream;
        if names.len() > limit as usize {
            return Err(SubscribeError::TooManyTopics { limit });
        }
    }
    if names.is_empty() {
        return Err(SubscribeError::NoTopics);
    }
    if let Some(client) = &options.client {
        check_client(client)?;
    }
    for event in &options.events {
        check_event_type(event)?;
    }
    if let Start::After(id) = &options.start {
        let reason = match id.len() {
            0 => Some(Reason::Empty),
            n if n > MAX_REQUESTED_BYTES => Some(Reason::TooLong(MAX_REQUESTED_BYTES)),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(InvalidField::new(Field::LastEventId, reason).into());
        }
    }
    Ok(names)
}

/// Finds or opens all topics, or none.
fn find(core: &Core, names: &[&str], now: Timestamp) -> Result<Vec<Arc<Topic>>, SubscribeError> {
    let full = SubscribeError::TopicLimit { limit: core.config.limits.topics };
    if core.directory.without_room(names.iter().copied()).is_some() {
        return Err(full);
    }
    names.iter().map(|name| core.directory.open(name, &core.log, now).map_err(|_| full.clone())).collect()
}

/// A start that needs no look-up any more, and what must be told first.
struct Place<'a> {
    start: Start<'a>,
    /// The id that could not be honoured.
    gap: Option<&'a str>,
}

/// Resolves an id: one of this epoch's positions, or the publisher's id of exactly one retained event. `Start::After` is
/// left for an id that the journal may know.
fn resume<'a, E>(
    core: &Core,
    id: &'a str,
    find: impl Fn(&Topic, &str) -> Result<Option<u64>, E>,
    topics: &[Arc<Topic>],
    newest: u64,
) -> Place<'a> {
    let unknown = Place { start: Start::All, gap: Some(id) };
    // What the journal has is not missed, and what it has not, it tells.
    let missed = |seq| core.journal.is_none() && topics.iter().any(|topic| topic.ring.lost_through() > seq);
    if let Some(seq) = core.config.epoch.sequence_of(id) {
        if seq > newest {
            return unknown;
        }
        return Place { start: Start::Position(seq), gap: missed(seq).then_some(id) };
    }
    let mut found = None;
    for topic in topics {
        match find(topic, id) {
            Ok(None) => {}
            Ok(Some(seq)) if found.is_none() => found = Some(seq),
            Ok(Some(_)) | Err(_) => return unknown,
        }
    }
    match found {
        // The event itself is retained, so nothing after it is lost in its own topic; others are compared as above.
        Some(seq) => Place { start: Start::Position(seq), gap: missed(seq).then_some(id) },
        None if core.journal.is_some() && topics.iter().any(|topic| topic.ring.lost_through() > 0) => {
            Place { start: Start::After(id.into()), gap: None }
        }
        None => unknown,
    }
}

/// Makes the cursor. `newest` is the hub's newest position when the topics were entered.
fn state(
    options: &SubscribeOptions<'_>,
    topics: Vec<Arc<Topic>>,
    place: Place<'_>,
    newest: u64,
    journal: Option<&dyn Journal>,
) -> State {
    let filter = Filter::new(&options.events, options.client.as_deref());
    let (cursor, from) = match &place.start {
        Start::Live => (newest, ReadFrom::After(newest)),
        Start::All => (0, ReadFrom::After(0)),
        Start::After(id) => (0, ReadFrom::AfterId((**id).into())),
        Start::Last(n) => (before_last(*n, &topics, &filter, newest), ReadFrom::Last(*n)),
        Start::Position(seq) => ((*seq).min(newest), ReadFrom::After((*seq).min(newest))),
    };
    let from_journal = journal.is_some()
        && match &options.start {
            Start::Live | Start::Last(0) => false,
            Start::All | Start::After(_) | Start::Last(_) => true,
            // A reader that fell behind, and may choose not to be told all.
            Start::Position(_) => options.lag == LagPolicy::Disconnect,
        };
    let lost = topics.iter().any(|topic| match &options.start {
        // What is found in the rings may be fewer than were wanted.
        Start::Last(n) => {
            let lost = topic.ring.lost_through();
            lost > cursor || lost > 0 && count_after(cursor, &topics, &filter, newest) < *n
        }
        _ => topic.ring.lost_through() > cursor,
    });
    if from_journal && lost {
        let arrival = arrival(&options.start, newest);
        let is_read = |journal: &dyn Journal| {
            let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
            journal.is_read_to_end(&names, &from, !matches!(arrival, Arrival::FirstVisit { .. }))
        };
        let over = |topic: &Arc<Topic>| topic.ring.is_closed() && topic.ring.len() == 0;
        if place.gap.is_none() && topics.iter().all(over) && journal.is_some_and(is_read) {
            // Closed in an earlier life of the hub, and not even the journal has more.
            let ended = |topic: Arc<Topic>| {
                let tail = topic.ring.tail();
                Entry::new(topic, tail, newest)
            };
            return State::new(newest, topics.into_iter().map(ended).collect(), filter, None, arrival);
        }
        let entries = topics.into_iter().map(|topic| Entry::new(topic, 0, 0)).collect();
        let cursor = if matches!(from, ReadFrom::Last(_)) { 0 } else { cursor };
        return State::new(cursor, entries, filter, place.gap, arrival).with_journal(Some(from));
    }
    // A first visit misses nothing, and what an id has missed is told by the notice that is due already.
    let told = |topic: &Topic| match (&options.start, place.gap) {
        (Start::Position(_), _) => 0,
        (Start::After(_), None) => 0,
        _ => topic.ring.lost_through(),
    };
    let entries = topics
        .into_iter()
        .map(|topic| {
            let told = told(&topic);
            // Not below `told`: an event that is just being evicted may still stand there.
            let next = topic.ring.first_after(cursor.max(told));
            Entry::new(topic, next, told)
        })
        .collect();
    let state = State::new(cursor, entries, filter, place.gap, arrival(&options.start, newest));
    if from_journal { state.with_journal(None) } else { state }
}

fn arrival(start: &Start<'_>, newest: u64) -> Arrival {
    match start {
        Start::Live | Start::All | Start::Last(_) => Arrival::FirstVisit { newest },
        Start::After(_) => Arrival::Resuming,
        Start::Position(_) => Arrival::Present,
    }
}

/// How many events after a position the rings hold that pass the filter.
fn count_after(seq: u64, topics: &[Arc<Topic>], filter: &Filter, newest: u64) -> u64 {
    let all = topics.iter().flat_map(|topic| last_of(usize::MAX, &topic.ring, filter, newest));
    all.filter(|found| *found > seq).count() as u64
}

/// The position before the last `n` events up to `newest` that pass the filter.
fn before_last(n: u64, topics: &[Arc<Topic>], filter: &Filter, newest: u64) -> u64 {
    if n == 0 {
        return newest;
    }
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let mut last: Vec<u64> =
        topics.iter().flat_map(|topic| last_of(n, &topic.ring, filter, newest)).collect();
    last.sort_unstable_by(|a, b| b.cmp(a));
    last.truncate(n);
    last.last().map_or(newest, |seq| seq - 1)
}

fn last_of(n: usize, ring: &Ring, filter: &Filter, newest: u64) -> Vec<u64> {
    let (head, tail) = ring.bounds();
    let mut found = Vec::new();
    for index in (head..tail).rev() {
        match ring.get(index) {
            Found::Frame(frame) if frame.seq() <= newest && filter.passes(&frame) => found.push(frame.seq()),
            Found::Frame(_) | Found::NotYet => {}
            Found::Gone => break,
        }
        if found.len() == n {
            break;
        }
    }
    found
}
