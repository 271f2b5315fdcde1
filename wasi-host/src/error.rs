//! Why a handler does not load.

use std::fmt;

/// Why a file is not a usable handler. The text names the cause; it does not name the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// It is no WebAssembly, or a broken one.
    Format(String),
    /// It has more bytes than `handler.file_bytes`.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// Its size, in bytes.
        size: u64,
    },
    /// It exports no `transform`, or one of another type, or an optional export of another type.
    Contract(String),
    /// It imports what this host does not provide.
    Import(String),
    /// It could not be compiled.
    Compile(String),
    /// It could not be started: its `init` refused or failed, or it answered a first event against the contract.
    Start(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(text)
            | Self::Contract(text)
            | Self::Import(text)
            | Self::Compile(text)
            | Self::Start(text) => f.write_str(text),
            Self::TooLarge { limit, size } => {
                write!(f, "it has {size} bytes, more than {limit} (handler.file_bytes)")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// An error with its causes on one line.
pub(crate) fn plain(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
