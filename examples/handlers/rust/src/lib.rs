//! Fanfare event handlers in Rust.
//!
//! ```ignore
//! use fanfare_handler::{handler, kv, Event, Outcome};
//!
//! handler!(transform);
//!
//! fn transform(event: Event) -> Outcome {
//!     match kv::increment(&event.data, 1, None) {
//!         Ok(votes) => Outcome::Replace(format!("{}: {votes}", event.data)),
//!         Err(why) => Outcome::Reject(why.to_string()),
//!     }
//! }
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` for `wasm32-unknown-unknown`; the hub makes the component. Nothing else is needed: this
//! crate has no dependencies and follows the contract `fanfare:handler@0.1.0` by the component model's canonical ABI.
//!
//! An instance serves one event at a time and may end at any time, so statics are a cache: what has to last goes into
//! [`kv`]. A panic is a fault, about which the hub's `handler.on_fault` decides; a refusal is [`Outcome::Reject`].

use std::fmt;

#[doc(hidden)]
pub mod abi;

/// One event on its way to its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The topic it was published to; in an emitted event, the topic it goes to.
    pub topic: String,
    /// Its type, `event:` on the wire.
    pub kind: Option<String>,
    /// The publisher's own id; in an emitted event, `None` lets the hub give one.
    pub id: Option<String>,
    /// The payload: any text.
    pub data: String,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is broadcast as it is: the cheapest answer.
    Pass,
    /// Nothing is broadcast, and its publisher is told that all went well.
    Drop,
    /// It is broadcast with this payload.
    Replace(String),
    /// These are broadcast instead, in this order, in one step. They may name other topics.
    Emit(Vec<Event>),
    /// Nothing is broadcast, and its publisher is told this reason.
    Reject(String),
}

/// Somebody who wants to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// Those of the topics it wants that this handler handles; at least one.
    pub topics: Vec<String>,
    /// The event types it wants; none means all.
    pub kinds: Vec<String>,
    /// Its name (`?client=`).
    pub client: Option<String>,
    /// The id it resumes after, as it was sent; no proof of anything.
    pub last_event_id: Option<String>,
}

/// What becomes of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// It reads what it asked for.
    Admit,
    /// It gets these first, and then what is published from now on. They name topics of the subscriber's and have no id.
    Greet(Vec<Event>),
    /// It is turned away and told this reason.
    Refuse(String),
}

/// Makes a function the handler of this module: `fn(Event) -> Outcome`. Others are added by their names, in any order:
///
/// | | the function | is called |
/// |---|---|---|
/// | `init = start` | `fn() -> Result<(), String>` | in every new instance before its first event; an error stops the handler from being loaded |
/// | `on_subscribe = welcome` | `fn(Subscriber) -> Welcome` | for each reader, while no event is under way |
/// | `tick = every_second` | `fn() -> Vec<Event>` | when time has passed (`handler.tick`) |
/// | `transform_batch = several` | `fn(Vec<Event>) -> Vec<Outcome>` | for events published in one step: one outcome for each |
#[macro_export]
macro_rules! handler {
    ($transform:path $(, $export:ident = $function:path)* $(,)?) => {
        const _: () = {
            #[export_name = "transform"]
            unsafe extern "C" fn export(
                topic: *mut u8,
                topic_len: usize,
                has_kind: u32,
                kind: *mut u8,
                kind_len: usize,
                has_id: u32,
                id: *mut u8,
                id_len: usize,
                data: *mut u8,
                data_len: usize,
            ) -> *mut $crate::abi::Answer {
                let event = $crate::Event {
                    topic: $crate::abi::text(topic, topic_len),
                    kind: $crate::abi::optional(has_kind, kind, kind_len),
                    id: $crate::abi::optional(has_id, id, id_len),
                    data: $crate::abi::text(data, data_len),
                };
                $crate::abi::Answer::new($transform(event))
            }

            #[export_name = "cabi_post_transform"]
            unsafe extern "C" fn after(answer: *mut $crate::abi::Answer) {
                $crate::abi::Answer::free(answer)
            }
        };
        $($crate::export!($export $function);)*
    };
}

/// An export besides `transform`, for [`handler!`].
#[doc(hidden)]
#[macro_export]
macro_rules! export {
    (init $function:path) => {
        const _: () = {
            #[export_name = "init"]
            unsafe extern "C" fn export() -> *mut $crate::abi::Answer {
                $crate::abi::Answer::of_init($function())
            }

            #[export_name = "cabi_post_init"]
            unsafe extern "C" fn after(answer: *mut $crate::abi::Answer) {
                $crate::abi::Answer::free(answer)
            }
        };
    };
    (on_subscribe $function:path) => {
        const _: () = {
            #[export_name = "on-subscribe"]
            unsafe extern "C" fn export(
                topics: *mut $crate::abi::RawText,
                topics_len: usize,
                kinds: *mut $crate::abi::RawText,
                kinds_len: usize,
                has_client: u32,
                client: *mut u8,
                client_len: usize,
                has_last: u32,
                last: *mut u8,
                last_len: usize,
            ) -> *mut $crate::abi::Answer {
                $crate::abi::Answer::of_welcome($function($crate::abi::subscriber(
                    topics, topics_len, kinds, kinds_len, has_client, client, client_len, has_last, last,
                    last_len,
                )))
            }

            #[export_name = "cabi_post_on-subscribe"]
            unsafe extern "C" fn after(answer: *mut $crate::abi::Answer) {
                $crate::abi::Answer::free(answer)
            }
        };
    };
    (tick $function:path) => {
        const _: () = {
            #[export_name = "tick"]
            unsafe extern "C" fn export() -> *mut $crate::abi::List {
                $crate::abi::List::of_events($function())
            }

            #[export_name = "cabi_post_tick"]
            unsafe extern "C" fn after(made: *mut $crate::abi::List) {
                $crate::abi::List::free(made)
            }
        };
    };
    (transform_batch $function:path) => {
        const _: () = {
            #[export_name = "transform-batch"]
            unsafe extern "C" fn export(
                events: *mut $crate::abi::RawEvent,
                count: usize,
            ) -> *mut $crate::abi::List {
                $crate::abi::List::of_outcomes($function($crate::abi::events(events, count)))
            }

            #[export_name = "cabi_post_transform-batch"]
            unsafe extern "C" fn after(made: *mut $crate::abi::List) {
                $crate::abi::List::free(made)
            }
        };
    };
    ($other:ident $function:path) => {
        compile_error!("a handler has init, on_subscribe, tick and transform_batch besides transform");
    };
}

/// Lines in the hub's log. What goes beyond the limit of a call is cut off.
pub mod log {
    use super::abi;

    /// A line of level debug.
    pub fn debug(line: &str) {
        abi::log(0, line)
    }

    /// A line of level info.
    pub fn info(line: &str) {
        abi::log(1, line)
    }

    /// A line of level warn.
    pub fn warn(line: &str) {
        abi::log(2, line)
    }

    /// A line of level error.
    pub fn error(line: &str) {
        abi::log(3, line)
    }
}

/// What the operator has set for this handler (`handler.config`).
pub mod config {
    use super::abi;

    /// A value by its name.
    pub fn get(key: &str) -> Option<String> {
        abi::config_get(key)
    }
}

/// The time of day.
pub mod clock {
    use super::abi;

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now() -> u64 {
        abi::now()
    }
}

/// State that outlives instances and reloads: texts by key, seen by this handler alone. Times to live are in milliseconds.
pub mod kv {
    pub use super::KvError;
    use super::abi;

    /// The value of a key.
    pub fn get(key: &str) -> Option<String> {
        abi::kv_get(key)
    }

    /// Sets a value.
    pub fn set(key: &str, value: &str, ttl: Option<u64>) -> Result<(), KvError> {
        abi::kv_set(key, value, ttl)
    }

    /// Removes a key; whether it was there.
    pub fn delete(key: &str) -> bool {
        abi::kv_delete(key)
    }

    /// Adds to a whole number and returns the sum; an absent key counts as 0, and `ttl` applies to it alone.
    pub fn increment(key: &str, by: i64, ttl: Option<u64>) -> Result<i64, KvError> {
        abi::kv_increment(key, by, ttl)
    }

    /// Sets a value if the present one is `expected`, `None` meaning that there is none; whether it did.
    pub fn compare_and_set(
        key: &str,
        expected: Option<&str>,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<bool, KvError> {
        abi::kv_compare_and_set(key, expected, value, ttl)
    }
}

/// Why the store was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvError {
    /// It holds as many bytes as it may (`handler.state_bytes`).
    Full,
    /// The key is empty or longer than 255 bytes.
    InvalidKey,
    /// The value is not a whole number that fits 64 bits, or the sum is not.
    NotANumber,
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KvError::Full => "the state of this handler is full",
            KvError::InvalidKey => "a key has 1 to 255 bytes",
            KvError::NotANumber => "not a whole number of 64 bits",
        })
    }
}

impl std::error::Error for KvError {}
