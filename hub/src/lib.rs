//! The hub: engine and server under one configuration, started and stopped as one.
//!
//! This is the one place that knows all parts. The command line and the C ABI are thin layers over it.
//!
//! * [`config`] — what can be set: the tables of all parts under one roof.
//! * [`data`] — history on disk, with the feature `store`.
//! * [`keys`] — one option by its key, whichever part it belongs to; the nearest key to a misspelt one.
//! * [`load`] — defaults, file, environment and flags, in that order; every refusal names key and place.
//! * [`mod@reference`] — the configuration as text: effective values, and the documentation page.
//! * [`handlers`] — event handlers of WebAssembly, with the features `wasm` and `wasm-jit`.
//! * [`hub`] — start, publish, subscribe, stop.
//!
//! ```no_run
//! use fanfare_hub::{Hub, Loader};
//!
//! let mut loader = Loader::new();
//! loader.flag("--set", "listen", "127.0.0.1:0")?;
//! let hub = Hub::start(loader.finish()?)?;
//! println!("{}", hub.url());
//! let deadline = hub.stop_timeout();
//! hub.stop(deadline);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "console")]
mod console;

#[cfg(feature = "http")]
mod http;
#[cfg(not(feature = "http"))]
#[path = "no_http.rs"]
mod http;
pub use http::{Clock, StopReport, embed};

#[cfg(feature = "store")]
mod lending;

#[cfg(feature = "store")]
pub mod data;
#[cfg(not(feature = "store"))]
#[path = "no_data.rs"]
pub mod data;

pub mod config;
pub use config::{HubConfig, Level, OwnConfig};

pub mod keys;

mod file;

pub mod load;
pub use load::{LoadError, Loader, Place};

pub mod reference;

pub mod handlers;
pub use handlers::{HANDLERS, HandlerLoadError, HandlerSource};

pub mod hub;
pub use hub::{Hub, StartError};

#[cfg(feature = "http")]
mod host;

/// Reading event streams, for clients.
pub use fanfare_engine::wire::parse as client;

/// Who may subscribe, publish and close: `HubConfig::server.authorizer`.
#[cfg(feature = "http")]
pub use fanfare_server::authorize;
#[cfg(not(feature = "http"))]
pub use http::authorize;

pub use fanfare_engine as engine;
#[cfg(feature = "store")]
pub use fanfare_store as store;
#[cfg(feature = "wasm")]
pub use fanfare_wasi_host as wasi;
