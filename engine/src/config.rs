//! What an engine may be told, and the one table of its options.

use core::fmt;

use crate::id::Epoch;
use crate::options::{Kind, OptionSpec};

const MIB: u64 = 1 << 20;

/// An engine's configuration. [`Config::OPTIONS`] is what users may set; epoch and seed come from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Names this life of the sequence; a new one whenever history starts empty.
    pub epoch: Epoch,
    /// Seed of the hash tables that hold names from outside: random, so that nobody can choose colliding names.
    pub hash_seed: u64,
    /// What a topic keeps.
    pub history: History,
    /// What the hub refuses beyond.
    pub limits: Limits,
    /// Life of topics.
    pub topic: TopicConfig,
}

/// What a topic keeps; whichever limit is reached first evicts its oldest events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Events, at least 1.
    pub events: u32,
    /// Bytes, bookkeeping included. The newest event stays whatever its size.
    pub bytes: u64,
    /// Milliseconds; 0 = no limit.
    pub age_ms: u64,
}

/// What the hub refuses beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one event's data.
    pub event_bytes: u64,
    /// Bytes of all topics together; beyond, the oldest events of the hub are evicted.
    pub history_bytes: u64,
    /// Topics at the same time.
    pub topics: u32,
    /// Topics of one subscription.
    pub topics_per_stream: u32,
    /// Keys whose latest event is kept for conflating readers that fell behind, per topic.
    pub conflate_keys: u32,
}

/// Life of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Milliseconds after which a topic is freed that is empty and has no reader.
    pub idle_ms: u64,
}

impl Config {
    /// The defaults, for a hub of the given epoch. They suit a small machine.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            hash_seed: 0,
            history: History { events: 1024, bytes: 8 * MIB, age_ms: 3_600_000 },
            limits: Limits {
                event_bytes: MIB,
                history_bytes: 256 * MIB,
                topics: 100_000,
                topics_per_stream: 100,
                conflate_keys: 10_000,
            },
            topic: TopicConfig { idle_ms: 60_000 },
        }
    }

    /// Every option of the engine.
    pub const OPTIONS: &'static [OptionSpec<Config>] = &[
        crate::option!(
            Config,
            history.events,
            "history.events",
            Kind::Count { min: 1, max: 1 << 24 },
            "1024",
            "Events kept per topic for replay and resume."
        ),
        crate::option!(
            Config,
            history.bytes,
            "history.bytes",
            Kind::Bytes { min: 0, max: 1 << 40 },
            "8MiB",
            "Bytes kept per topic, bookkeeping included. The newest event stays whatever its size."
        ),
        crate::option!(
            Config,
            history.age_ms,
            "history.age",
            Kind::Duration { min: 0, max: 366 * 86_400_000 },
            "1h",
            "Time for which events are kept. 0 = no limit. Checked every second."
        ),
        crate::option!(
            Config,
            limits.event_bytes,
            "limits.event_bytes",
            Kind::Bytes { min: 1, max: 64 * MIB },
            "1MiB",
            "Largest data of one event. A larger one is refused with `too_large`."
        ),
        crate::option!(
            Config,
            limits.history_bytes,
            "limits.history_bytes",
            Kind::Bytes { min: MIB, max: 1 << 44 },
            "256MiB",
            "Bytes of history kept by all topics together. Beyond, the oldest events of the hub are evicted."
        ),
        crate::option!(
            Config,
            limits.topics,
            "limits.topics",
            Kind::Count { min: 1, max: 10_000_000 },
            "100000",
            "Topics at the same time. One more is refused with `limit_topics`; idle empty topics are freed."
        ),
        crate::option!(
            Config,
            limits.topics_per_stream,
            "limits.topics_per_stream",
            Kind::Count { min: 1, max: 10_000 },
            "100",
            "Topics of one stream."
        ),
        crate::option!(
            Config,
            limits.conflate_keys,
            "limits.conflate_keys",
            Kind::Count { min: 1, max: 10_000_000 },
            "10000",
            "Keys per topic whose latest event is kept for readers with `lag=conflate` that fell behind."
        ),
        crate::option!(
            Config,
            topic.idle_ms,
            "topic.idle",
            Kind::Duration { min: 0, max: 366 * 86_400_000 },
            "1m",
            "Time after which a topic is freed that holds no event and has no reader."
        ),
    ];

    /// Checks what the ranges of single options cannot.
    ///
    /// # Errors
    /// [`ConfigError`] names the option at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // A frame's positions are 32 bits wide, and an event may grow seven times when every byte is a line end.
        if self.limits.event_bytes > 64 * MIB {
            return Err(ConfigError { key: "limits.event_bytes", reason: "is more than 64MiB" });
        }
        if self.history.events == 0 || self.history.events > 1 << 24 {
            return Err(ConfigError { key: "history.events", reason: "is not 1 to 16777216" });
        }
        if self.limits.history_bytes < 2 * self.limits.event_bytes {
            return Err(ConfigError {
                key: "limits.history_bytes",
                reason: "is less than two events of limits.event_bytes",
            });
        }
        Ok(())
    }
}

impl Default for Config {
    /// [`Config::new`] with an epoch for tests and for reading defaults; a host brings its own.
    fn default() -> Self {
        Self::new(Epoch::from_seed(0))
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The option at fault.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options;

    #[test]
    fn the_table_agrees_with_the_defaults() {
        assert_eq!(options::check(Config::OPTIONS, &Config::default()), Vec::<String>::new());
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn contradictions_name_the_key() {
        let mut config = Config::default();
        config.limits.history_bytes = MIB;
        assert_eq!(config.validate().unwrap_err().key, "limits.history_bytes");
    }
}
