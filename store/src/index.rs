//! The index of a log file: where its events are, by position and by topic.
//!
//! The file being written has its index in memory; when it is full the index is written beside it and memory is free
//! of it. The index is derived: one that is missing, damaged or of another version is made again from the log.
//!
//! On disk it is a run of pages of 4 KiB, each with a checksum of its own, so looking something up reads and checks a
//! few pages whatever the size of the log:
//!
//! ```text
//! summary | damages | marks: (position, offset) of every 64th event | topics: (hash, start, count) by hash
//!         | ids of publishers: (hash, offset of the last, count) by hash | offsets of topics
//! ```

use std::collections::HashMap;
use std::hash::Hasher;
use std::path::Path;

use siphasher::sip::SipHasher13;

use crate::disk::{Disk, DiskFile, Mode};
use crate::error::{Error, Result};
use crate::meta::replace;
use crate::record::Rest;

const MAGIC: &[u8; 8] = b"FFINDEX\x02";
const PAGE: usize = 4096;
/// Content of a page; the rest is its checksum.
const CONTENT: usize = PAGE - 4;
/// Events from mark to mark.
const MARK_EVERY: u64 = 64;
const SUMMARY_BYTES: u64 = 8 + 8 * 11;
const DAMAGE_BYTES: u64 = 32;
const ENTRY_BYTES: u64 = 16;

/// Bytes of a log file that are not records, and the positions that were, or may have been, there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Last position before it and first position after it; nothing is lost if they follow each other.
    pub(crate) after: u64,
    pub(crate) before: u64,
}

/// What is kept in memory of each log file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) number: u64,
    /// As in the file's head.
    pub(crate) generation: u16,
    /// Where valid records end.
    pub(crate) end: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) newest_ms: u64,
    pub(crate) events: u64,
    pub(crate) changes: u64,
    pub(crate) damages: Vec<Damage>,
}

/// The index of a file that is written or scanned.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) summary: Summary,
    marks: Vec<(u64, u32)>,
    topics: HashMap<u64, Vec<u32>>,
    /// By hash of topic and id: the last event that has it, and how many have.
    ids: HashMap<u64, (u32, u32)>,
}

/// An event to be entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) position: u64,
    pub(crate) at_ms: u64,
    /// See [`hash`].
    pub(crate) topic: u64,
    /// See [`hash_id`].
    pub(crate) id: Option<u64>,
    /// Where its record is, in a file or in what is to become a part of one.
    pub(crate) offset: usize,
}

/// Where the events of all topics of a file are.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Hash, where the topic's offsets begin and how many they are; in the order of the hashes.
    topics: Vec<(u64, u32, u32)>,
    offsets: Vec<u32>,
}

/// An index on disk.
pub(crate) struct IndexFile {
    file: Box<dyn DiskFile>,
    counts: Counts,
}

#[derive(Clone, Copy)]
struct Counts {
    damages: u64,
    marks: u64,
    topics: u64,
    ids: u64,
}

/// The hash that a topic has in a store: keyed, so that publishers cannot choose names that collide.
pub(crate) fn hash(topic: &str, salt: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(salt, salt.rotate_left(32) ^ 0x66616e66617265);
    hasher.write(topic.as_bytes());
    hasher.finish()
}

/// The same for where a topic's events are gone.
pub(crate) fn hash_gone(topic: &str, salt: u64) -> u64 {
    // No publisher's id has a space.
    hash_id(topic, " ", salt)
}

/// The same for the id that a publisher gave an event of a topic.
pub(crate) fn hash_id(topic: &str, id: &str, salt: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(salt, salt.rotate_left(32) ^ 0x66616e66617265);
    hasher.write(topic.as_bytes());
    // No text has this byte, so no topic and id pass for others.
    hasher.write(&[0xff]);
    hasher.write(id.as_bytes());
    hasher.finish()
}

impl Summary {
    /// What an index says it belongs to: a file that was written anew has another index.
    pub(crate) fn key(&self) -> u64 {
        self.number & u64::MAX >> 16 | u64::from(self.generation) << 48
    }
}

impl Lists {
    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Topics by hash, each with its offsets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[u32])> {
        self.topics
            .iter()
            .map(|&(topic, first, count)| (topic, &self.offsets[first as usize..][..count as usize]))
    }

    /// Offsets of a topic's events.
    pub(crate) fn get(&self, topic: u64) -> Option<&[u32]> {
        let at = self.topics.binary_search_by_key(&topic, |(hash, _, _)| *hash).ok()?;
        let (_, first, count) = self.topics[at];
        Some(&self.offsets[first as usize..][..count as usize])
    }

    /// All offsets in their order.
    pub(crate) fn sorted(&self) -> Vec<u32> {
        let mut all = self.offsets.clone();
        all.sort_unstable();
        all
    }
}

impl Index {
    pub(crate) fn new(number: u64, start: u64) -> Self {
        Self { summary: Summary { number, end: start, ..Summary::default() }, ..Self::default() }
    }

    /// Enters the mark of events that are gone; its topic is a [`hash_gone`].
    pub(crate) fn gone(&mut self, entry: Entry, offset: u32) {
        if self.marks.is_empty() {
            self.marks.push((entry.position, offset));
        }
        self.topics.entry(entry.topic).or_default().push(offset);
    }

    /// All lists of offsets.
    pub(crate) fn lists(&self) -> Lists {
        let mut lists = Lists::default();
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable_by_key(|(hash, _)| **hash);
        for (hash, offsets) in topics {
            lists.topics.push((*hash, lists.offsets.len() as u32, offsets.len() as u32));
            lists.offsets.extend(offsets);
        }
        lists
    }

    /// Enters the next event.
    pub(crate) fn event(&mut self, entry: Entry, offset: u32) {
        let Entry { position, at_ms, topic, id, .. } = entry;
        if let Some(id) = id {
            let own = self.ids.entry(id).or_default();
            *own = (offset, own.1 + 1);
        }
        let summary = &mut self.summary;
        if summary.events == 0 {
            summary.first = position;
        }
        if summary.events.is_multiple_of(MARK_EVERY) {
            self.marks.push((position, offset));
        }
        summary.last = position;
        summary.newest_ms = summary.newest_ms.max(at_ms);
        summary.events += 1;
        self.topics.entry(topic).or_default().push(offset);
    }

    /// An offset at or before that of the first event after `position`.
    pub(crate) fn seek(&self, position: u64) -> Option<u32> {
        let next = self.marks.partition_point(|(mark, _)| *mark <= position);
        self.marks.get(next.saturating_sub(1)).map(|(_, offset)| *offset)
    }

    /// Up to `limit` offsets of a topic's events from an offset on.
    pub(crate) fn offsets(&self, topic: u64, from: u32, limit: usize) -> Vec<u32> {
        let Some(all) = self.topics.get(&topic) else { return Vec::new() };
        let start = all.partition_point(|offset| *offset < from);
        all[start..].iter().take(limit).copied().collect()
    }

    /// Offsets of a topic's last up to `count` events.
    pub(crate) fn tail(&self, topic: u64, count: usize) -> &[u32] {
        let all = self.topics.get(&topic).map_or(&[][..], Vec::as_slice);
        &all[all.len().saturating_sub(count)..]
    }

    /// Offset of the last event with an id, and how many have it. See [`hash_id`].
    pub(crate) fn own_id(&self, id: u64) -> Option<(u32, u32)> {
        self.ids.get(&id).copied()
    }

    /// Writes the index to its file.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, name: &str) -> Result<()> {
        let summary = &self.summary;
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable_by_key(|(hash, _)| **hash);
        let mut ids: Vec<_> = self.ids.iter().collect();
        ids.sort_unstable();
        let mut out = Vec::new();
        out.extend(MAGIC);
        for number in [
            summary.key(),
            summary.end,
            summary.first,
            summary.last,
            summary.newest_ms,
            summary.events,
            summary.changes,
            summary.damages.len() as u64,
            self.marks.len() as u64,
            topics.len() as u64,
            ids.len() as u64,
        ] {
            out.extend(number.to_le_bytes());
        }
        for damage in &summary.damages {
            for number in [damage.from, damage.to, damage.after, damage.before] {
                out.extend(number.to_le_bytes());
            }
        }
        for (position, offset) in &self.marks {
            out.extend(position.to_le_bytes());
            out.extend(u64::from(*offset).to_le_bytes());
        }
        let mut start = 0_u32;
        for (hash, offsets) in &topics {
            out.extend(hash.to_le_bytes());
            out.extend(start.to_le_bytes());
            out.extend((offsets.len() as u32).to_le_bytes());
            start += offsets.len() as u32;
        }
        for (hash, (offset, count)) in ids {
            out.extend(hash.to_le_bytes());
            out.extend(offset.to_le_bytes());
            out.extend(count.to_le_bytes());
        }
        for (_, offsets) in &topics {
            for offset in *offsets {
                out.extend(offset.to_le_bytes());
            }
        }
        let mut pages = Vec::with_capacity(out.len() + out.len() / 1000 + PAGE);
        for content in out.chunks(CONTENT) {
            let start = pages.len();
            pages.extend(content);
            pages.resize(start + CONTENT, 0);
            let sum = crc32fast::hash(&pages[start..]);
            pages.extend(sum.to_le_bytes());
        }
        replace(disk, dir, name, &pages)
    }
}

impl IndexFile {
    /// Opens an index and reads its summary; `None` if it is not there or not to be trusted.
    pub(crate) fn open(disk: &dyn Disk, path: &Path, key: u64) -> Result<Option<(Self, Summary)>> {
        let file = match disk.open(path, Mode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open it", path, None, &error)),
        };
        let mut index = Self { file, counts: Counts { damages: 0, marks: 0, topics: 0, ids: 0 } };
        Ok(index.summary(key).map(|summary| (index, summary)))
    }

    fn summary(&mut self, key: u64) -> Option<Summary> {
        let bytes = self.read(0, SUMMARY_BYTES)?;
        let mut rest = Rest(&bytes);
        if &rest.array::<8>()? != MAGIC {
            return None;
        }
        let mut next = || rest.array().map(u64::from_le_bytes);
        let said = next()?;
        let mut summary = Summary {
            number: said & u64::MAX >> 16,
            generation: (said >> 48) as u16,
            end: next()?,
            first: next()?,
            last: next()?,
            newest_ms: next()?,
            events: next()?,
            changes: next()?,
            damages: Vec::new(),
        };
        self.counts = Counts { damages: next()?, marks: next()?, topics: next()?, ids: next()? };
        let bytes = self.read(SUMMARY_BYTES, self.counts.damages.checked_mul(DAMAGE_BYTES)?)?;
        let mut rest = Rest(&bytes);
        for _ in 0..self.counts.damages {
            let mut next = || rest.array().map(u64::from_le_bytes);
            summary.damages.push(Damage { from: next()?, to: next()?, after: next()?, before: next()? });
        }
        (said == key).then_some(summary)
    }

    /// As [`Index::seek`]; the outer `None` means that the index is damaged.
    pub(crate) fn seek(&self, position: u64) -> Option<Option<u32>> {
        if self.counts.marks == 0 {
            return Some(None);
        }
        let start = self.marks_start();
        let next = self.search(start, self.counts.marks, |mark| mark <= position)?;
        let entry = self.read(start + next.saturating_sub(1) * ENTRY_BYTES, ENTRY_BYTES)?;
        let offset = u64::from_le_bytes(entry[8..].try_into().ok()?);
        Some(u32::try_from(offset).ok())
    }

    /// As [`Index::offsets`]; `None` means that the index is damaged.
    pub(crate) fn offsets(&self, topic: u64, from: u32, limit: usize) -> Option<Vec<u32>> {
        let Some((offsets, count)) = self.topic(topic)? else { return Some(Vec::new()) };
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            let bytes = self.read(offsets + middle * 4, 4)?;
            if u32::from_le_bytes(bytes.try_into().ok()?) < from { low = middle + 1 } else { high = middle }
        }
        self.list(offsets + low * 4, (count - low).min(limit as u64))
    }

    /// As [`Index::tail`]; `None` means that the index is damaged.
    pub(crate) fn tail(&self, topic: u64, limit: usize) -> Option<Vec<u32>> {
        let Some((offsets, count)) = self.topic(topic)? else { return Some(Vec::new()) };
        let take = count.min(limit as u64);
        self.list(offsets + (count - take) * 4, take)
    }

    /// As [`Index::own_id`]; the outer `None` means that the index is damaged.
    pub(crate) fn own_id(&self, id: u64) -> Option<Option<(u32, u32)>> {
        let start = self.marks_start() + (self.counts.marks + self.counts.topics) * ENTRY_BYTES;
        self.find(start, self.counts.ids, id)
    }

    /// As [`Index::lists`]; `None` means that the index is damaged.
    pub(crate) fn lists(&self) -> Option<Lists> {
        let start = self.marks_start() + self.counts.marks * ENTRY_BYTES;
        let bytes = self.read(start, self.counts.topics.checked_mul(ENTRY_BYTES)?)?;
        let (mut lists, mut rest, mut end) = (Lists::default(), Rest(&bytes), 0);
        for _ in 0..self.counts.topics {
            let topic = u64::from_le_bytes(rest.array()?);
            let [first, count] = [rest.array()?, rest.array()?].map(u32::from_le_bytes);
            if first != end {
                return None;
            }
            end = first.checked_add(count)?;
            lists.topics.push((topic, first, count));
        }
        let offsets = start + (self.counts.topics + self.counts.ids) * ENTRY_BYTES;
        lists.offsets = self.list(offsets, end.into())?;
        Some(lists)
    }

    /// Where a topic's offsets are and how many; the outer `None` means that the index is damaged.
    fn topic(&self, topic: u64) -> Option<Option<(u64, u64)>> {
        let start = self.marks_start() + self.counts.marks * ENTRY_BYTES;
        let Some((first, count)) = self.find(start, self.counts.topics, topic)? else { return Some(None) };
        let offsets = start + (self.counts.topics + self.counts.ids) * ENTRY_BYTES;
        Some(Some((offsets + u64::from(first) * 4, count.into())))
    }

    /// What stands beside a hash in one of the sorted lists; the outer `None` means that the index is damaged.
    fn find(&self, start: u64, count: u64, wanted: u64) -> Option<Option<(u32, u32)>> {
        let at = self.search(start, count, |hash| hash < wanted)?;
        if at == count {
            return Some(None);
        }
        let entry = self.read(start + at * ENTRY_BYTES, ENTRY_BYTES)?;
        let mut rest = Rest(&entry);
        if u64::from_le_bytes(rest.array()?) != wanted {
            return Some(None);
        }
        Some(Some((u32::from_le_bytes(rest.array()?), u32::from_le_bytes(rest.array()?))))
    }

    fn list(&self, at: u64, count: u64) -> Option<Vec<u32>> {
        let bytes = self.read(at, count * 4)?;
        Some(bytes.chunks_exact(4).filter_map(|b| b.try_into().ok().map(u32::from_le_bytes)).collect())
    }

    /// Whether every page is as it was written.
    pub(crate) fn is_whole(&self) -> bool {
        self.file.len().is_ok_and(|len| {
            len % PAGE as u64 == 0 && self.read(0, len / PAGE as u64 * CONTENT as u64).is_some()
        })
    }

    fn marks_start(&self) -> u64 {
        SUMMARY_BYTES + self.counts.damages * DAMAGE_BYTES
    }

    /// How many of `count` sorted entries have a first number that is `before` the one looked for.
    fn search(&self, start: u64, count: u64, before: impl Fn(u64) -> bool) -> Option<u64> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            let bytes = self.read(start + middle * ENTRY_BYTES, 8)?;
            if before(u64::from_le_bytes(bytes.try_into().ok()?)) { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    /// Reads content of the pages, each of them checked; `None` if they are damaged or end before.
    fn read(&self, start: u64, len: u64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let (mut at, end) = (start, start.checked_add(len)?);
        let mut page = [0; PAGE];
        while at < end {
            let filled = self.file.read_at(&mut page, at / CONTENT as u64 * PAGE as u64).ok()?;
            let sum = u32::from_le_bytes(page[CONTENT..].try_into().ok()?);
            if filled != PAGE || crc32fast::hash(&page[..CONTENT]) != sum {
                return None;
            }
            let within = (at % CONTENT as u64) as usize;
            let take = ((end - at) as usize).min(CONTENT - within);
            out.extend(&page[within..within + take]);
            at += take as u64;
        }
        Some(out)
    }
}
