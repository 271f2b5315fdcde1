//! Taking changed files into use.
//!
//! A thread looks at the files of handlers every [`INTERVAL`]. A file whose size or time has changed, and which has then been
//! left alone for one more look, is read; if its content is new, it is compiled and tried, and only then put into use. A
//! file that is gone, half-written or no handler changes nothing but a counter and a line in the log.
//!
//! Compiling takes from milliseconds to seconds; it happens on this thread, one handler after the other, while events go
//! on through the old code.

use std::fs::{self, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::handler::WasmHandler;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// Watches the files of handlers. Dropping it ends its thread; handlers that are gone are forgotten by themselves.
#[derive(Debug)]
pub struct FileWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// New since the last look.
    added: Vec<Watched>,
    stop: bool,
}

#[derive(Debug)]
struct Watched {
    file: PathBuf,
    handler: Weak<WasmHandler>,
    limit: u64,
    /// The file as it was last read.
    read: Option<Stamp>,
    /// The file as it was at the last look.
    seen: Option<Stamp>,
    /// What it held.
    content: Vec<u8>,
}

/// How a change of a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Tells a file from another that was moved into its place.
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode }
    }
}

/// A file's bytes, of which at most one more than `limit` are read: a file that is too large is told by that.
///
/// # Errors
/// What the system says, or that it is no regular file.
pub fn read_file(file: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let opened = fs::File::open(file)?;
    let metadata = opened.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    opened.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl FileWatch {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says when it gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("fanfare-reload".to_owned()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches the file of a handler, which was loaded from `content`; at most `limit` bytes of it will be taken.
    pub fn add(&self, file: &Path, content: Vec<u8>, limit: u64, handler: &Arc<WasmHandler>) {
        let file = file.to_owned();
        let handler = Arc::downgrade(handler);
        // Not read yet as far as the watch knows: what has changed since the handler was loaded is found by content.
        let watched = Watched { file, handler, limit, read: None, seen: None, content };
        self.shared.state.lock().added.push(watched);
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.stopped.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut watched = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                watched.append(&mut state.added);
                if !state.stop {
                    self.stopped.wait_for(&mut state, INTERVAL);
                }
                if state.stop {
                    return;
                }
            }
            watched.retain_mut(Watched::look);
        }
    }
}

impl Watched {
    /// Looks once; false when the handler is gone.
    fn look(&mut self) -> bool {
        let Some(handler) = self.handler.upgrade() else { return false };
        let stamp = fs::metadata(&self.file).ok().map(|metadata| Stamp::of(&metadata));
        let settled = stamp.is_some() && stamp == self.seen;
        self.seen = stamp;
        if settled && stamp != self.read {
            self.read = stamp;
            self.take(&handler);
        }
        true
    }

    fn take(&mut self, handler: &WasmHandler) {
        let file = self.file.display();
        let bytes = match read_file(&self.file, self.limit) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%file, "cannot read the changed handler: {error}");
                // It may be readable at the next look.
                self.read = None;
                return;
            }
        };
        if bytes == self.content {
            return;
        }
        match handler.reload_from(&self.file, &bytes) {
            Ok(()) => tracing::info!(%file, code = handler.about().origin.as_str(), "handler reloaded"),
            Err(error) => {
                tracing::warn!(%file, "the old handler goes on, the changed one does not load: {error}")
            }
        }
        self.content = bytes;
    }
}
