//! The contract's words as Rust types. `wit/handler.wit` is the contract; a test holds these to it.

use std::fmt;

use fanfare_engine::{Draft, Visitor};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::fault::FaultKind;
use crate::kv::Refusal;

/// The contract itself, for core modules that carry no description of their own, and for tools.
pub const WIT: &str = include_str!("../wit/handler.wit");

/// What the contract's names begin with.
pub(crate) const PACKAGE: &str = "fanfare:handler/";
/// The version that this host provides.
pub(crate) const VERSION: &str = "0.1.0";

/// The export that makes a handler.
pub(crate) const TRANSFORM: &str = "transform";
/// Its type, for error messages.
pub(crate) const TRANSFORM_TYPE: &str = "func(event: event) -> outcome";
/// The export that is called in a new instance.
pub(crate) const INIT: &str = "init";
/// The export that is asked about readers.
pub(crate) const ON_SUBSCRIBE: &str = "on-subscribe";
/// The export that is called when time has passed.
pub(crate) const TICK: &str = "tick";
/// The export that takes several events.
pub(crate) const TRANSFORM_BATCH: &str = "transform-batch";

/// The worlds of the exports that a handler may do without.
#[cfg(feature = "wasm-jit")]
pub(crate) const OPTIONAL: [(&str, &str); 4] =
    [(INIT, "starting"), (ON_SUBSCRIBE, "welcoming"), (TICK, "ticking"), (TRANSFORM_BATCH, "batching")];

/// The full name of an interface: `fanfare:handler/kv@0.1.0`.
pub(crate) fn interface(name: &str) -> String {
    format!("{PACKAGE}{name}@{VERSION}")
}

/// The interfaces that a handler may import.
pub(crate) const INTERFACES: [&str; 5] = ["types", "log", "config", "clock", KV];
/// The one for state.
pub(crate) const KV: &str = "kv";

/// What the engine of JavaScript files imports beyond them.
pub(crate) const SCRIPT_HOST: &str = "fanfare:script/host@0.1.0";

/// Which of the exports that it may do without a script has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) on_subscribe: bool,
    pub(crate) tick: bool,
    pub(crate) transform_batch: bool,
}

/// How a script has failed, in its own words: what it threw and where, or what is wrong with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScriptFailed {
    pub(crate) kind: FaultKind,
    pub(crate) text: String,
}

impl fmt::Display for ScriptFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ScriptFailed {}

/// An event on its way in, borrowed from the draft.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct EventIn<'a> {
    topic: &'a str,
    kind: Option<&'a str>,
    id: Option<&'a str>,
    data: &'a str,
}

impl<'a> EventIn<'a> {
    pub(crate) fn of(draft: &'a Draft<'_>) -> Self {
        Self { topic: &draft.topic, kind: draft.event.as_deref(), id: draft.id.as_deref(), data: &draft.data }
    }
}

/// Who wants to read, borrowed.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct SubscriberIn<'a> {
    topics: &'a [&'a str],
    kinds: &'a [&'a str],
    client: Option<&'a str>,
    #[component(name = "last-event-id")]
    last_event_id: Option<&'a str>,
}

impl<'a> SubscriberIn<'a> {
    pub(crate) fn of(visitor: &'a Visitor<'_>) -> Self {
        Self {
            topics: &visitor.topics,
            kinds: &visitor.events,
            client: visitor.client,
            last_event_id: visitor.last_event_id,
        }
    }
}

/// An event that a handler has made.
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct EventOut {
    pub(crate) topic: String,
    pub(crate) kind: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl EventOut {
    pub(crate) fn bytes(&self) -> usize {
        let length = |field: &Option<String>| field.as_ref().map_or(0, String::len);
        self.topic.len() + length(&self.kind) + length(&self.id) + self.data.len()
    }

    pub(crate) fn into_draft(self) -> Draft<'static> {
        Draft {
            event: self.kind.map(Into::into),
            id: self.id.map(Into::into),
            ..Draft::new(self.topic, self.data)
        }
    }
}

/// What a handler answers.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(crate) enum Outcome {
    #[component(name = "pass")]
    Pass,
    #[component(name = "drop")]
    Drop,
    #[component(name = "replace")]
    Replace(String),
    #[component(name = "emit")]
    Emit(Vec<EventOut>),
    #[component(name = "reject")]
    Reject(String),
}

/// What a handler says about a reader.
#[derive(ComponentType, Lift, Debug)]
#[component(variant)]
pub(crate) enum WelcomeOut {
    #[component(name = "admit")]
    Admit,
    #[component(name = "greet")]
    Greet(Vec<EventOut>),
    #[component(name = "refuse")]
    Refuse(String),
}

/// How much a line of the log matters.
#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made by lifting, from its number")]
pub(crate) enum LogLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// Why the store was not changed.
#[derive(ComponentType, Lower, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum KvError {
    #[component(name = "full")]
    Full,
    #[component(name = "invalid-key")]
    InvalidKey,
    #[component(name = "not-a-number")]
    NotANumber,
}

impl From<Refusal> for KvError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::InvalidKey => Self::InvalidKey,
            Refusal::NotANumber => Self::NotANumber,
        }
    }
}
