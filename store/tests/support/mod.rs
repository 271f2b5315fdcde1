//! A file system in memory that forgets what was not synced, tears what was being written, and fails when told to.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fanfare_engine::Draft;
use fanfare_store::{Config, Disk, DiskFile, Durability, Event, Mode, Page, PageLimits, Store, Topics};

/// One file: as programs see it, as the disk has it, and the steps between.
#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    synced: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Cut(u64),
}

impl Step {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = *offset as usize + bytes.len();
                to.resize(to.len().max(end), 0);
                to[*offset as usize..end].copy_from_slice(bytes);
            }
            Self::Cut(len) => to.resize(*len as usize, 0),
        }
    }
}

type Shared = Arc<Mutex<File>>;

#[derive(Default)]
struct World {
    names: BTreeMap<PathBuf, Shared>,
    /// Names as the disk has them.
    synced_names: BTreeMap<PathBuf, Shared>,
    locked: bool,
    /// Calls that can fail, so far.
    calls: u64,
    /// From which call on, up to which, with what.
    fail: Option<(u64, u64, Fault)>,
    /// Whatever needs a descriptor fails.
    no_descriptors: bool,
    syncs: u64,
}

/// What a call fails with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Kind(ErrorKind),
    /// `EMFILE`, of which the standard library has no kind.
    NoDescriptors,
}

impl Fault {
    fn error(self) -> io::Error {
        const EMFILE: i32 = 24;
        match self {
            Self::Kind(kind) => kind.into(),
            Self::NoDescriptors => io::Error::from_raw_os_error(EMFILE),
        }
    }
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

/// The file system. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct MemDisk(Arc<Mutex<World>>);

/// How much of what was not synced survives a power loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PowerLoss {
    /// Steps of each file that reached the disk all the same.
    pub(crate) steps: usize,
    /// Bytes of the step after them that did.
    pub(crate) torn: usize,
    /// Whether names that were not synced did.
    pub(crate) names: bool,
}

impl MemDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics while it holds this")
    }

    fn call(&self) -> io::Result<()> {
        let mut world = self.world();
        let call = world.calls;
        world.calls += 1;
        match world.fail {
            Some((from, to, fault)) if (from..to).contains(&call) => Err(fault.error()),
            _ => Ok(()),
        }
    }

    /// A call that needs a descriptor.
    fn call_with_descriptor(&self) -> io::Result<()> {
        self.call()?;
        if self.world().no_descriptors { Err(Fault::NoDescriptors.error()) } else { Ok(()) }
    }

    /// From now on no descriptor is left, or there are some again.
    pub(crate) fn set_no_descriptors(&self, none: bool) {
        self.world().no_descriptors = none;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Calls `from` to `to` (exclusive) from the beginning on fail.
    pub(crate) fn fail(&self, from: u64, to: u64, fault: impl Into<Fault>) {
        self.world().fail = Some((from, to, fault.into()));
    }

    pub(crate) fn heal(&self) {
        self.world().fail = None;
    }

    /// The disk after the power went.
    pub(crate) fn after(&self, loss: PowerLoss) -> Self {
        let world = self.world();
        let names = if loss.names { &world.names } else { &world.synced_names };
        let survive = |file: &Shared| {
            let file = file.lock().expect("see above");
            let mut bytes = file.synced.clone();
            file.steps.iter().take(loss.steps).for_each(|step| step.apply(&mut bytes));
            if let Some(Step::Write(offset, torn)) = file.steps.get(loss.steps)
                && loss.torn > 0
            {
                Step::Write(*offset, torn[..loss.torn.min(torn.len())].to_vec()).apply(&mut bytes);
            }
            Arc::new(Mutex::new(File { seen: bytes.clone(), synced: bytes, steps: Vec::new() }))
        };
        let names: BTreeMap<_, _> = names.iter().map(|(name, file)| (name.clone(), survive(file))).collect();
        let world = World { synced_names: names.clone(), names, ..World::default() };
        Self(Arc::new(Mutex::new(world)))
    }

    /// The disk after `kill -9`: all that was written is there.
    pub(crate) fn after_kill(&self) -> Self {
        self.after(PowerLoss { steps: usize::MAX, torn: 0, names: true })
    }

    pub(crate) fn names(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let file = Arc::clone(&self.world().names[path]);
        let file = file.lock().expect("see above");
        file.seen.clone()
    }

    pub(crate) fn set(&self, path: &Path, bytes: &[u8]) {
        let file = File { seen: bytes.to_vec(), synced: bytes.to_vec(), steps: Vec::new() };
        let file = Arc::new(Mutex::new(file));
        let mut world = self.world();
        world.names.insert(path.to_owned(), Arc::clone(&file));
        world.synced_names.insert(path.to_owned(), file);
    }

    pub(crate) fn forget(&self, path: &Path) {
        let mut world = self.world();
        world.names.remove(path);
        world.synced_names.remove(path);
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        self.call_with_descriptor()?;
        let mut world = self.world();
        let file = match mode {
            Mode::Create => {
                // Emptying an existing file is a new file here: the old one's bytes stay on disk under the old name.
                let file = Shared::default();
                world.names.insert(path.to_owned(), Arc::clone(&file));
                file
            }
            Mode::Read | Mode::Write => Arc::clone(world.names.get(path).ok_or(ErrorKind::NotFound)?),
        };
        Ok(Box::new(MemFile { file, disk: self.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call_with_descriptor()?;
        let world = self.world();
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.call()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        let mut world = self.world();
        let file = world.names.remove(from).ok_or(ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.world().names.remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.call_with_descriptor()?;
        let mut world = self.world();
        world.synced_names = world.names.clone();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.call_with_descriptor()?;
        let mut world = self.world();
        if std::mem::replace(&mut world.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Unlock(self.clone()))))
    }
}

struct Unlock(MemDisk);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.world().locked = false;
    }
}

struct MemFile {
    file: Shared,
    disk: MemDisk,
}

impl MemFile {
    fn step(&self, step: Step) {
        let mut file = self.file.lock().expect("see above");
        step.apply(&mut file.seen);
        file.steps.push(step);
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call()?;
        let file = self.file.lock().expect("see above");
        let rest = file.seen.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.disk.call() {
            // A failed write leaves a part behind.
            self.step(Step::Write(offset, bytes[..bytes.len() / 2].to_vec()));
            return Err(error);
        }
        self.step(Step::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let failed = self.disk.call();
        self.disk.world().syncs += 1;
        let mut file = self.file.lock().expect("see above");
        let steps = std::mem::take(&mut file.steps);
        // As on Linux: after a failed sync the bytes are taken for clean, and no later sync writes them.
        if failed.is_ok() {
            steps.iter().for_each(|step| step.apply(&mut file.synced));
        }
        failed
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call()?;
        Ok(self.file.lock().expect("see above").seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.call()?;
        self.step(Step::Cut(len));
        Ok(())
    }
}

/// A configuration of small files, so that a few events fill one.
pub(crate) fn small(durability: Durability) -> Config {
    Config { durability, segment_bytes: 4096, max_bytes: 0, max_age_ms: 0, ..Config::default() }
}

pub(crate) fn open(disk: &MemDisk, durability: Durability) -> fanfare_store::Result<Store> {
    Store::open_on(Arc::new(disk.clone()), PathBuf::from("d"), small(durability))
}

pub(crate) fn draft(topic: &str, data: &str) -> Draft<'static> {
    Draft::new(topic.to_owned(), data.to_owned())
}

/// All that a store has, in pages of seven.
pub(crate) fn all(store: &Store, topics: Topics<'_>) -> Page {
    after(store, topics, 0)
}

pub(crate) fn after(store: &Store, topics: Topics<'_>, after: u64) -> Page {
    let mut whole = Page { through: after, ..Page::default() };
    for _ in 0..1_000_000 {
        let page =
            store.page(topics, whole.through, PageLimits { events: 7, bytes: 1 << 20 }).expect("a page");
        assert!(page.events.len() <= 7 && page.through >= whole.through, "{page:?}");
        whole.events.extend(page.events);
        whole.gaps.extend(page.gaps);
        whole.gone.extend(page.gone);
        whole.through = page.through;
        if !page.more {
            return whole;
        }
    }
    panic!("pages do not end");
}

pub(crate) fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.draft.data).collect()
}
