//! The Fanfare engine: ordered topics, ring history, resume and fan-out, with no socket, clock, thread or runtime.
//!
//! # The life of an event
//!
//! ```text
//! publish -> admit -> handlers -> render once -> history -> wake watchers -> pull -> write
//! Draft               Verdict     Frame          Log, Ring  Watcher          Subscription
//! ```
//! 1. A publisher writes a [`Draft`]; its fields are checked once, here.
//! 2. Handlers that want its topic may pass, change, drop, multiply or refuse it.
//! 3. It is rendered as Server-Sent-Events bytes into one shared [`Frame`].
//! 4. One short critical section gives it the hub's next position and appends it to its topic's ring.
//! 5. Each interested [`Watcher`] is marked, and woken if it sleeps.
//! 6. A [`Subscription`] is a cursor: its reader pulls frames from the rings when it likes, and is told what it missed.
//!
//! ```
//! use fanfare_engine::{Config, Draft, Engine, Epoch, Pulled, Start, SubscribeOptions, Timestamp};
//!
//! let engine = Engine::new(Config::new(Epoch::parse("k3f9x2ab")?))?;
//! engine.publish(Draft::new("chat", "hello").with_event("greet"), Timestamp(0))?;
//!
//! let watcher = engine.watcher();
//! let options = SubscribeOptions { topics: vec!["chat".into()], start: Start::All, ..Default::default() };
//! let reader = engine.subscribe(&watcher, &options, Timestamp(0))?;
//!
//! let mut frames = Vec::new();
//! assert_eq!(reader.pull(&mut frames, 64 * 1024), Pulled::Idle);
//! assert_eq!(frames[0].wire(), b"event: greet\ndata: hello\nid: k3f9x2ab-1\n\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules are declared in layer order: each imports only from those above it.

mod sync;

#[doc(hidden)]
pub mod failpoint;

mod code;
mod id;
pub mod options;
mod time;

mod config;
mod draft;

pub mod wire;

mod journal;

mod handler;
mod table;

mod history;

mod fanout;
mod stats;

mod topic;

mod core;

mod subscription;

mod engine;

pub use code::Code;
pub use config::{Config, ConfigError, History, Limits, TopicConfig};
pub use draft::{
    Draft, Field, InvalidField, MAX_CLIENT_BYTES, MAX_EVENT_TYPE_BYTES, MAX_KEY_BYTES, MAX_RETRY_MS,
    MAX_TOPIC_BYTES, RESERVED_EVENT_PREFIX, Reason, check_client, check_event_type, check_topic,
};
pub use engine::{BatchError, Engine, PublishError, Published, Started};
pub use fanout::Watcher;
pub use handler::{
    Fault, Handler, HandlerError, HandlerInfo, HandlerSpec, HandlerStats, MAX_BATCH, OnFault, OpenState,
    TopicPattern, Turn, Verdict, Visitor, Welcome,
};
pub use history::TopicKey;
pub use id::{Epoch, EventId, InvalidEpoch, MAX_ID_BYTES, is_valid_id};
pub use journal::{
    Journal, JournalError, JournalStats, Lent, ReadFrom, ReadRequest, Settlement, StateChanges, StateValue,
    StoredGap, StoredPage, StoredState, Ticket,
};
pub use stats::{Stats, TopicStats};
pub use subscription::{
    LagPolicy, Pulled, Start, SubscribeError, SubscribeOptions, Subscription, SubscriptionKey,
    UnknownLagPolicy, pull_each,
};
pub use table::Key;
pub use time::Timestamp;
pub use wire::{Frame, WeakFrame};
