//! Opening: what is on disk becomes a list of files, an index and a state, whatever the last stop was like.
//!
//! Full files are known by the summary of their index. The last one is read through. After a clean stop it is written on;
//! otherwise it ends where its last whole transaction ends, and a new file begins. Bytes behind that end, an unfinished
//! write or worse, stay where they are until retention removes the file, and are reported.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::RwLock;

use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Damage, Index, IndexFile, Summary};
use crate::meta::Meta;
use crate::pages::{Content, Segment};
use crate::segment::{Reader, SEGMENT_HEAD, SegmentHead, index_name, numbers, scan};
use crate::state::State;
use crate::writer::{Files, Writer};

/// What opening found.
pub(crate) struct Recovered {
    pub(crate) files: Files,
    pub(crate) writer: Writer,
    /// The position to go on from.
    pub(crate) next: u64,
}

/// Reads a folder and makes it ready for writing.
pub(crate) fn recover(disk: Arc<dyn Disk>, dir: &Path, meta: &Meta, segment_bytes: u64) -> Result<Recovered> {
    let numbers = numbers(&*disk, dir)?;
    remove_stray_indexes(&*disk, dir, &numbers)?;
    let mut heads = Vec::new();
    for &number in &numbers {
        let (file, path) = Reader::open(&*disk, dir, number)?;
        let head = SegmentHead::read(&*file, &path, meta.salt)?;
        heads.push(head.filter(|head| head.number == number));
    }
    let snapshot = State::read(&*disk, dir, meta.salt)?;
    if snapshot.is_none() && heads.first().is_some_and(|head| head.is_some_and(|head| head.previous != 0)) {
        let text = "the state of handlers and topics (a file state-*) is missing";
        return Err(Error::new(ErrorKind::Corrupt, dir, None, text));
    }
    let (state, state_from) = snapshot.unwrap_or_default();
    let lost_through = heads.first().copied().flatten().map_or(0, |head| head.previous_last);
    let mut files = Files {
        disk,
        dir: dir.to_owned(),
        salt: meta.salt,
        segments: RwLock::default(),
        lost_through: AtomicU64::new(lost_through),
        before: 0,
        state: RwLock::new(state),
        replacing: RwLock::default(),
    };
    let mut writer = Writer::new(numbers.last().map_or(1, |last| last + 1), segment_bytes);
    let (mut previous, mut last) = (0, lost_through);
    for (at, &number) in numbers.iter().enumerate() {
        let fallback = SegmentHead { number, previous, previous_last: last, ..SegmentHead::default() };
        let file = Opened { head: heads[at].unwrap_or(fallback), sound: heads[at].is_some(), state_from };
        let successor = heads.get(at + 1).copied().flatten().filter(|next| next.previous == number);
        if at + 1 < numbers.len() {
            let known = successor.map(|next| (next.previous_end, next.previous_last));
            let summary = file.full(&files, known)?;
            last = last.max(summary.last).max(file.head.previous_last);
            let content = Content::Sealed(summary);
            files.segments.write().push(Arc::new(Segment { head: file.head, content }));
        } else {
            last = last.max(file.last(&files, &mut writer, meta)?);
        }
        previous = number;
    }
    if numbers.is_empty() {
        writer.begin(&files, false)?;
    }
    let next = meta.clean.map_or(meta.reserved, |(_, next)| next).max(last + 1);
    files.before = next - 1;
    Ok(Recovered { files, writer, next })
}

/// A file of the log while it is looked at.
struct Opened {
    head: SegmentHead,
    /// The head is what the file says, not what its neighbours say.
    sound: bool,
    /// The snapshot of the state was made before the first record of this file number.
    state_from: u64,
}

impl Opened {
    /// A file that has a successor: its summary, from its index if that fits, or from its records.
    fn full(&self, files: &Files, known: Option<(u64, u64)>) -> Result<Summary> {
        let number = self.head.number;
        let (file, path) = Reader::open(&*files.disk, &files.dir, number)?;
        let len = file.len().map_err(|error| Error::io("look at it", &path, None, &error))?;
        let index_path = files.dir.join(index_name(number));
        let key = Summary { number, generation: self.head.generation, ..Summary::default() }.key();
        if let Some((_, summary)) = IndexFile::open(&*files.disk, &index_path, key)? {
            let ends = summary.damages.iter().map(|damage| damage.to).max().unwrap_or(0).max(summary.end);
            let anew = self.head.generation != 0;
            let fits = known.is_none_or(|(end, last)| {
                (ends >= end || anew) && summary.last.max(self.head.previous_last) >= last
            });
            if fits && summary.end <= len && (summary.changes == 0 || number < self.state_from) {
                return Ok(summary);
            }
        }
        let index = self.scan(files, known)?;
        index.write(&*files.disk, &files.dir, &index_name(number))?;
        Ok(index.summary)
    }

    /// The last file: written on, begun anew, or ended and followed by a new one. Returns its last position.
    fn last(&self, files: &Files, writer: &mut Writer, meta: &Meta) -> Result<u64> {
        let mut index = self.scan(files, None)?;
        let head = self.head;
        let lost_risk = meta.clean.is_none() && meta.weak;
        let summary = &mut index.summary;
        let stored = summary.last.max(head.previous_last);
        let missing = meta.clean.filter(|(last, _)| stored < *last);
        let is_empty = summary.events == 0 && summary.changes == 0 && head.generation == 0;
        if is_empty && summary.damages.is_empty() && missing.is_none() {
            // Nothing in it, perhaps not even its head: it is made again.
            let risk = head.risk || lost_risk || (!self.sound && meta.weak);
            writer.create(files, SegmentHead { risk, ..self.repaired(files) })?;
            return Ok(stored);
        }
        if let Some((last, _)) = missing {
            let end = summary.end;
            // The bytes behind the end, if there are any, are what is left of these events.
            match summary.damages.last_mut().filter(|damage| damage.from == end) {
                Some(damage) => damage.before = last + 1,
                None => {
                    summary.damages.push(Damage { from: end, to: end, after: stored, before: last + 1 });
                }
            }
            summary.last = last;
        }
        if meta.clean.is_some() && self.sound && head.generation == 0 && summary.damages.is_empty() {
            writer.resume(files, head, index)?;
            return Ok(stored);
        }
        index.write(&*files.disk, &files.dir, &index_name(head.number))?;
        let last = index.summary.last.max(head.previous_last);
        let content = Content::Sealed(index.summary);
        files.segments.write().push(Arc::new(Segment { head, content }));
        writer.begin(files, lost_risk)?;
        Ok(last)
    }

    fn scan(&self, files: &Files, known: Option<(u64, u64)>) -> Result<Index> {
        let (file, path) = Reader::open(&*files.disk, &files.dir, self.head.number)?;
        let counts = self.head.number >= self.state_from;
        let mut index = scan(&*file, &path, &self.head, known, files.salt, |change| {
            if counts {
                files.state.write().apply(change);
            }
        })?;
        if !self.sound && index.summary.end > SEGMENT_HEAD {
            let last = self.head.previous_last;
            let damage = Damage { from: 0, to: SEGMENT_HEAD, after: last, before: last + 1 };
            index.summary.damages.insert(0, damage);
        }
        Ok(index)
    }

    /// The head that an empty last file ought to have.
    fn repaired(&self, files: &Files) -> SegmentHead {
        match files.segments.read().last() {
            Some(before) if !self.sound => {
                let summary = before.summary();
                SegmentHead { previous: summary.number, previous_end: summary.end, ..self.head }
            }
            _ => self.head,
        }
    }
}

fn remove_stray_indexes(disk: &dyn Disk, dir: &Path, numbers: &[u64]) -> Result<()> {
    let names = disk.list(dir).map_err(|error| Error::io("list its files", dir, None, &error))?;
    for name in names {
        let stray = name.strip_suffix(".idx").and_then(|number| number.parse().ok());
        if stray.is_some_and(|number| numbers.binary_search(&number).is_err()) {
            let path = dir.join(&name);
            disk.remove(&path).map_err(|error| Error::io("remove it", &path, None, &error))?;
        }
    }
    Ok(())
}
