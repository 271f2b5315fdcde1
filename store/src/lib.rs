//! Fanfare's history on disk: a log of events in order of their positions, with group commit.
//!
//! ```
//! use fanfare_engine::Draft;
//! use fanfare_store::{Config, PageLimits, Store, Topics};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = Store::open(dir.path(), Config::default())?;
//! let position = store.append(&[Draft::new("chat", "hello")], &[], 1_700_000_000_000)?;
//! store.flush()?;
//!
//! let limits = PageLimits { events: 100, bytes: 64 * 1024 };
//! let page = store.page(Topics::Only(&["chat"]), position - 1, limits)?;
//! assert_eq!((page.events[0].position, &*page.events[0].draft.data), (position, "hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/store.md` says what is promised, how files look, and why this is no library. Modules are declared in layer
//! order: each imports only from those above it.

mod error;
pub use error::{Error, ErrorKind, Result};

mod disk;
pub use disk::{Disk, DiskFile, Mode, OsDisk};

mod durability;
pub use durability::{Durability, UnknownWord};

mod rules;

mod config;
pub use config::Config;

mod record;
pub use record::{Change, Event, MAX_STATE_KEY_BYTES};

mod meta;

mod state;

mod index;

mod segment;

mod pages;
pub use pages::{Gap, GapCause, Page, PageLimits, Topics};

mod writer;

mod queue;

mod sleeper;

mod ticket;
pub use ticket::Ticket;

mod recover;

mod stats;
pub use stats::{Damaged, Stats, Timing};

mod compact;

mod commit;

mod store;
pub use store::Store;

mod tables;

mod retain;

mod exchange;
pub use exchange::Report;
