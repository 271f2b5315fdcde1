//! What a handler has done, as it tells itself.

/// Counters of one handler at one moment. They grow from 0 over the handler's life, whatever code it runs by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerStats {
    /// Events that it was called for, and calls for readers and for time that passed.
    pub calls: u64,
    /// What it answered, by outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// How it failed, by kind.
    pub faults: Vec<(&'static str, u64)>,
    /// Events, and readers, decided by its fault policy without a call, while it rested after many faults in a row.
    pub rested: u64,
    /// How long the calls took, all together, in nanoseconds.
    pub time_ns: u64,
    /// How many calls took at most so long: upper bounds in microseconds, rising, each with the calls up to it.
    pub times_us: Vec<(u64, u64)>,
    /// Instances of its code now.
    pub instances: u64,
    /// Instances that were replaced, for whatever reason.
    pub recycled: u64,
    /// The most memory that any one instance has held, in bytes.
    pub memory_bytes: u64,
    /// Bytes of state that it keeps beside its instances.
    pub state_bytes: u64,
    /// How often its code was exchanged.
    pub reloads: u64,
    /// How often new code was refused; the old code went on.
    pub failed_reloads: u64,
}

/// One handler of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerInfo {
    /// Its name.
    pub name: String,
    /// The topics whose events it sees.
    pub topics: super::TopicPattern,
    /// The types of the events it sees; none = all.
    pub events: Vec<String>,
    /// What it says about itself, if it counts.
    pub stats: Option<HandlerStats>,
}
