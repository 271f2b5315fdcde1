//! The component model's canonical ABI, as far as the contract needs it: what [`handler!`](crate::handler) expands to, and the
//! imports. For nobody else.

use std::alloc::{Layout, alloc, handle_alloc_error, realloc};
use std::ptr;

use crate::{Event, KvError, Outcome, Subscriber, Welcome};

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

/// The same for a list of texts.
///
/// # Safety
/// As [`text`].
unsafe fn texts(at: *mut RawText, len: usize) -> Vec<String> {
    if len == 0 {
        return Vec::new();
    }
    Vec::from_raw_parts(at, len, len).into_iter().map(|RawText(at, len)| text(at.cast_mut(), len)).collect()
}

#[repr(C)]
pub struct RawText(*const u8, usize);

/// A byte that is 1 if there is a text.
#[repr(C)]
struct RawOption(u8, RawText);

#[repr(C)]
pub struct RawEvent {
    topic: RawText,
    kind: RawOption,
    id: RawOption,
    data: RawText,
}

impl RawText {
    fn of(text: &str) -> Self {
        Self(text.as_ptr(), text.len())
    }
}

impl RawOption {
    fn of(text: Option<&str>) -> Self {
        Self(u8::from(text.is_some()), RawText::of(text.unwrap_or("")))
    }

    unsafe fn taken(self) -> Option<String> {
        optional(u32::from(self.0), self.1.0.cast_mut(), self.1.1)
    }
}

impl RawEvent {
    fn of(event: &Event) -> Self {
        Self {
            topic: RawText::of(&event.topic),
            kind: RawOption::of(event.kind.as_deref()),
            id: RawOption::of(event.id.as_deref()),
            data: RawText::of(&event.data),
        }
    }

    unsafe fn taken(self) -> Event {
        Event {
            topic: text(self.topic.0.cast_mut(), self.topic.1),
            kind: self.kind.taken(),
            id: self.id.taken(),
            data: text(self.data.0.cast_mut(), self.data.1),
        }
    }
}

/// The events of a batch.
///
/// # Safety
/// As [`text`].
pub unsafe fn events(at: *mut RawEvent, len: usize) -> Vec<Event> {
    if len == 0 {
        return Vec::new();
    }
    Vec::from_raw_parts(at, len, len).into_iter().map(|event| event.taken()).collect()
}

/// Who wants to read.
///
/// # Safety
/// As [`text`].
#[allow(clippy::too_many_arguments)]
pub unsafe fn subscriber(
    topics: *mut RawText,
    topics_len: usize,
    kinds: *mut RawText,
    kinds_len: usize,
    has_client: u32,
    client: *mut u8,
    client_len: usize,
    has_last: u32,
    last: *mut u8,
    last_len: usize,
) -> Subscriber {
    Subscriber {
        topics: texts(topics, topics_len),
        kinds: texts(kinds, kinds_len),
        client: optional(has_client, client, client_len),
        last_event_id: optional(has_last, last, last_len),
    }
}

/// An answer as the hub reads it: three words.
#[repr(C)]
struct RawAnswer(u32, *const u8, usize);

/// An answer, and behind it what it points to.
#[repr(C)]
pub struct Answer {
    raw: RawAnswer,
    text: String,
    events: Vec<RawEvent>,
    made: Vec<Event>,
}

impl Answer {
    pub fn new(outcome: Outcome) -> *mut Self {
        Box::into_raw(Box::new(Self::of_outcome(outcome)))
    }

    pub fn of_init(result: Result<(), String>) -> *mut Self {
        Box::into_raw(Box::new(match result {
            Ok(()) => Self::of_text(0, String::new()),
            Err(reason) => Self::of_text(1, reason),
        }))
    }

    pub fn of_welcome(welcome: Welcome) -> *mut Self {
        Box::into_raw(Box::new(match welcome {
            Welcome::Admit => Self::of_text(0, String::new()),
            Welcome::Greet(events) => Self::of_events(1, events),
            Welcome::Refuse(reason) => Self::of_text(2, reason),
        }))
    }

    fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::of_text(0, String::new()),
            Outcome::Drop => Self::of_text(1, String::new()),
            Outcome::Replace(data) => Self::of_text(2, data),
            Outcome::Emit(events) => Self::of_events(3, events),
            Outcome::Reject(reason) => Self::of_text(4, reason),
        }
    }

    fn of_text(tag: u32, text: String) -> Self {
        let raw = RawAnswer(tag, text.as_ptr(), text.len());
        Self { raw, text, events: Vec::new(), made: Vec::new() }
    }

    fn of_events(tag: u32, made: Vec<Event>) -> Self {
        let events: Vec<_> = made.iter().map(RawEvent::of).collect();
        let raw = RawAnswer(tag, events.as_ptr().cast(), events.len());
        Self { raw, text: String::new(), events, made }
    }

    /// # Safety
    /// `answer` is one of these that the hub has read.
    pub unsafe fn free(answer: *mut Self) {
        let Answer { text, events, made, .. } = *Box::from_raw(answer);
        drop((text, events, made));
    }
}

/// A list as the hub reads it, and behind it what it points to.
#[repr(C)]
pub struct List {
    at: *const u8,
    len: usize,
    outcomes: Vec<RawAnswer>,
    answers: Vec<Answer>,
}

impl List {
    pub fn of_events(made: Vec<Event>) -> *mut Self {
        let answer = Answer::of_events(0, made);
        let RawAnswer(_, at, len) = answer.raw;
        Box::into_raw(Box::new(Self { at, len, outcomes: Vec::new(), answers: vec![answer] }))
    }

    pub fn of_outcomes(outcomes: Vec<Outcome>) -> *mut Self {
        let answers: Vec<_> = outcomes.into_iter().map(Answer::of_outcome).collect();
        let outcomes: Vec<_> =
            answers.iter().map(|Answer { raw, .. }| RawAnswer(raw.0, raw.1, raw.2)).collect();
        let (at, len) = (outcomes.as_ptr().cast(), outcomes.len());
        Box::into_raw(Box::new(Self { at, len, outcomes, answers }))
    }

    /// # Safety
    /// As [`Answer::free`].
    pub unsafe fn free(list: *mut Self) {
        let List { outcomes, answers, .. } = *Box::from_raw(list);
        drop((outcomes, answers));
    }
}

/// Memory for what the hub passes in.
///
/// # Safety
/// As the canonical ABI has it.
#[cfg_attr(target_arch = "wasm32", export_name = "cabi_realloc")]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
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
    unsafe { import_kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), has_ttl, ttl, &mut result) }
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
