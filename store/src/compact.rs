//! Space given back inside of full files: events that a rule lets go, or that were deleted with their topic.
//!
//! A file half of which has gone, or that has a deleted event, is written anew without them: head, marks `GONE` where a
//! topic's events were (the first and the last of them, so that a reader from anywhere before is told), what stays with its
//! positions, and a mark `END`. It takes the old one's place by a rename; its generation keeps the old index from passing
//! for its own. Positions do not change, so neighbours and readers need not know. A file with damage stays as it is.
//!
//! How many newer events a topic has is known from the indexes alone, from the newest file to the oldest. Names are looked up once
//! for each topic and kept as the number of a rule: some 16 bytes a topic while there are rules with limits.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::index::{Entry, Index, IndexFile, Summary, hash, hash_gone, hash_id};
use crate::meta::{put_in_place, replace_prepared};
use crate::pages::{Content, Segment};
use crate::record::{END, EVENT, GONE, HEAD, names_of, write_again, write_end, write_gone};
use crate::rules::Rules;
use crate::segment::{MAX_GENERATION, Reader, SEGMENT_HEAD, SegmentHead, index_name, log_name};
use crate::state::State;
use crate::writer::Files;

/// How often files are looked at for age alone.
const AGE_MS: u64 = 60_000;

/// What was looked at, and when.
#[derive(Default)]
pub(crate) struct Compactor {
    /// Rule of a topic, by its hash.
    rules: HashMap<u64, Option<usize>>,
    /// How far the newest file was, deletions and time of the last look.
    looked: Option<(u64, u64, u64)>,
}

/// How many of a topic's oldest events in a file go, by the topic's hash.
type Plan = HashMap<u64, u64>;

/// What a topic has in newer files.
#[derive(Clone, Copy, Default)]
struct Newer {
    events: u64,
    bytes: u64,
    /// It has all that it may keep.
    full: bool,
}

impl Compactor {
    /// What goes in which file. Nothing if nothing has changed since the last look.
    pub(crate) fn plan(
        &mut self,
        files: &Files,
        rules: &Rules,
        now_ms: u64,
        segment_bytes: u64,
    ) -> Result<Vec<(u64, Plan, bool)>> {
        let segments = files.segments.read().clone();
        // Looked at again with each file, and with each eighth of one.
        let step = (segment_bytes / 8).max(1);
        let newest = segments.last().map_or(0, |last| last.head.number * 16 + last.summary().end / step);
        let deleted: Vec<(String, u64)> = {
            let state = files.state.read();
            let topics = state.topics.iter().filter(|(_, topic)| topic.deleted_through > 0);
            topics.map(|(name, topic)| (name.clone(), topic.deleted_through)).collect()
        };
        let deletions = deleted.iter().fold(0, |sum: u64, (_, through)| sum.wrapping_add(*through));
        let look = (newest, deletions, now_ms);
        let same = |(file, sum, at): (u64, u64, u64)| {
            file == newest && sum == deletions && (now_ms.saturating_sub(at) < AGE_MS || !rules.age())
        };
        if self.looked.is_some_and(same) || (deleted.is_empty() && !rules.limit()) {
            return Ok(Vec::new());
        }
        let _whole = files.replacing.read();
        let mut newer = HashMap::new();
        let mut plans = Vec::new();
        for segment in segments.iter().rev() {
            let summary = segment.summary();
            let is_open = matches!(segment.content, Content::Open { .. });
            if !summary.damages.is_empty() || segment.head.generation == MAX_GENERATION {
                continue;
            }
            let mut look = Look::new(files, segment, &summary)?;
            let mut plan = Plan::new();
            let mut half = false;
            if rules.limit() {
                let dead = look.limited(rules, &mut self.rules, &mut newer, now_ms, &mut plan)?;
                let size = summary.end - SEGMENT_HEAD;
                half = dead * 2 >= size && dead > 0 && (!is_open || size >= segment_bytes / 8);
                if !half {
                    plan.clear();
                }
            }
            let is_deleted = look.deleted(&deleted, &mut plan)?;
            if half || is_deleted {
                plans.push((summary.number, plan, is_open));
            }
        }
        self.looked = Some(look);
        Ok(plans)
    }

    /// Writes a full file anew; returns how many bytes that gives back.
    pub(crate) fn apply(&mut self, files: &Files, number: u64, plan: Plan) -> Result<u64> {
        let segment = files.segments.read().iter().find(|segment| segment.head.number == number).cloned();
        let Some(segment) = segment.filter(|segment| matches!(segment.content, Content::Sealed(_))) else {
            return Ok(0);
        };
        let before = segment.summary();
        let done = rewrite(files, &segment, &before, plan);
        if done.is_err() {
            // To be tried again with the next look.
            self.looked = None;
        }
        done.map(|end| before.end.saturating_sub(end))
    }
}

/// A look at one file.
struct Look<'a> {
    files: &'a Files,
    summary: &'a Summary,
    reader: Reader<'a>,
    lists: HashMap<u64, Vec<u32>>,
}

impl<'a> Look<'a> {
    fn new(files: &'a Files, segment: &'a Segment, summary: &'a Summary) -> Result<Self> {
        let path = files.dir.join(log_name(summary.number));
        let (lists, file) = match &segment.content {
            Content::Open { index, file } => (index.read().lists(), std::sync::Arc::clone(file)),
            Content::Sealed(_) => {
                let index_path = files.dir.join(index_name(summary.number));
                let index = IndexFile::open(&*files.disk, &index_path, summary.key())?;
                // Without its index a file waits for the next opening, which makes it again.
                let lists = index.and_then(|(index, _)| index.lists()).unwrap_or_default();
                (lists, Reader::open(&*files.disk, &files.dir, summary.number)?.0.into())
            }
        };
        let reader = Reader::shared(file, &path, files.salt, summary.end);
        Ok(Self { files, summary, reader, lists: lists.into_iter().collect() })
    }

    /// Adds what rules let go; returns its bytes.
    fn limited(
        &mut self,
        rules: &Rules,
        known: &mut HashMap<u64, Option<usize>>,
        newer: &mut HashMap<u64, Newer>,
        now_ms: u64,
        plan: &mut Plan,
    ) -> Result<u64> {
        let mut all: Vec<u32> = self.lists.values().flatten().copied().collect();
        all.sort_unstable();
        let size = |offset: u32| {
            let next = all.partition_point(|other| *other <= offset);
            all.get(next).map_or(self.summary.end, |next| u64::from(*next)) - u64::from(offset)
        };
        let mut dead = 0;
        for (topic, offsets) in &self.lists {
            let rule = match known.get(topic) {
                Some(rule) => *rule,
                None => {
                    let Some(first) = offsets.first() else { continue };
                    let found = self.reader.at((*first).into())?;
                    let name =
                        found.filter(|found| found.head.kind == EVENT).and_then(|found| names_of(found.body));
                    let rule = name.and_then(|(topic, _)| rules.limit_of(topic));
                    *known.entry(*topic).or_insert(rule)
                }
            };
            let Some(rule) = rule.and_then(|rule| rules.get(rule)) else { continue };
            let newer = newer.entry(*topic).or_default();
            newer.full |= rule.age_ms != 0 && self.summary.newest_ms < now_ms.saturating_sub(rule.age_ms);
            let mut gone = offsets.len();
            for offset in offsets.iter().rev() {
                let size = size(*offset);
                newer.full |= rule.events != 0 && newer.events >= rule.events
                    || rule.bytes != 0 && newer.bytes + size > rule.bytes && newer.events > 0;
                if newer.full {
                    break;
                }
                newer.events += 1;
                newer.bytes += size;
                gone -= 1;
            }
            if gone > 0 {
                plan.insert(*topic, gone as u64);
                dead += offsets[..gone].iter().map(|offset| size(*offset)).sum::<u64>();
            }
        }
        Ok(dead)
    }

    /// Adds what was deleted with its topic; whether there is anything.
    fn deleted(&mut self, deleted: &[(String, u64)], plan: &mut Plan) -> Result<bool> {
        let mut any = false;
        for (name, through) in deleted.iter().filter(|(_, through)| *through >= self.summary.first) {
            let topic = hash(name, self.files.salt);
            let Some(offsets) = self.lists.get(&topic) else { continue };
            let (mut low, mut high) = (0, offsets.len());
            while low < high {
                let middle = low.midpoint(high);
                let found = self.reader.at(offsets[middle].into())?;
                if found.is_some_and(|found| found.head.position <= *through) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            if low > 0 {
                any = true;
                let gone = plan.entry(topic).or_default();
                *gone = (*gone).max(low as u64);
            }
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
            *segment = std::sync::Arc::new(Segment { head, content: Content::Sealed(summary.clone()) });
        }
    }
    anew.index.write(disk, dir, &index_name(before.number))?;
    Ok(summary.end)
}
