//! What a hub may be told: the configuration of each part, and the few options that belong to none of them.

use std::fmt;
use std::str::FromStr;

use fanfare_engine::LagPolicy;
use fanfare_engine::options::{Kind, OptionError};

use crate::data;
use crate::http;

/// Everything a hub needs to start. The default is a hub on loopback with an empty history.
#[derive(Clone, Debug, Default)]
pub struct HubConfig {
    /// Topics, history and limits. Epoch and hash seed are ignored here: they are drawn at start, the epoch only if no store has one.
    pub engine: fanfare_engine::Config,
    /// Addresses, streams, limits of the HTTP side. Its pages are set at start.
    pub server: http::Config,
    /// Event handlers, their limits and what happens when one fails.
    pub handlers: fanfare_wasi_host::Config,
    /// Where history is kept.
    pub data: data::Config,
    /// How it is kept there.
    pub store: data::StoreConfig,
    /// Options of the hub itself.
    pub own: OwnConfig,
}

impl HubConfig {
    /// The option `lag`: what happens to a reader that falls out of history, unless it chooses.
    pub fn lag(&self) -> LagPolicy {
        http::lag(&self.server)
    }

    /// Checks what only several options together can get wrong; the error names the option to change.
    pub fn validate(&self) -> Result<(), OptionError> {
        self.server.validate()?;
        self.handlers.validate()?;
        self.store.validate()?;
        self.engine.validate().map_err(|error| {
            let row = fanfare_engine::Config::OPTIONS.iter().find(|row| row.key == error.key);
            let value = row.map(|row| row.get(&self.engine)).unwrap_or_default();
            OptionError::new(error.key, &value, error.reason, "values that fit together")
        })
    }
}

fanfare_engine::options! {
    /// Options of the hub itself.
    pub struct OwnConfig {
        /// How much is logged, on standard error: `error` is the least, `trace` the most.
        ["log"] log: Level = Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info";
        /// Serve the console, a page on `/` that shows topics and events live.
        ["console"] console: bool = Kind::Flag, "true";
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only what went wrong.
    Error,
    /// Also what is suspicious.
    Warn,
    /// Also what an operator wants to know: start, stop, limits reached.
    Info,
    /// Also each connection.
    Debug,
    /// Everything, dependencies included.
    Trace,
}

const LEVELS: [(Level, &str); 5] = [
    (Level::Error, "error"),
    (Level::Warn, "warn"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
    (Level::Trace, "trace"),
];

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LEVELS.iter().find(|(level, _)| level == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        LEVELS.iter().find(|(_, name)| *name == text).map(|(level, _)| *level).ok_or(UnknownLevel)
    }
}

/// The text is not the name of a [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of error, warn, info, debug, trace")
    }
}

impl std::error::Error for UnknownLevel {}

fanfare_engine::setting_by_name!(Level);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound_and_the_default_valid() {
        assert_eq!(
            fanfare_engine::options::check(OwnConfig::OPTIONS, &OwnConfig::default()),
            Vec::<String>::new()
        );
        assert_eq!(HubConfig::default().validate(), Ok(()));
    }

    #[test]
    fn contradictions_between_engine_options_name_the_key() {
        let mut config = HubConfig::default();
        config.engine.limits.history_bytes = config.engine.limits.event_bytes;
        let error = config.validate().expect_err("no room for two events");
        assert_eq!(error.key, "limits.history_bytes");
        assert_eq!(error.value, "1MiB");
    }
}
