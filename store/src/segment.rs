//! Files of the log: their head, the way from file to index, and reading on behind damage.
//!
//! A file begins with a head that says which file came before it, where that one ends and which position was the last
//! in it. So a file that is missing, or was cut, is noticed by its successor, and bytes that a failed write left behind
//! are no part of the log. Damage ends nothing: reading goes on at the next record whose checksum is right, and what
//! lay between is a gap that readers are told of. No damaged byte is ever removed but by retention.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, Mode};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{self, Damage, Entry, Index};
use crate::record::{Body, Change, END, EVENT, GONE, HEAD, Head, LAST, MARK, names_of, read_body};

const MAGIC: &[u8; 8] = b"FFEVENTS";
const VERSION: u32 = 1;
/// The version of a file that was written anew without some of its events.
const ANEW: u32 = 2;
/// How often a file may be written anew.
pub(crate) const MAX_GENERATION: u16 = 0x7fff;
/// Bytes of a file's head.
pub(crate) const SEGMENT_HEAD: u64 = 48;
/// How much is read at once, at most, and after a jump.
const CHUNK: usize = 256 * 1024;
const JUMP: usize = 8 * 1024;
/// Offsets in an index are this wide.
const MAX_OFFSET: u64 = u32::MAX as u64;

/// What a file says of itself and of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) number: u64,
    pub(crate) previous: u64,
    pub(crate) previous_end: u64,
    pub(crate) previous_last: u64,
    /// Events behind `previous_last` may have been published and lost.
    pub(crate) risk: bool,
    /// How often it was written anew without some of its events. It has an end mark then, and what its successor says of its end
    /// holds for the positions alone.
    pub(crate) generation: u16,
}

impl SegmentHead {
    pub(crate) fn bytes(&self, salt: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let version = if self.generation == 0 { VERSION } else { ANEW };
        let flags = u32::from(self.risk) << 31 | u32::from(self.generation) << 16;
        out.extend((version | flags).to_le_bytes());
        for number in [self.number, self.previous, self.previous_end, self.previous_last] {
            out.extend(number.to_le_bytes());
        }
        let sum = sum(&out, salt);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Reads a file's head; `Ok(None)` if it is damaged.
    pub(crate) fn read(file: &dyn DiskFile, path: &Path, salt: u64) -> Result<Option<Self>> {
        let mut bytes = [0; SEGMENT_HEAD as usize];
        let filled = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read it", path, Some(0), &e))?;
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let flags = word(8) as u32;
        let (content, stored) = bytes.split_at(SEGMENT_HEAD as usize - 4);
        if filled < bytes.len() || !content.starts_with(MAGIC) || stored != sum(content, salt).to_le_bytes() {
            return Ok(None);
        }
        let version = flags & 0xffff;
        if version > ANEW {
            let text = format!("it is of version {version}; this program reads up to {ANEW}");
            return Err(Error::new(ErrorKind::NewerVersion, path, Some(8), text));
        }
        Ok(Some(Self {
            number: word(12),
            previous: word(20),
            previous_end: word(28),
            previous_last: word(36),
            risk: flags >> 31 == 1,
            generation: (flags >> 16) as u16 & MAX_GENERATION,
        }))
    }
}

fn sum(bytes: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt as u32);
    hasher.update(bytes);
    hasher.finalize()
}

/// The file of a number.
pub(crate) fn log_name(number: u64) -> String {
    format!("{number:010}.log")
}

/// The index of a number.
pub(crate) fn index_name(number: u64) -> String {
    format!("{number:010}.idx")
}

/// The numbers of all files of the log, in order.
pub(crate) fn numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>> {
    let names = disk.list(dir).map_err(|error| Error::io("list its files", dir, None, &error))?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads a file of the log from front to back.
pub(crate) struct Reader<'a> {
    file: File<'a>,
    path: PathBuf,
    salt: u32,
    chunk: Vec<u8>,
    start: u64,
    /// How much is read at once: little after a jump, more and more from front to back.
    ahead: usize,
    /// No record goes beyond.
    end: u64,
}

enum File<'a> {
    Lent(&'a dyn DiskFile),
    Shared(Arc<dyn DiskFile>),
}

/// A record that was found, and where.
pub(crate) struct Found<'r> {
    pub(crate) head: Head,
    pub(crate) body: &'r [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, path: &Path, salt: u64, end: u64) -> Self {
        Self::of(File::Lent(file), path, salt, end)
    }

    /// One that holds its file.
    pub(crate) fn shared(file: Arc<dyn DiskFile>, path: &Path, salt: u64, end: u64) -> Self {
        Self::of(File::Shared(file), path, salt, end)
    }

    fn of(file: File<'a>, path: &Path, salt: u64, end: u64) -> Self {
        Self { file, path: path.to_owned(), salt: salt as u32, chunk: Vec::new(), start: 0, ahead: 0, end }
    }

    pub(crate) fn open(disk: &dyn Disk, dir: &Path, number: u64) -> Result<(Box<dyn DiskFile>, PathBuf)> {
        let path = dir.join(log_name(number));
        let file = disk.open(&path, Mode::Read).map_err(|e| Error::io("open it", &path, None, &e))?;
        Ok((file, path))
    }

    /// The record at an offset, if one is there.
    pub(crate) fn at(&mut self, offset: u64) -> Result<Option<Found<'_>>> {
        let salt = self.salt;
        let Some(head) = Head::read(self.bytes(offset, HEAD)?) else { return Ok(None) };
        let record = self.bytes(offset, HEAD + head.len)?;
        Ok(head.holds(record, salt).then(|| Found { head, body: &record[HEAD..] }))
    }

    /// Offset and head of the first record at or behind `offset` that can follow position `last`.
    pub(crate) fn next_after_damage(&mut self, mut offset: u64, last: u64) -> Result<Option<(u64, Head)>> {
        while offset < self.end {
            let bytes = self.bytes(offset, CHUNK)?;
            if bytes.len() < HEAD {
                return Ok(None);
            }
            let Some(step) = bytes.windows(2).position(|pair| pair == MARK.to_le_bytes()) else {
                offset += bytes.len() as u64 - 1;
                continue;
            };
            offset += step as u64;
            if let Some(found) = self.at(offset)?
                && (found.head.position > last || found.head.kind != EVENT && found.head.position >= last)
            {
                return Ok(Some((offset, found.head)));
            }
            offset += 1;
        }
        Ok(None)
    }

    /// Up to `len` bytes, fewer where the log ends.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let len = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let have = (self.start + self.chunk.len() as u64).checked_sub(offset);
        if offset < self.start || have.is_none_or(|have| have < len as u64) {
            let near = offset >= self.start && offset - self.start <= 2 * self.chunk.len() as u64;
            self.ahead = if near { (self.ahead * 2).clamp(JUMP, CHUNK) } else { JUMP };
            let want = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.chunk.resize(want.min(len.max(self.ahead)), 0);
            self.start = offset;
            let file = match &self.file {
                File::Lent(file) => *file,
                File::Shared(file) => &**file,
            };
            let filled = file
                .read_at(&mut self.chunk, offset)
                .map_err(|error| Error::io("read it", &self.path, Some(offset), &error))?;
            self.chunk.truncate(filled);
        }
        let from = (offset - self.start) as usize;
        let to = (from + len).min(self.chunk.len());
        Ok(&self.chunk[from.min(to)..to])
    }
}

/// What a record is to an index.
enum Content {
    Event(Entry),
    Gone(Entry),
    Change(Change),
    /// With the first position that the file had.
    End(u64),
}

/// Goes through a file and makes its index. `known`: end and last position, if the file's successor or a clean stop
/// says them. `change` gets the changes of every whole transaction, in order.
pub(crate) fn scan(
    file: &dyn DiskFile,
    path: &Path,
    head: &SegmentHead,
    known: Option<(u64, u64)>,
    salt: u64,
    mut change: impl FnMut(Change),
) -> Result<Index> {
    let len = file.len().map_err(|error| Error::io("look at it", path, None, &error))?;
    let anew = head.generation != 0;
    let said_last = known.map(|(_, last)| last);
    let known = known.filter(|_| !anew);
    let end = known.map_or(len, |(end, _)| end).min(len).min(MAX_OFFSET);
    let mut reader = Reader::new(file, path, salt, end);
    let mut index = Index::new(head.number, SEGMENT_HEAD);
    index.summary.generation = head.generation;
    let mut ended = !anew;
    let mut last = head.previous_last;
    let mut at = SEGMENT_HEAD.min(end);
    let (mut entries, mut changes) = (Vec::new(), Vec::new());
    let mut enter = |index: &mut Index, entries: &mut Vec<_>, changes: &mut Vec<Change>| {
        for entry in entries.drain(..) {
            let entry: Entry = entry;
            index.event(entry, entry.offset as u32);
        }
        index.summary.changes += changes.len() as u64;
        changes.drain(..).for_each(&mut change);
    };
    while at < end {
        let found = reader.at(at)?.filter(|found| {
            found.head.position > last || found.head.kind != EVENT && found.head.position >= last
        });
        let readable = found.and_then(|found| {
            let size = (HEAD + found.body.len()) as u64;
            match found.head.kind {
                GONE if anew => names_of(found.body).map(|(topic, _)| {
                    let topic = index::hash_gone(topic, salt);
                    let (position, at_ms) = (found.head.position, found.head.at_ms);
                    let entry = Entry { position, at_ms, topic, id: None, offset: at as usize };
                    (found.head, size, Content::Gone(entry))
                }),
                END if anew => {
                    let first = found.body.try_into().map(u64::from_le_bytes).ok()?;
                    Some((found.head, size, Content::End(first)))
                }
                EVENT => names_of(found.body).map(|(topic, id)| {
                    let entry = Entry {
                        position: found.head.position,
                        at_ms: found.head.at_ms,
                        topic: index::hash(topic, salt),
                        id: id.map(|id| index::hash_id(topic, id, salt)),
                        offset: at as usize,
                    };
                    (found.head, size, Content::Event(entry))
                }),
                kind => match read_body(kind, found.body) {
                    Some(Body::Change(change)) => Some((found.head, size, Content::Change(change))),
                    _ => None,
                },
            }
        });
        if let Some((head, size, content)) = readable {
            match content {
                Content::Event(entry) => {
                    last = head.position;
                    entries.push(entry);
                }
                Content::Change(change) => changes.push(change),
                Content::Gone(entry) => {
                    last = head.position;
                    index.gone(entry, at as u32);
                }
                Content::End(first) => {
                    let summary = &mut index.summary;
                    (summary.first, summary.last) = (first, head.position);
                    summary.newest_ms = summary.newest_ms.max(head.at_ms);
                    at += size;
                    summary.end = at;
                    ended = true;
                    break;
                }
            }
            at += size;
            if head.flags & LAST != 0 {
                enter(&mut index, &mut entries, &mut changes);
                index.summary.end = at;
            }
            continue;
        }
        let Some((to, next)) = reader.next_after_damage(at + 1, last)? else { break };
        // Whole records follow, so this is not the end of an unfinished write: what is before it counts.
        enter(&mut index, &mut entries, &mut changes);
        let before = if next.kind == EVENT { next.position } else { next.position + 1 };
        index.summary.damages.push(Damage { from: at, to, after: last, before });
        at = to;
        index.summary.end = at;
    }
    let stored = index.summary.last.max(head.previous_last);
    if !ended {
        let last = said_last.unwrap_or(stored).max(stored);
        let from = index.summary.end;
        index.summary.damages.push(Damage { from, to: len.max(from), after: stored, before: last + 1 });
        index.summary.last = last;
        return Ok(index);
    }
    match known {
        Some((known_end, known_last)) if index.summary.end < known_end || stored < known_last => {
            let from = index.summary.end;
            let damage = Damage { from, to: known_end.max(from), after: stored, before: known_last + 1 };
            index.summary.damages.push(damage);
            index.summary.last = known_last.max(index.summary.last);
        }
        None if index.summary.end < len => {
            let damage = Damage { from: index.summary.end, to: len, after: stored, before: stored + 1 };
            index.summary.damages.push(damage);
        }
        _ => {}
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn a_log_file_of_a_newer_version_is_named() {
        const SALT: u64 = 7;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(log_name(1));
        let mut bytes = SegmentHead { number: 1, ..SegmentHead::default() }.bytes(SALT);
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("is written");
            let file = OsDisk.open(&path, Mode::Read).expect("opens");
            SegmentHead::read(&*file, &path, SALT)
        };
        assert_eq!(read(&bytes).expect("is read").map(|head| head.number), Some(1));
        bytes[8] = ANEW as u8 + 1;
        assert_eq!(read(&bytes).expect("is read"), None, "its checksum is wrong");
        let content = SEGMENT_HEAD as usize - 4;
        let right = sum(&bytes[..content], SALT).to_le_bytes();
        bytes[content..].copy_from_slice(&right);
        let error = read(&bytes).expect_err("it is newer");
        assert_eq!((error.kind(), error.file(), error.offset()), (ErrorKind::NewerVersion, &*path, Some(8)));
        assert!(error.to_string().contains("it is of version 3; this program reads up to 2"), "{error}");
    }
}
