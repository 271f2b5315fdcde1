//! What the store may be told.

use std::time::Duration;

use fanfare_engine::options::{Kind, OptionError};

use crate::durability::Durability;
use crate::rules::Rules;

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
        /// Durability and limits of single topics, `TOPIC durability=always events=1000 bytes=1MiB age=1h` each, or some of
        /// that. A topic that ends in `*` stands for every topic that begins so, and is written as in a URL: `%20` for a
        /// space, `%2C` for a comma. The first that fits a topic counts. Limits are what is kept at least: what is beyond them goes when it is
        /// half of a full file.
        ["history.topics"] topics: Vec<String> = Kind::TextList, "";
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
        Rules::parse(&self.topics)?;
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
