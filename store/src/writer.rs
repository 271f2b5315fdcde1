//! The writing end of the log: one file that grows, and what happens when the disk fails.
//!
//! One thread at a time is the writer. A group of transactions is written with one call and, if one of them wants it,
//! one sync. A write that failed is cut off again and tried anew in the same file. A *sync* that failed is never
//! repeated as if nothing were: what the system has of the file is unknown then (Linux marks such pages clean), so the
//! file ends for good at its last known end, which its successor records, and the group goes into a new file or fails.

use std::path::PathBuf;
use std::sync::Arc;

use fanfare_engine::Draft;
use parking_lot::RwLock;

use crate::disk::{Disk, DiskFile, Mode};
use crate::error::{Error, Result};
use crate::index::{Entry, Index, hash, hash_id};
use crate::pages::{Content, Segment};
use crate::record::Change;
use crate::segment::{SEGMENT_HEAD, SegmentHead, index_name, log_name};
use crate::state::State;

/// What readers and the writer share.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) salt: u64,
    /// Oldest first. Only the writer changes it.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    /// Through here retention has let everything go.
    pub(crate) lost_through: std::sync::atomic::AtomicU64,
    /// Positions up to here are of earlier openings.
    pub(crate) before: u64,
    pub(crate) state: RwLock<State>,
    /// Held by readers of files, and by who puts another file in the place of one.
    pub(crate) replacing: RwLock<()>,
}

/// Transactions to be written together.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) bytes: Vec<u8>,
    /// Their offsets are in `bytes`.
    pub(crate) entries: Vec<Entry>,
    pub(crate) changes: Vec<Change>,
    pub(crate) sync: bool,
}

impl Group {
    /// Position of the first event.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.position)
    }

    pub(crate) fn enter(&mut self, position: u64, at_ms: u64, draft: &Draft<'_>, salt: u64) {
        let topic = &*draft.topic;
        let id = draft.id.as_deref().map(|id| hash_id(topic, id, salt));
        let offset = self.bytes.len();
        self.entries.push(Entry { position, at_ms, topic: hash(topic, salt), id, offset });
    }
}

/// The file being written.
struct Active {
    number: u64,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    end: u64,
    index: Arc<RwLock<Index>>,
}

/// The writer's own.
pub(crate) struct Writer {
    active: Option<Active>,
    /// The number of the next file.
    next_number: u64,
    segment_bytes: u64,
    /// There may be a snapshot of the state that stands for all of the file, so nothing is added to it.
    ending: bool,
}

impl Writer {
    pub(crate) fn new(next_number: u64, segment_bytes: u64) -> Self {
        Self { active: None, next_number, segment_bytes, ending: false }
    }

    /// Goes on in the last file, which ended cleanly.
    pub(crate) fn resume(&mut self, files: &Files, head: SegmentHead, index: Index) -> Result<()> {
        let path = files.dir.join(log_name(head.number));
        let file = files.disk.open(&path, Mode::Write).map_err(|e| Error::io("open it", &path, None, &e))?;
        self.install(files, head, path, file.into(), index);
        Ok(())
    }

    /// Begins a new file behind the last one.
    pub(crate) fn begin(&mut self, files: &Files, risk: bool) -> Result<()> {
        let last = files.segments.read().last().cloned();
        let head = match last {
            None => SegmentHead { number: self.next_number, risk, ..SegmentHead::default() },
            Some(last) => {
                let summary = last.summary();
                SegmentHead {
                    number: self.next_number,
                    previous: summary.number,
                    previous_end: summary.end,
                    previous_last: summary.last.max(last.head.previous_last),
                    risk,
                    generation: 0,
                }
            }
        };
        self.create(files, head)
    }

    /// Makes a file and puts its head on disk.
    pub(crate) fn create(&mut self, files: &Files, head: SegmentHead) -> Result<()> {
        let path = files.dir.join(log_name(head.number));
        let made = self.make(files, &head, &path);
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // It holds nothing. If it cannot be removed now, the next try makes it anew.
                let _ = files.disk.remove(&path);
                return Err(error);
            }
        };
        let index = Index::new(head.number, SEGMENT_HEAD);
        self.install(files, head, path, file.into(), index);
        Ok(())
    }

    fn make(&self, files: &Files, head: &SegmentHead, path: &std::path::Path) -> Result<Box<dyn DiskFile>> {
        let fail = |action: &'static str| move |error| Error::io(action, path, None, &error);
        let file = files.disk.open(path, Mode::Create).map_err(fail("make it"))?;
        file.write_at(&head.bytes(files.salt), 0).map_err(fail("write it"))?;
        file.sync().map_err(fail("sync it"))?;
        files.disk.sync_dir(&files.dir).map_err(fail("sync its folder"))?;
        Ok(file)
    }

    fn install(
        &mut self,
        files: &Files,
        head: SegmentHead,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        index: Index,
    ) {
        let end = index.summary.end;
        let index = Arc::new(RwLock::new(index));
        let content = Content::Open { index: Arc::clone(&index), file: Arc::clone(&file) };
        files.segments.write().push(Arc::new(Segment { head, content }));
        self.next_number = self.next_number.max(head.number + 1);
        self.ending = false;
        self.active = Some(Active { number: head.number, file, path, end, index });
    }

    /// Writes a group; when this returns well, readers see it, and it is on disk if the group wanted that.
    pub(crate) fn write(&mut self, files: &Files, group: &Group) -> Result<()> {
        if self.active.is_none() {
            self.begin(files, false)?;
        }
        let full = |active: &Active| {
            active.end > SEGMENT_HEAD && active.end + group.bytes.len() as u64 > self.segment_bytes
        };
        if self.ending || self.active.as_ref().is_some_and(full) {
            self.roll(files)?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        if let Err(error) = active.file.write_at(&group.bytes, active.end) {
            let error = Error::io("write to it", &active.path, Some(active.end), &error);
            if active.file.set_len(active.end).is_err() {
                self.abandon(files);
            }
            return Err(error);
        }
        if group.sync
            && let Err(error) = active.file.sync()
        {
            let error = Error::io("sync it", &active.path, Some(active.end), &error);
            self.abandon(files);
            return Err(error);
        }
        let mut index = active.index.write();
        for entry in &group.entries {
            index.event(*entry, (active.end + entry.offset as u64) as u32);
        }
        active.end += group.bytes.len() as u64;
        index.summary.end = active.end;
        index.summary.changes += group.changes.len() as u64;
        drop(index);
        if !group.changes.is_empty() {
            let mut state = files.state.write();
            group.changes.iter().cloned().for_each(|change| state.apply(change));
        }
        Ok(())
    }

    /// Ends the file for good, with its index and the state beside it, and begins the next.
    pub(crate) fn roll(&mut self, files: &Files) -> Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        if let Err(error) = active.file.sync() {
            let error = Error::io("sync it", &active.path, Some(active.end), &error);
            self.abandon(files);
            return Err(error);
        }
        active.index.read().write(&*files.disk, &files.dir, &index_name(active.number))?;
        self.ending = true;
        files.state.read().write(&*files.disk, &files.dir, self.next_number, files.salt)?;
        let (number, summary) = (active.number, active.index.read().summary.clone());
        self.begin(files, false)?;
        // From now on readers use the file's index on disk, and its memory is free.
        for segment in files.segments.write().iter_mut() {
            if segment.head.number == number {
                let content = Content::Sealed(summary.clone());
                *segment = Arc::new(Segment { head: segment.head, content });
            }
        }
        Ok(())
    }

    /// Everything that was written is on disk when this returns.
    pub(crate) fn sync(&mut self, files: &Files) -> Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        let Err(error) = active.file.sync() else { return Ok(()) };
        let error = Error::io("sync it", &active.path, Some(active.end), &error);
        self.abandon(files);
        Err(error)
    }

    /// Removes the oldest files while `may_go` says so; the file being written stays.
    pub(crate) fn remove_oldest(
        &mut self,
        files: &Files,
        mut may_go: impl FnMut(&Segment) -> bool,
    ) -> Result<u64> {
        let Some(active) = &self.active else { return Ok(0) };
        let keep = active.number;
        let segments = files.segments.read().clone();
        let going: Vec<_> =
            segments.iter().take_while(|s| s.head.number != keep && may_go(s)).cloned().collect();
        let Some(successor) = segments.get(going.len()).filter(|_| !going.is_empty()) else { return Ok(0) };
        let lost_through = successor.head.previous_last;
        files.state.write().forget(lost_through);
        // Their changes are gone with them, so the state has to be on disk before.
        files.state.read().write(&*files.disk, &files.dir, keep, files.salt)?;
        files.lost_through.store(lost_through, std::sync::atomic::Ordering::Release);
        let mut removed = 0;
        for segment in going {
            let number = segment.head.number;
            let path = files.dir.join(log_name(number));
            files.disk.remove(&path).map_err(|e| Error::io("remove it", &path, None, &e))?;
            files.segments.write().retain(|other| other.head.number != number);
            // An index without its log is removed when the store is opened.
            let _ = files.disk.remove(&files.dir.join(index_name(number)));
            removed += 1;
        }
        Ok(removed)
    }

    /// Ends the file where it was known to be whole. It stays readable through its index in memory.
    fn abandon(&mut self, files: &Files) {
        let Some(active) = self.active.take() else { return };
        let _ = active.file.set_len(active.end);
        if active.end <= SEGMENT_HEAD && files.disk.remove(&active.path).is_ok() {
            files.segments.write().retain(|segment| segment.head.number != active.number);
        }
    }
}
