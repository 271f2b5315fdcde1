//! Space given back inside of full files: events that a rule lets go, or that were deleted with their topic.
//!
//! A file half of which has gone, or that has a deleted event, is written anew without them: head, marks `GONE` where a
//! topic's events were (the first and the last of them, so that a reader from anywhere before is told), what stays with its
//! positions, and a mark `END`. It takes the old one's place by a rename; its generation keeps the old index from passing
//! for its own. Positions do not change, so neighbours and readers need not know. A file with damage stays as it is.
//!
//! How many newer events a topic has is known from the indexes alone, file by file from the newest to the oldest; what goes in one
//! is gone before the next is looked at, so memory is that of one file. Names are looked up once for each topic and kept as the
//! number of a rule: some 17 to 34 bytes a topic while there are rules with limits, and during a look twice as much more.
//!
//! When all files have been gone through, none has an event of what was deleted before, and the marks in memory that hid them go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::{Entry, Index, IndexFile, Lists, Summary, hash, hash_gone, hash_id};
use crate::meta::{put_in_place, replace_prepared};
use crate::pages::{Content, Segment};
use crate::record::{END, EVENT, GONE, HEAD, names_of, write_again, write_end, write_gone};
use crate::rules::Rules;
use crate::segment::{MAX_GENERATION, Reader, SEGMENT_HEAD, SegmentHead, index_name, log_name};
use crate::state::State;
use crate::writer::Files;

/// How often files are looked at for age alone.
const AGE_MS: u64 = 60_000;
/// Says that a topic has no rule.
const NO_RULE: u32 = u32::MAX;

/// What was looked at, and when.
#[derive(Default)]
pub(crate) struct Compactor {
    /// Number of a topic's rule, by the topic's hash.
    rules: HashMap<u64, u32>,
    /// How far the newest file was, deletions and time of the last look.
    looked: Option<(u64, u64, u64)>,
}

/// How many of a topic's oldest events in a file go, by the topic's hash.
pub(crate) type Plan = HashMap<u64, u64>;

/// What a topic has in newer files.
#[derive(Clone, Copy, Default)]
struct Newer {
    /// [`FULL`] if it has all that it may keep.
    bytes: u64,
    events: u32,
}

const FULL: u64 = u64::MAX;

/// A look at all files.
pub(crate) struct Round<'a> {
    files: &'a Files,
    rules: &'a Rules,
    now_ms: u64,
    segment_bytes: u64,
    /// Files that are still to be looked at, the newest last.
    left: Vec<Arc<Segment>>,
    newer: HashMap<u64, Newer>,
    /// Topics, their hashes and through where they were deleted.
    deleted: Vec<(String, u64, u64)>,
    /// Deleted events from this position on may be in a file that stays as it is.
    kept_from: u64,
    /// How many lists of topics there are in all files.
    topics: u64,
    looked: (u64, u64, u64),
}

/// What is to be done with a file.
pub(crate) struct Task {
    segment: Arc<Segment>,
    plan: Plan,
    /// It is the one being written, and has to be ended before.
    pub(crate) is_open: bool,
}

impl Compactor {
    /// Begins to look at all files; none if nothing has changed since the last look.
    pub(crate) fn begin<'a>(
        &self,
        files: &'a Files,
        rules: &'a Rules,
        now_ms: u64,
        segment_bytes: u64,
    ) -> Option<Round<'a>> {
        // Before the files: when a deletion is known, the events before it are in one of them.
        let deleted: Vec<_> = {
            let state = files.state.read();
            let topics = state.topics.iter().filter(|(_, topic)| topic.deleted_through > 0);
            topics
                .map(|(name, topic)| (name.clone(), hash(name, files.salt), topic.deleted_through))
                .collect()
        };
        let left = files.segments.read().clone();
        // Looked at again with each file, and with each eighth of one.
        let step = (segment_bytes / 8).max(1);
        let newest = left.last().map_or(0, |last| last.head.number * 16 + last.summary().end / step);
        let looked = (newest, sum(&deleted), now_ms);
        let same = |(file, deletions, at): (u64, u64, u64)| {
            (file, deletions) == (newest, looked.1) && (now_ms.saturating_sub(at) < AGE_MS || !rules.age())
        };
        if self.looked.is_some_and(same) || (deleted.is_empty() && !rules.limit()) {
            return None;
        }
        let (newer, kept_from) = (HashMap::new(), u64::MAX);
        Some(Round {
            files,
            rules,
            now_ms,
            segment_bytes,
            left,
            newer,
            deleted,
            kept_from,
            topics: 0,
            looked,
        })
    }

    /// The next file that has something to be done.
    pub(crate) fn next(&mut self, round: &mut Round<'_>) -> Result<Option<Task>> {
        while let Some(segment) = round.left.pop() {
            let summary = segment.summary();
            let is_open = matches!(segment.content, Content::Open { .. });
            let is_deleted = round.deleted.iter().any(|(_, _, through)| *through >= summary.first);
            if !round.rules.limit() && !is_deleted {
                continue;
            }
            if !summary.damages.is_empty() || segment.head.generation == MAX_GENERATION {
                round.keep(&summary);
                continue;
            }
            let Some(mut look) = Look::new(round.files, &segment, &summary)? else {
                // Without its index a file waits for the next opening, which makes it again.
                round.keep(&summary);
                continue;
            };
            round.topics += look.lists.len() as u64;
            let mut plan = Plan::new();
            let mut half = false;
            if round.rules.limit() {
                let dead = look.limited(round, &mut self.rules, &mut plan)?;
                let size = summary.end - SEGMENT_HEAD;
                half = dead * 2 >= size && dead > 0 && (!is_open || size >= round.segment_bytes / 8);
                if !half {
                    plan.clear();
                }
            }
            let is_deleted = is_deleted && look.deleted(round, &mut plan)?;
            if half || is_deleted {
                return Ok(Some(Task { segment, plan, is_open }));
            }
        }
        Ok(None)
    }

    /// Writes a full file anew; returns how many bytes that gives back.
    pub(crate) fn apply(&mut self, round: &mut Round<'_>, task: Task) -> Result<u64> {
        let number = task.segment.head.number;
        let files = round.files;
        let segment = files.segments.read().iter().find(|segment| segment.head.number == number).cloned();
        let Some(segment) = segment.filter(|segment| matches!(segment.content, Content::Sealed(_))) else {
            round.keep(&task.segment.summary());
            return Ok(0);
        };
        let before = segment.summary();
        let done = rewrite(files, &segment, &before, task.plan);
        if done.is_err() {
            // To be tried again with the next look.
            self.looked = None;
        }
        done.map(|end| before.end.saturating_sub(end))
    }

    /// Ends a look that has come to the last file.
    pub(crate) fn end(&mut self, round: Round<'_>) {
        let Round { files, deleted, kept_from, topics, mut looked, .. } = round;
        if self.rules.len() as u64 > topics {
            // Most of them have no event any more.
            self.rules = HashMap::new();
        }
        let (kept, done): (Vec<_>, Vec<_>) =
            deleted.into_iter().partition(|(_, _, through)| *through >= kept_from);
        if !done.is_empty() {
            // Who reads a file as it was before needs the marks until he has read it.
            let _alone = files.replacing.write();
            let mut state = files.state.write();
            done.iter().for_each(|(name, _, through)| state.cleared(name, *through));
        }
        looked.1 = sum(&kept);
        self.looked = Some(looked);
    }
}

/// Tells one set of deletions from another.
fn sum(deleted: &[(String, u64, u64)]) -> u64 {
    deleted.iter().fold(0, |sum, (_, _, through)| sum.wrapping_add(*through))
}

impl Round<'_> {
    /// Notes that a file may keep what was deleted.
    fn keep(&mut self, summary: &Summary) {
        self.kept_from = self.kept_from.min(summary.first);
    }
}

/// A look at one file.
struct Look<'a> {
    summary: &'a Summary,
    reader: Reader<'a>,
    lists: Lists,
}

impl<'a> Look<'a> {
    /// None if the file's index cannot be used.
    fn new(files: &'a Files, segment: &'a Segment, summary: &'a Summary) -> Result<Option<Self>> {
        let path = files.dir.join(log_name(summary.number));
        let (lists, file) = match &segment.content {
            Content::Open { index, file } => (index.read().lists(), Arc::clone(file)),
            Content::Sealed(_) => {
                let index_path = files.dir.join(index_name(summary.number));
                let index = IndexFile::open(&*files.disk, &index_path, summary.key())?;
                let Some(lists) = index.and_then(|(index, _)| index.lists()) else { return Ok(None) };
                (lists, Reader::open(&*files.disk, &files.dir, summary.number)?.0.into())
            }
        };
        let reader = Reader::shared(file, &path, files.salt, summary.end);
        Ok(Some(Self { summary, reader, lists }))
    }

    /// Adds what rules let go; returns its bytes.
    fn limited(
        &mut self,
        round: &mut Round<'_>,
        known: &mut HashMap<u64, u32>,
        plan: &mut Plan,
    ) -> Result<u64> {
        let Self { summary, reader, lists } = self;
        let all = lists.sorted();
        let size = |offset: u32| {
            let next = all.partition_point(|other| *other <= offset);
            all.get(next).map_or(summary.end, |next| u64::from(*next)) - u64::from(offset)
        };
        // In the order of the file, so that it is read once at most.
        let mut unknown: Vec<_> = lists.iter().filter(|(topic, _)| !known.contains_key(topic)).collect();
        unknown.sort_unstable_by_key(|(_, offsets)| offsets.first().copied());
        for (topic, offsets) in unknown {
            let Some(first) = offsets.first() else { continue };
            let found = reader.at((*first).into())?;
            let name = found.filter(|found| found.head.kind == EVENT).and_then(|found| names_of(found.body));
            let rule = name.and_then(|(topic, _)| round.rules.limit_of(topic));
            known.insert(topic, rule.and_then(|rule| u32::try_from(rule).ok()).unwrap_or(NO_RULE));
        }
        let mut dead = 0;
        for (topic, offsets) in lists.iter() {
            let rule = known.get(&topic).copied().unwrap_or(NO_RULE);
            let Some(rule) = round.rules.get(rule as usize) else { continue };
            let newer = round.newer.entry(topic).or_default();
            if rule.age_ms != 0 && summary.newest_ms < round.now_ms.saturating_sub(rule.age_ms) {
                newer.bytes = FULL;
            }
            let mut gone = offsets.len();
            for offset in offsets.iter().rev() {
                let size = size(*offset);
                if rule.events != 0 && u64::from(newer.events) >= rule.events
                    || rule.bytes != 0 && newer.bytes.saturating_add(size) > rule.bytes && newer.events > 0
                {
                    newer.bytes = FULL;
                }
                if newer.bytes == FULL {
                    break;
                }
                newer.events = newer.events.saturating_add(1);
                newer.bytes += size;
                gone -= 1;
            }
            if gone > 0 {
                plan.insert(topic, gone as u64);
                dead += offsets[..gone].iter().map(|offset| size(*offset)).sum::<u64>();
            }
        }
        Ok(dead)
    }

    /// Adds what was deleted with its topic; whether there is anything.
    fn deleted(&mut self, round: &mut Round<'_>, plan: &mut Plan) -> Result<bool> {
        let (mut any, mut unclear) = (false, false);
        for (_, topic, through) in
            round.deleted.iter().filter(|(_, _, through)| *through >= self.summary.first)
        {
            let Some(offsets) = self.lists.get(*topic) else { continue };
            let (mut low, mut high) = (0, offsets.len());
            while low < high {
                let middle = low.midpoint(high);
                let found = self.reader.at(offsets[middle].into())?;
                unclear |= found.is_none();
                if found.is_some_and(|found| found.head.position <= *through) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            if low > 0 {
                any = true;
                let gone = plan.entry(*topic).or_default();
                *gone = (*gone).max(low as u64);
            }
        }
        if unclear {
            round.keep(self.summary);
        }
        Ok(any)
    }
}

/// A file that is being made.
struct Anew {
    bytes: Vec<u8>,
    index: Index,
    salt: u64,
}

impl Anew {
    fn entry(&self, position: u64, at_ms: u64, topic: u64, id: Option<u64>) -> Entry {
        Entry { position, at_ms, topic, id, offset: self.bytes.len() }
    }

    fn gone(&mut self, topic: &str, position: u64, at_ms: u64) {
        let entry = self.entry(position, at_ms, hash_gone(topic, self.salt), None);
        self.index.gone(entry, entry.offset as u32);
        write_gone(&mut self.bytes, topic, position, at_ms, self.salt as u32);
    }
}

/// Puts a file in the place of one, without what goes; returns its length.
fn rewrite(files: &Files, segment: &Segment, before: &Summary, mut plan: Plan) -> Result<u64> {
    let (disk, dir, salt) = (&*files.disk, &*files.dir, files.salt);
    let head = SegmentHead { generation: segment.head.generation + 1, ..segment.head };
    let covered = State::newest(disk, dir)?.is_some_and(|snapshot| before.number < snapshot);
    let (file, path) = Reader::open(disk, dir, before.number)?;
    let mut reader = Reader::new(&*file, &path, salt, before.end);
    let mut anew = Anew { bytes: head.bytes(salt), index: Index::new(before.number, SEGMENT_HEAD), salt };
    anew.index.summary.generation = head.generation;
    let (mut at, mut told, mut going) = (SEGMENT_HEAD, HashSet::new(), HashSet::new());
    going.extend(plan.keys().copied());
    while at < before.end {
        let Some(found) = reader.at(at)? else {
            return Err(Error::corrupt(&path, at, "a record is damaged, so the file is not written anew"));
        };
        at += (HEAD + found.body.len()) as u64;
        let (position, at_ms) = (found.head.position, found.head.at_ms);
        match (found.head.kind, names_of(found.body)) {
            (EVENT, Some((topic, id))) => {
                let key = hash(topic, salt);
                if let Some(left) = plan.get_mut(&key).filter(|left| **left > 0) {
                    *left -= 1;
                    let is_last = *left == 0;
                    if told.insert(key) || is_last {
                        anew.gone(topic, position, at_ms);
                    }
                    continue;
                }
                let entry = anew.entry(position, at_ms, key, id.map(|id| hash_id(topic, id, salt)));
                anew.index.event(entry, entry.offset as u32);
                write_again(&mut anew.bytes, found.head, found.body, salt as u32);
            }
            (GONE, Some((topic, _))) => {
                let key = hash(topic, salt);
                // The second of two, if there will be a later one.
                if told.insert(key) || !going.contains(&key) {
                    anew.gone(topic, position, at_ms);
                }
            }
            (END, _) => {}
            // What is in a snapshot of the state need not be here.
            _ if covered => {}
            _ => {
                anew.index.summary.changes += 1;
                write_again(&mut anew.bytes, found.head, found.body, salt as u32);
            }
        }
    }
    let last = before.last.max(head.previous_last);
    write_end(&mut anew.bytes, before.first, last, before.newest_ms, salt as u32);
    let summary = &mut anew.index.summary;
    (summary.first, summary.last) = (before.first, last);
    (summary.newest_ms, summary.end) = (before.newest_ms, anew.bytes.len() as u64);
    let summary = summary.clone();
    let name = log_name(before.number);
    let prepared = replace_prepared(disk, dir, &name, &anew.bytes)?;
    let _alone = files.replacing.write();
    put_in_place(disk, dir, &name, &prepared)?;
    for segment in files.segments.write().iter_mut() {
        if segment.head.number == before.number {
            *segment = Arc::new(Segment { head, content: Content::Sealed(summary.clone()) });
        }
    }
    anew.index.write(disk, dir, &index_name(before.number))?;
    Ok(summary.end)
}
