//! Compiled code on disk, so that a handler which was compiled once starts in milliseconds.
//!
//! Code is machine code: whoever can put some here runs it in the hub. So the folder has to be private (ours, and nobody else may
//! enter), every file in it has to be ours, and every entry carries a seal that only who knows the folder's secret can make,
//! for its own name. The bytes that were checked are the bytes that run, in memory: a file that is changed or cut off later does
//! nothing to a running hub. Whatever is wrong with an entry, it is as if it were not there: the handler is compiled.
//!
//! The name of an entry is a hash of all that decides what the compiler makes: the module, wasmtime, its settings, the
//! processor's features and this crate. Entries are moved into place whole, so hubs may share a folder. It has a size; the
//! entries that were not used for longest are let go.
//!
//! wasmtime has a cache too. It trusts what it finds, in a folder that it does not check; it brings compression and a worker
//! thread, and keeps what the compiler makes of core modules before they are linked.

use std::fs::{self, File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::artifact::{self, Artifact, Bytes32, Kind, Seal};

/// The file with the folder's secret.
const SECRET: &str = "secret";
/// How names of entries end, and how files begin that are not whole yet.
const ENTRY: &str = ".code";
const PART: &str = "part-";
/// A file that was not whole for so long will not become so.
const ABANDONED: Duration = Duration::from_secs(3600);
/// A time of last use is as exact as this; it saves a write for each start.
const USED: Duration = Duration::from_secs(600);
/// What a seal and its header add to code, at most: far more than they do.
const ROOM: u64 = 4096;

/// Tells what two threads write at the same time apart.
static PARTS: AtomicU64 = AtomicU64::new(0);

/// A folder of compiled code.
pub(crate) struct Cache {
    folder: PathBuf,
    secret: Bytes32,
    /// Of all entries together.
    limit: u64,
    /// That nothing can be written has been said.
    said: AtomicBool,
}

/// What an entry holds: a name for everything that decides about code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    name: String,
    kind: Kind,
}

impl Key {
    /// Of what `sources` compile to.
    pub(crate) fn new(engine: &Engine, kind: Kind, sources: &[&[u8]]) -> Self {
        struct Sum(Sha256);
        impl Hasher for Sum {
            fn finish(&self) -> u64 {
                0
            }
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
        }
        let mut sum = Sum(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut sum);
        (kind as u8, artifact::maker()).hash(&mut sum);
        // Each with its length: the end of one is not the beginning of the next.
        sources.hash(&mut sum);
        let name = sum.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name, kind }
    }
}

impl Cache {
    /// Opens a folder, which is made if need be, for `limit` bytes of entries.
    ///
    /// # Errors
    /// When it is not private, is no folder, or has no secret and takes none.
    pub(crate) fn open(folder: &Path, limit: u64) -> Result<Self, String> {
        make(folder).map_err(|error| format!("cannot make it: {error}"))?;
        let metadata = fs::metadata(folder).map_err(|error| format!("cannot look at it: {error}"))?;
        if !metadata.is_dir() {
            return Err("it is not a folder".to_owned());
        }
        private(&metadata, 0o077)?;
        let secret = secret(folder).map_err(|error| format!("cannot use its secret: {error}"))?;
        Ok(Self { folder: folder.to_owned(), secret, limit, said: AtomicBool::new(false) })
    }

    /// The code of that name, if there is any that can be used.
    pub(crate) fn get(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %path.display(), "cannot open compiled code: {error}");
                }
                return None;
            }
        };
        match self.take(engine, key, &file) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %path.display(), "compiled code is not used, and made anew: {error}");
                // What is compiled now takes its place; where that fails, at least nobody stumbles over this again.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    fn take(&self, engine: &Engine, key: &Key, file: &File) -> Result<Component, String> {
        let bytes = read_private(file, 0o022, self.limit.saturating_add(ROOM))?;
        let artifact = artifact::read(&bytes, self.seal(key))?;
        if artifact.kind != key.kind {
            return Err("it is of another kind".to_owned());
        }
        let component = artifact.load(engine)?;
        let now = SystemTime::now();
        let used = file.metadata().and_then(|metadata| metadata.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since > USED)) {
            // Where it is not ours to say, the entry is let go earlier: no harm.
            let _ = file.set_modified(now);
        }
        Ok(component)
    }

    /// Keeps code, and lets go of what is too much. That it cannot be kept is said once and no error.
    pub(crate) fn put(&self, key: &Key, component: &Component) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.keep(key, &code));
        if let Err(error) = kept {
            let folder = self.folder.display();
            if !self.said.swap(true, Ordering::Relaxed) {
                tracing::warn!(%folder, "cannot keep compiled code, it will be compiled again: {error}");
            }
        }
        self.let_go(key);
    }

    fn keep(&self, key: &Key, code: &[u8]) -> io::Result<()> {
        let artifact = Artifact { kind: key.kind, script: "", code };
        let Some(bytes) = artifact::write(&artifact, self.seal(key)) else { return Ok(()) };
        if bytes.len() as u64 > self.limit {
            return Ok(());
        }
        Part::write(&self.folder, &bytes)?.becomes(&self.path(key))
    }

    /// Removes the entries that were not used for longest until the others fit, and what was never finished.
    fn let_go(&self, keep: &Key) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let now = SystemTime::now();
        let mut entries = Vec::new();
        let mut total = 0;
        for file in files.flatten() {
            let (name, Ok(metadata)) = (file.file_name(), file.metadata()) else { continue };
            let name = name.to_string_lossy();
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.starts_with(PART) && now.duration_since(modified).is_ok_and(|since| since > ABANDONED) {
                let _ = fs::remove_file(file.path());
            } else if let Some(entry) = name.strip_suffix(ENTRY) {
                total += metadata.len();
                if entry != keep.name {
                    entries.push((modified, metadata.len(), file.path()));
                }
            }
        }
        entries.sort();
        for (_, bytes, path) in entries {
            if total <= self.limit {
                break;
            }
            if fs::remove_file(path).is_ok() {
                total -= bytes;
            }
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}{ENTRY}", key.name))
    }

    fn seal<'k>(&'k self, key: &'k Key) -> Seal<'k> {
        Seal::Keyed { secret: &self.secret, name: &key.name }
    }
}

/// The folder in which a user's programs keep what they can make again.
pub(crate) fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("fanfare").join("handlers"))
}

/// A file that is not whole yet; removed when it does not become another.
struct Part(PathBuf);

impl Part {
    fn write(folder: &Path, bytes: &[u8]) -> io::Result<Self> {
        let number = PARTS.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{PART}{}-{number}-{:016x}", std::process::id(), u64::from_le_bytes(random));
        let part = Self(folder.join(name));
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&part.0)?.write_all(bytes)?;
        Ok(part)
    }

    /// Moves it to its place, in one step.
    fn becomes(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has a new name in the good case.
        let _ = fs::remove_file(&self.0);
    }
}

/// The folder's secret, made by whoever comes first.
fn secret(folder: &Path) -> Result<Bytes32, String> {
    let path = folder.join(SECRET);
    let failed = |error: io::Error| error.to_string();
    let known = || match File::open(&path) {
        Ok(file) => read_private(&file, 0o077, 64).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    };
    if let Some(bytes) = known()? {
        match Bytes32::try_from(bytes) {
            Ok(secret) => return Ok(secret),
            // Damaged. What it has sealed is lost with it.
            Err(_) => fs::remove_file(&path).map_err(failed)?,
        }
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| error.to_string())?;
    let part = Part::write(folder, &secret).map_err(failed)?;
    match fs::hard_link(&part.0, &path) {
        Ok(()) => Ok(secret),
        // Another process was faster, and its secret is the one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            known()?.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "it is damaged".to_owned())
        }
        Err(error) => Err(failed(error)),
    }
}

/// All bytes of a file, if it is ours, nobody has a `forbidden` right to it, and it has at most `limit` of them.
fn read_private(file: &File, forbidden: u32, limit: u64) -> Result<Vec<u8>, String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    private(&metadata, forbidden)?;
    if metadata.len() > limit {
        return Err(format!("it has {} bytes, more than the cache has", metadata.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(unix)]
fn private(metadata: &Metadata, forbidden: u32) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;

    #[expect(unsafe_code, reason = "the standard library does not tell who we are")]
    // SAFETY: it takes nothing, always succeeds and writes nothing.
    let us = unsafe { libc::geteuid() };
    if metadata.uid() != us {
        return Err(format!("it belongs to user {}, not to us (user {us})", metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    match mode & forbidden {
        0 => Ok(()),
        _ => Err(format!("it is not private: its mode is {mode:o}, others may reach it")),
    }
}

#[cfg(not(unix))]
fn private(_: &Metadata, _: u32) -> Result<(), String> {
    Err("whether it is private cannot be told on this system".to_owned())
}

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
