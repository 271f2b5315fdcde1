//! Pages: events after a position, of all topics or of some, bounded in number and bytes.
//!
//! Readers take no lock that a publisher waits for, beyond the copying of a few offsets of the file being written. They
//! open the files they need and read them by offset, so retention may remove a file meanwhile: what it held is then told
//! as let go.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::index::{Damage, Index, IndexFile, Summary, hash, hash_gone, hash_id};
use crate::record::{Body, EVENT, Event, GONE, HEAD, names_of, read_body};
use crate::segment::{Reader, SEGMENT_HEAD, SegmentHead, index_name, scan};
use crate::state::TopicState;

/// Which topics are read.
#[derive(Clone, Copy, Debug)]
pub enum Topics<'a> {
    /// Every topic.
    All,
    /// These.
    Only(&'a [&'a str]),
}

/// Positions that cannot be read, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first position of the gap.
    pub first: u64,
    /// The last position of the gap.
    pub last: u64,
    /// Why it is there.
    pub cause: GapCause,
}

/// Why positions cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// Retention has let them go.
    LetGo,
    /// The process or machine stopped before they were on disk, as the durability allows.
    Unsynced,
    /// Their bytes are damaged, or the file is missing.
    Damaged,
}

/// An answer to a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Events in order of their positions.
    pub events: Vec<Event>,
    /// What is missing among them, in order. A gap may hold positions of other topics, or none of any.
    pub gaps: Vec<Gap>,
    /// Where events of a topic were that were deleted, or let go by a rule of the topic: one position each, of those that
    /// were read by name.
    pub gone: Vec<(u64, String)>,
    /// All there is up to this position is in this page or before it: where to go on.
    pub through: u64,
    /// There may be more behind `through`.
    pub more: bool,
}

/// How much a page may hold. At least one event is given whatever its size.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Events.
    pub events: usize,
    /// Bytes of data and names.
    pub bytes: usize,
}

/// A file of the log that readers can use.
pub(crate) struct Segment {
    pub(crate) head: SegmentHead,
    pub(crate) content: Content,
}

/// Where a file's index is.
pub(crate) enum Content {
    /// In a file of its own; the log file is full.
    Sealed(Summary),
    /// In memory.
    Open { index: Arc<RwLock<Index>>, file: Arc<dyn DiskFile> },
}

impl Segment {
    pub(crate) fn summary(&self) -> Summary {
        match &self.content {
            Content::Sealed(summary) => summary.clone(),
            Content::Open { index, .. } => index.read().summary.clone(),
        }
    }
}

/// Where pages are read.
pub(crate) struct Source<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) dir: &'a Path,
    pub(crate) salt: u64,
    pub(crate) segments: &'a [Arc<Segment>],
    /// Through here retention has let everything go.
    pub(crate) lost_through: u64,
    /// Positions up to here are of earlier openings.
    pub(crate) before: u64,
    pub(crate) topic_state: &'a dyn Fn(&str) -> Option<TopicState>,
}

impl Source<'_> {
    pub(crate) fn page(&self, topics: Topics<'_>, after: u64, limits: PageLimits) -> Result<Page> {
        let mut page = Page { through: after, ..Page::default() };
        let mut bytes = 0;
        page.gap(after + 1, self.lost_through, GapCause::LetGo);
        let mut previous: Option<(u64, u64)> = None;
        for segment in self.segments {
            let summary = segment.summary();
            let head = &segment.head;
            let last_before = previous.map_or(self.lost_through, |(_, last)| last);
            if previous.is_some_and(|(number, _)| number != head.previous) {
                page.gap(page.through.max(last_before) + 1, head.previous_last, GapCause::Damaged);
            }
            if head.risk && summary.first > 0 {
                page.gap(page.through.max(head.previous_last) + 1, summary.first - 1, GapCause::Unsynced);
            }
            previous = Some((head.number, summary.last.max(head.previous_last)));
            if summary.last <= page.through {
                continue;
            }
            let whole = self.segment(segment, &summary, topics, limits, &mut bytes, &mut page)?;
            if !whole {
                page.more = true;
                return Ok(page);
            }
            page.through = page.through.max(summary.last);
        }
        // Nothing has come since an unclean stop, but a reader may have seen what got lost then.
        if let Some(segment) = self.segments.last()
            && segment.head.risk
            && segment.summary().events == 0
        {
            page.gap(page.through.max(segment.head.previous_last) + 1, self.before, GapCause::Unsynced);
        }
        Ok(page)
    }

    /// Adds what a file has; false if the page is full before its end.
    fn segment(
        &self,
        segment: &Segment,
        summary: &Summary,
        topics: Topics<'_>,
        limits: PageLimits,
        bytes: &mut usize,
        page: &mut Page,
    ) -> Result<bool> {
        let opened;
        let (file, path) = match &segment.content {
            Content::Open { file, .. } => (&**file, self.dir.join(crate::segment::log_name(summary.number))),
            Content::Sealed(_) => {
                opened = Reader::open(self.disk, self.dir, summary.number)?;
                (&*opened.0, opened.1)
            }
        };
        let mut reader = Reader::new(file, &path, self.salt, summary.end);
        // Up to 64 offsets may lie between the mark before the position and the position itself.
        let limit = limits.events.saturating_sub(page.events.len()).saturating_add(65);
        let (from, offsets) = self.plan(segment, summary, topics, page.through, limit)?;
        let full = offsets.as_ref().is_some_and(|offsets| offsets.len() == limit);
        let begin = page.through;
        let mut damages = summary.damages.iter().filter(|d| d.before > begin + 1).peekable();
        let mut offsets = offsets.map(Vec::into_iter);
        let mut at = from;
        loop {
            match &mut offsets {
                Some(offsets) => match offsets.next() {
                    Some(offset) => at = offset.into(),
                    None => break,
                },
                None if at >= summary.end => break,
                None => {}
            }
            while let Some(damage) = damages.next_if(|damage| damage.from <= at) {
                page.damage(damage);
                if offsets.is_none() {
                    at = at.max(damage.to);
                }
            }
            let Some(found) = reader.at(at)? else {
                if at >= summary.end {
                    break;
                }
                let after = page.through;
                let next = reader.next_after_damage(at + 1, after)?;
                let (to, before) =
                    next.map_or((summary.end, summary.last + 1), |(to, head)| (to, head.position));
                page.damage(&Damage { from: at, to, after, before });
                at = to;
                continue;
            };
            let (head, size) = (found.head, (HEAD + found.body.len()) as u64);
            if head.kind == GONE
                && head.position > page.through
                && let Some((topic, _)) = names_of(found.body)
                && matches!(topics, Topics::Only(names) if names.contains(&topic))
            {
                page.through = head.position;
                page.gone(head.position, topic);
            }
            if head.kind == EVENT && head.position > page.through {
                if page.events.len() >= limits.events || (*bytes >= limits.bytes && !page.events.is_empty()) {
                    return Ok(false);
                }
                let Some(Body::Event(draft)) = read_body(head.kind, found.body) else {
                    return Err(Error::corrupt(&path, at, "an event's record has the wrong form"));
                };
                let wanted = match topics {
                    Topics::All => true,
                    Topics::Only(names) => names.contains(&&*draft.topic),
                };
                let deleted = self.is_deleted(&draft.topic, head.position);
                page.through = head.position;
                if wanted && !deleted {
                    *bytes += found.body.len();
                    page.events.push(Event { position: head.position, at_ms: head.at_ms, draft });
                } else if deleted && matches!(topics, Topics::Only(_)) && wanted {
                    page.gone(head.position, &draft.topic);
                }
            }
            if offsets.is_none() {
                at += size;
            }
        }
        if full {
            return Ok(false);
        }
        damages.for_each(|damage| page.damage(damage));
        Ok(true)
    }

    /// Position before the last `count` events of some topics.
    pub(crate) fn before_last(&self, topics: &[&str], count: usize) -> Result<u64> {
        let mut left = count;
        for segment in self.segments.iter().rev().filter(|_| count > 0) {
            let summary = segment.summary();
            let mut offsets = self.tails(segment, &summary, topics, left)?;
            offsets.sort_unstable();
            offsets.dedup();
            let Some(first) = offsets.len().checked_sub(left) else {
                left -= offsets.len();
                continue;
            };
            let (file, path) = Reader::open(self.disk, self.dir, summary.number)?;
            let mut reader = Reader::new(&*file, &path, self.salt, summary.end);
            for offset in offsets.split_off(first) {
                // A damaged one is told by the page that follows.
                if let Some(found) = reader.at(offset.into())? {
                    return Ok(found.head.position - 1);
                }
            }
            return Ok(summary.last);
        }
        Ok(if count == 0 { self.segments.last().map_or(0, |segment| segment.summary().last) } else { 0 })
    }

    /// Offsets of the last up to `count` events of each topic in a file.
    fn tails(&self, segment: &Segment, summary: &Summary, topics: &[&str], count: usize) -> Result<Vec<u32>> {
        let hashes = topics.iter().map(|name| hash(name, self.salt));
        if let Content::Open { index, .. } = &segment.content {
            let index = index.read();
            return Ok(hashes.flat_map(|topic| index.tail(topic, count).to_vec()).collect());
        }
        let path = self.dir.join(index_name(summary.number));
        if let Some((index, _)) = IndexFile::open(self.disk, &path, summary.key())? {
            let tails: Option<Vec<_>> = hashes.clone().map(|topic| index.tail(topic, count)).collect();
            if let Some(tails) = tails {
                return Ok(tails.into_iter().flatten().collect());
            }
        }
        let index = self.scanned(segment, summary)?;
        Ok(hashes.flat_map(|topic| index.tail(topic, count).to_vec()).collect())
    }

    /// Position of the one event of some topics that its publisher gave an id; none if there is no such event, or several.
    pub(crate) fn position_of_id(&self, topics: &[&str], id: &str) -> Result<Option<u64>> {
        let mut position = None;
        for segment in self.segments {
            let summary = segment.summary();
            for topic in topics {
                let hash = hash_id(topic, id, self.salt);
                let Some((offset, count)) = self.own_id(segment, &summary, hash)? else { continue };
                let (file, path) = Reader::open(self.disk, self.dir, summary.number)?;
                let mut reader = Reader::new(&*file, &path, self.salt, summary.end);
                let Some(found) = reader.at(offset.into())? else { continue };
                // Two texts may have the same hash.
                let is_it = names_of(found.body) == Some((*topic, Some(id)));
                if !is_it || self.is_deleted(topic, found.head.position) {
                    continue;
                }
                if position.is_some() || count > 1 {
                    return Ok(None);
                }
                position = Some(found.head.position);
            }
        }
        Ok(position)
    }

    fn is_deleted(&self, topic: &str, position: u64) -> bool {
        (self.topic_state)(topic).is_some_and(|state| position <= state.deleted_through)
    }

    fn own_id(&self, segment: &Segment, summary: &Summary, id: u64) -> Result<Option<(u32, u32)>> {
        if let Content::Open { index, .. } = &segment.content {
            return Ok(index.read().own_id(id));
        }
        let path = self.dir.join(index_name(summary.number));
        if let Some((index, _)) = IndexFile::open(self.disk, &path, summary.key())?
            && let Some(found) = index.own_id(id)
        {
            return Ok(found);
        }
        Ok(self.scanned(segment, summary)?.own_id(id))
    }

    /// Without a usable index the file itself is read, which is slow but right.
    fn scanned(&self, segment: &Segment, summary: &Summary) -> Result<Index> {
        let (file, path) = Reader::open(self.disk, self.dir, summary.number)?;
        let known = Some((summary.end, summary.last.max(segment.head.previous_last)));
        scan(&*file, &path, &segment.head, known, self.salt, |_| {})
    }

    /// Where to begin, and for single topics up to `limit` offsets to read.
    fn plan(
        &self,
        segment: &Segment,
        summary: &Summary,
        topics: Topics<'_>,
        after: u64,
        limit: usize,
    ) -> Result<(u64, Option<Vec<u32>>)> {
        let start = SEGMENT_HEAD as u32;
        let names = match topics {
            Topics::All => &[][..],
            Topics::Only(names) => names,
        };
        let planned = match &segment.content {
            Content::Open { index, .. } => {
                let index = index.read();
                let from = index.seek(after).unwrap_or(start);
                let offsets = self.hashes(names, summary).map(|hash| index.offsets(hash, from, limit));
                Some((from, offsets.collect::<Vec<_>>()))
            }
            Content::Sealed(_) => self.planned(summary, names, after, limit)?,
        };
        // Without a usable index the file itself is read, which is slow but right.
        let Some((from, lists)) = planned else { return Ok((start.into(), None)) };
        if matches!(topics, Topics::All) {
            return Ok((from.into(), None));
        }
        let mut offsets: Vec<u32> = lists.into_iter().flatten().collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets.truncate(limit);
        Ok((from.into(), Some(offsets)))
    }

    /// Under which hashes a file has what belongs to topics.
    fn hashes<'s>(&self, names: &'s [&str], summary: &Summary) -> impl Iterator<Item = u64> + use<'s> {
        let (salt, anew) = (self.salt, summary.generation != 0);
        names.iter().flat_map(move |name| {
            std::iter::once(hash(name, salt)).chain(anew.then(|| hash_gone(name, salt)))
        })
    }

    fn planned(
        &self,
        summary: &Summary,
        names: &[&str],
        after: u64,
        limit: usize,
    ) -> Result<Option<(u32, Vec<Vec<u32>>)>> {
        let path = self.dir.join(index_name(summary.number));
        let Some((index, _)) = IndexFile::open(self.disk, &path, summary.key())? else { return Ok(None) };
        let Some(from) = index.seek(after) else { return Ok(None) };
        let from = from.unwrap_or(SEGMENT_HEAD as u32);
        let lists: Option<Vec<_>> =
            self.hashes(names, summary).map(|hash| index.offsets(hash, from, limit)).collect();
        Ok(lists.map(|lists| (from, lists)))
    }
}

impl Page {
    fn gap(&mut self, first: u64, last: u64, cause: GapCause) {
        let first = first.max(self.through + 1);
        if first <= last {
            self.gaps.push(Gap { first, last, cause });
            self.through = last;
        }
    }

    fn gone(&mut self, position: u64, topic: &str) {
        // Said once in a page: what comes of the topic, comes behind all of them.
        if !self.gone.iter().any(|(_, known)| known == topic) {
            self.gone.push((position, topic.to_owned()));
        }
    }

    fn damage(&mut self, damage: &Damage) {
        self.gap(damage.after + 1, damage.before.saturating_sub(1), GapCause::Damaged);
    }
}
