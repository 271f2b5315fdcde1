//! What the store may be told.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fanfare_engine::options::{Kind, OptionError};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const YEAR_MS: u64 = 366 * 86_400_000;

fanfare_engine::options! {
    /// Options of history on disk.
    pub struct Config {
        /// When a published event is on disk. `always`: before its publisher has an answer; publishers at the same
        /// time share one sync. `interval`: at most `history.sync_interval` later. `os`: written before the answer, and
        /// on disk when the operating system likes; survives the end of the process, not of the machine. `none`:
        /// written within `history.sync_interval`, never synced.
        ["history.durability"] durability: Durability = Kind::Choice(&["none", "os", "interval", "always"]), "interval";
        /// Time within which events are written and synced with `history.durability` = `interval`: the most that a
        /// crash can lose.
        ["history.sync_interval"] sync_interval: Duration = Kind::Duration { min: 1, max: 60_000 }, "50ms";
        /// Events that the store keeps at least, of all topics together; older files are removed. 0 = no limit.
        ["store.events"] max_events: u64 = Kind::Count { min: 0, max: u64::MAX }, "0";
        /// Bytes that the store keeps, of all topics together, to within one file. 0 = no limit.
        ["store.bytes"] max_bytes: u64 = Kind::Bytes { min: 0, max: 1 << 50 }, "1GiB";
        /// Time for which the store keeps events, to within one file. 0 = no limit.
        ["store.age"] max_age_ms: u64 = Kind::Duration { min: 0, max: 10 * YEAR_MS }, "168h";
        /// Size of a file of the log. Retention works on whole files, and an unclean stop costs reading one again.
        ["store.segment_bytes"] segment_bytes: u64 = Kind::Bytes { min: 4 * KIB, max: 1024 * MIB }, "32MiB";
        /// Bytes that may wait for the disk. Publishers wait when they are used up, and are refused while writing fails.
        ["store.queue_bytes"] queue_bytes: u64 = Kind::Bytes { min: 64 * KIB, max: 1024 * MIB }, "8MiB";
    }
}

impl Config {
    /// Checks what the table cannot.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn validate(&self) -> Result<(), OptionError> {
        if self.max_bytes != 0 && self.max_bytes < 2 * self.segment_bytes {
            let shown = self.max_bytes.to_string();
            return Err(OptionError::new(
                "store.bytes",
                &shown,
                "is too small for retention by files",
                "0, or at least twice store.segment_bytes",
            ));
        }
        Ok(())
    }
}

/// When an event counts as stored, from weakest to strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Written soon, never synced.
    None,
    /// Written before the answer.
    Os,
    /// Written and synced within the interval.
    Interval,
    /// Synced before the answer.
    Always,
}

impl Durability {
    /// Whether the publisher waits for the outcome.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Self::Os | Self::Always)
    }

    /// Whether a flush that holds such an event ends with a sync.
    pub(crate) fn syncs(self) -> bool {
        self >= Self::Interval
    }
}

const WORDS: [(Durability, &str); 4] = [
    (Durability::None, "none"),
    (Durability::Os, "os"),
    (Durability::Interval, "interval"),
    (Durability::Always, "always"),
];

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS.iter().find(|(value, _)| value == self).map_or("", |(_, word)| word))
    }
}

/// The text is not one of the words of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl FromStr for Durability {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        WORDS.iter().find(|(_, word)| *word == text).map(|(value, _)| *value).ok_or(UnknownWord)
    }
}

fanfare_engine::setting_by_name!(Durability);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound_and_the_default_valid() {
        assert_eq!(fanfare_engine::options::check(Config::OPTIONS, &Config::default()), Vec::<String>::new());
        assert_eq!(Config::default().validate(), Ok(()));
        let config = Config { max_bytes: 1, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "store.bytes");
    }
}
