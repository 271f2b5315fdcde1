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

use std::alloc::{Layout, alloc, handle_alloc_error, realloc};
use std::{fmt, ptr};

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

/// Makes a function the handler of this module: `fn(Event) -> Outcome`. With `init = start` also one that is called in every
/// new instance before its first event: `fn() -> Result<(), String>`, whose error stops the handler from being loaded.
#[macro_export]
macro_rules! handler {
    ($transform:path) => {
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
    };
    ($transform:path, init = $init:path) => {
        $crate::handler!($transform);
        const _: () = {
            #[export_name = "init"]
            unsafe extern "C" fn export() -> *mut $crate::abi::Answer {
                $crate::abi::Answer::of_init($init())
            }

            #[export_name = "cabi_post_init"]
            unsafe extern "C" fn after(answer: *mut $crate::abi::Answer) {
                $crate::abi::Answer::free(answer)
            }
        };
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

/// What [`handler!`] expands to needs these; nobody else does.
#[doc(hidden)]
pub mod abi {
    use super::*;

    /// A text whose memory was given by [`cabi_realloc`].
    ///
    /// # Safety
    /// `at` is what the hub passed with `len`.
    pub unsafe fn text(at: *mut u8, len: usize) -> String {
        if len == 0 {
            return String::new();
        }
        // The hub passes UTF-8: the contract says `string`.
        String::from_raw_parts(at, len, len)
    }

    /// The same for a text that may be absent.
    ///
    /// # Safety
    /// As [`text`].
    pub unsafe fn optional(is_some: u32, at: *mut u8, len: usize) -> Option<String> {
        (is_some != 0).then(|| text(at, len))
    }

    /// An outcome as the hub reads it, and behind it what it points to.
    #[repr(C)]
    pub struct Answer {
        tag: u32,
        at: *const u8,
        len: usize,
        text: String,
        events: Vec<RawEvent>,
        emitted: Vec<Event>,
    }

    #[repr(C)]
    struct RawText(*const u8, usize);

    #[repr(C)]
    struct RawOption(u32, RawText);

    #[repr(C)]
    struct RawEvent {
        topic: RawText,
        kind: RawOption,
        id: RawOption,
        data: RawText,
    }

    fn raw(text: &str) -> RawText {
        RawText(text.as_ptr(), text.len())
    }

    fn raw_option(text: Option<&str>) -> RawOption {
        RawOption(u32::from(text.is_some()), raw(text.unwrap_or("")))
    }

    impl Answer {
        pub fn new(outcome: Outcome) -> *mut Self {
            match outcome {
                Outcome::Pass => Self::with(0, String::new(), Vec::new()),
                Outcome::Drop => Self::with(1, String::new(), Vec::new()),
                Outcome::Replace(data) => Self::with(2, data, Vec::new()),
                Outcome::Emit(events) => Self::with(3, String::new(), events),
                Outcome::Reject(reason) => Self::with(4, reason, Vec::new()),
            }
        }

        pub fn of_init(result: Result<(), String>) -> *mut Self {
            match result {
                Ok(()) => Self::with(0, String::new(), Vec::new()),
                Err(reason) => Self::with(1, reason, Vec::new()),
            }
        }

        fn with(tag: u32, text: String, emitted: Vec<Event>) -> *mut Self {
            let raw_event = |event: &Event| RawEvent {
                topic: raw(&event.topic),
                kind: raw_option(event.kind.as_deref()),
                id: raw_option(event.id.as_deref()),
                data: raw(&event.data),
            };
            let events: Vec<RawEvent> = emitted.iter().map(raw_event).collect();
            let (at, len) = match emitted.is_empty() && tag != 3 {
                true => (text.as_ptr(), text.len()),
                false => (events.as_ptr().cast(), events.len()),
            };
            Box::into_raw(Box::new(Self { tag, at, len, text, events, emitted }))
        }

        /// # Safety
        /// `answer` is one of these that the hub has read.
        pub unsafe fn free(answer: *mut Self) {
            let answer = *Box::from_raw(answer);
            drop((answer.text, answer.events, answer.emitted));
        }
    }

    /// Memory for what the hub passes in.
    ///
    /// # Safety
    /// As the canonical ABI has it.
    #[cfg_attr(target_arch = "wasm32", export_name = "cabi_realloc")]
    pub unsafe extern "C" fn cabi_realloc(
        old: *mut u8,
        old_size: usize,
        align: usize,
        size: usize,
    ) -> *mut u8 {
        if size == 0 {
            return align as *mut u8;
        }
        let layout = Layout::from_size_align_unchecked(size, align);
        let at = match old_size {
            0 => alloc(layout),
            _ => realloc(old, Layout::from_size_align_unchecked(old_size, align), size),
        };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        at
    }

    macro_rules! imports {
        ($($interface:literal { $($name:literal as $function:ident($($argument:ty),*) $(-> $result:ty)?;)+ })+) => {
            $(
                #[cfg(target_arch = "wasm32")]
                #[link(wasm_import_module = $interface)]
                extern "C" {
                    $(#[link_name = $name] fn $function($(_: $argument),*) $(-> $result)?;)+
                }
                $(
                    // So that a handler's own functions can be tested where they are written.
                    #[cfg(not(target_arch = "wasm32"))]
                    unsafe fn $function($(_: $argument),*) $(-> $result)? {
                        panic!("{} {} is there in a hub only", $interface, $name)
                    }
                )+
            )+
        };
    }

    imports! {
        "fanfare:handler/log@0.1.0" { "log" as import_log(u32, *const u8, usize); }
        "fanfare:handler/config@0.1.0" { "get" as import_config_get(*const u8, usize, *mut [usize; 3]); }
        "fanfare:handler/clock@0.1.0" { "now" as import_now() -> u64; }
        "fanfare:handler/kv@0.1.0" {
            "get" as import_kv_get(*const u8, usize, *mut [usize; 3]);
            "set" as import_kv_set(*const u8, usize, *const u8, usize, u32, u64, *mut [u8; 2]);
            "delete" as import_kv_delete(*const u8, usize) -> u32;
            "increment" as import_kv_increment(*const u8, usize, i64, u32, u64, *mut [u64; 2]);
            "compare-and-set" as import_kv_compare_and_set(
                *const u8, usize, u32, *const u8, usize, *const u8, usize, u32, u64, *mut [u8; 2]);
        }
    }

    fn refused(error: u8) -> KvError {
        match error {
            0 => KvError::Full,
            1 => KvError::InvalidKey,
            _ => KvError::NotANumber,
        }
    }

    fn ttl_of(ttl: Option<u64>) -> (u32, u64) {
        (u32::from(ttl.is_some()), ttl.unwrap_or(0))
    }

    /// An optional text that the hub has written: a flag in the first byte, pointer and length.
    unsafe fn returned([is_some, at, len]: [usize; 3]) -> Option<String> {
        optional(is_some as u32 & 1, at as *mut u8, len)
    }

    pub fn log(level: u32, line: &str) {
        // SAFETY: the memory lives as long as the call, here and in all that follow.
        unsafe { import_log(level, line.as_ptr(), line.len()) }
    }

    pub fn config_get(key: &str) -> Option<String> {
        let mut result = [0; 3];
        unsafe {
            import_config_get(key.as_ptr(), key.len(), &mut result);
            returned(result)
        }
    }

    pub fn now() -> u64 {
        unsafe { import_now() }
    }

    pub fn kv_get(key: &str) -> Option<String> {
        let mut result = [0; 3];
        unsafe {
            import_kv_get(key.as_ptr(), key.len(), &mut result);
            returned(result)
        }
    }

    pub fn kv_set(key: &str, value: &str, ttl: Option<u64>) -> Result<(), KvError> {
        let (has_ttl, ttl) = ttl_of(ttl);
        let mut result = [0; 2];
        unsafe {
            import_kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), has_ttl, ttl, &mut result)
        }
        match result {
            [0, _] => Ok(()),
            [_, error] => Err(refused(error)),
        }
    }

    pub fn kv_delete(key: &str) -> bool {
        unsafe { import_kv_delete(key.as_ptr(), key.len()) & 1 == 1 }
    }

    pub fn kv_increment(key: &str, by: i64, ttl: Option<u64>) -> Result<i64, KvError> {
        let (has_ttl, ttl) = ttl_of(ttl);
        let mut result = [0; 2];
        unsafe { import_kv_increment(key.as_ptr(), key.len(), by, has_ttl, ttl, &mut result) }
        match result {
            [is_error, sum] if is_error as u8 == 0 => Ok(sum as i64),
            [_, error] => Err(refused(error as u8)),
        }
    }

    pub fn kv_compare_and_set(
        key: &str,
        expected: Option<&str>,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<bool, KvError> {
        let (has_ttl, ttl) = ttl_of(ttl);
        let (at, len) = expected.map_or((ptr::null(), 0), |text| (text.as_ptr(), text.len()));
        let is_some = u32::from(expected.is_some());
        let (key_at, value_at) = (key.as_ptr(), value.as_ptr());
        let mut result = [0; 2];
        unsafe {
            import_kv_compare_and_set(
                key_at,
                key.len(),
                is_some,
                at,
                len,
                value_at,
                value.len(),
                has_ttl,
                ttl,
                &mut result,
            )
        }
        match result {
            [0, done] => Ok(done == 1),
            [_, error] => Err(refused(error)),
        }
    }
}
