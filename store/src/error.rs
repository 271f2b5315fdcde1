//! What can go wrong on a disk, with the file and the place in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sort of a failure, for a caller that acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process, or another `Store` of this one, has the folder open.
    Locked,
    /// No space left on the device, or the quota is used up.
    DiskFull,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The process may not do that to the file.
    Permission,
    /// The process, or the system, has no descriptors left (`EMFILE`, `ENFILE`).
    NoDescriptors,
    /// The bytes of a file are not what was written.
    Corrupt,
    /// A newer version of Fanfare wrote the file.
    NewerVersion,
    /// An argument that cannot be stored; nothing was changed.
    Invalid,
    /// The topic has been closed.
    TopicClosed,
    /// The store has been closed.
    Closed,
    /// State that the changes were made of has not been stored; nothing was changed.
    Stale,
    /// Any other failure of the file system.
    Io,
}

/// A failure: its kind, the file, and where it matters the byte in it.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    file: PathBuf,
    offset: Option<u64>,
    text: Arc<str>,
}

/// What the operations of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, file: &Path, offset: Option<u64>, text: impl Into<Arc<str>>) -> Self {
        Self { kind, file: file.to_owned(), offset, text: text.into() }
    }

    /// An argument at fault: no file is.
    pub(crate) fn invalid(text: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::Invalid, Path::new(""), None, text)
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, text: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::Corrupt, file, Some(offset), text)
    }

    /// Wraps a failed call: `action` as in "cannot `action`".
    #[must_use]
    pub fn io(action: &str, file: &Path, offset: Option<u64>, error: &io::Error) -> Self {
        let kind = match error.kind() {
            _ if no_descriptors(error) => ErrorKind::NoDescriptors,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            _ => ErrorKind::Io,
        };
        Self::new(kind, file, offset, format!("cannot {action}: {error}"))
    }

    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file at fault; empty when an argument is.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The byte in the file from which on it is at fault.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }
}

/// The standard library has no stable name for it. The numbers are the same on Linux, macOS and the BSDs.
fn no_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ERROR_TOO_MANY_OPEN_FILES: i32 = 4;
    match error.raw_os_error() {
        Some(ENFILE | EMFILE) => cfg!(unix),
        Some(ERROR_TOO_MANY_OPEN_FILES) => cfg!(windows),
        _ => false,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}: ", self.file.display())?;
        }
        if let Some(offset) = self.offset {
            write!(f, "byte {offset}: ")?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
