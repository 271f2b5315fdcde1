//! What handlers may be told: which there are, what each may take, and what happens when one fails.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fanfare_engine::check_topic;
use fanfare_engine::options::{Kind, OptionError};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fanfare_engine::options! {
    /// Options of handlers. The limits hold for each handler on its own.
    pub struct Config {
        /// Handlers, `TOPIC=FILE` each, in the order in which events pass them: a component or core module of
        /// WebAssembly, or a JavaScript file. A topic that ends in `*` stands for every topic that begins so. In a file, a table `[handlers]`
        /// with a line for each topic says the same.
        ["handlers"] handlers: Vec<String> = Kind::TextList, "";
        /// How long a handler may compute for one event before it is stopped. On a busy machine, where others compute in
        /// between, up to twenty times as long may pass.
        ["handler.time"] time: Duration = Kind::Duration { min: 1, max: 60_000 }, "10ms";
        /// Memory of one instance of a handler. There are at most as many instances as processors, and at least four.
        ["handler.memory"] memory_bytes: u64 = Kind::Bytes { min: 64 * KIB, max: 1024 * MIB }, "16MiB";
        /// The same for a handler that is a JavaScript file.
        ["handler.script_memory"] script_memory_bytes: u64 = Kind::Bytes { min: 4 * MIB, max: 1024 * MIB }, "64MiB";
        /// How many events a handler may make of one.
        ["handler.events"] events_out: usize = Kind::Count { min: 1, max: 10_000 }, "64";
        /// Bytes that a handler may answer to one event, all fields of all events together.
        ["handler.output_bytes"] output_bytes: u64 = Kind::Bytes { min: KIB, max: 64 * MIB }, "1MiB";
        /// Bytes that a handler may log for one event, and sixteen times as many in a second. The rest is cut off.
        ["handler.log_bytes"] log_bytes: u64 = Kind::Bytes { min: 0, max: MIB }, "4KiB";
        /// Bytes of state that a handler may keep in the key-value store, with 64 bytes for each entry.
        ["handler.state_bytes"] state_bytes: u64 = Kind::Bytes { min: 0, max: 1024 * MIB }, "1MiB";
        /// The largest file that is taken as a handler.
        ["handler.file_bytes"] file_bytes: u64 = Kind::Bytes { min: KIB, max: 1024 * MIB }, "64MiB";
        /// `shared`: an instance serves many events, one at a time. `per-event`: each event gets a new instance, and
        /// nothing of it outlives the event.
        ["handler.isolation"] isolation: Isolation = Kind::Choice(&["shared", "per-event"]), "shared";
        /// Bytes that a handler may greet one reader with, all fields of all events together. A reader that takes nothing
        /// costs as much until `timeouts.write`.
        ["handler.greeting_bytes"] greeting_bytes: u64 = Kind::Bytes { min: 0, max: 16 * MIB }, "48KiB";
        /// The time between two calls of a handler's `tick`, if it has one. Ticks that come while one runs are left out.
        ["handler.tick"] tick: Duration = Kind::Duration { min: 100, max: 86_400_000 }, "1s";
        /// How many events an instance serves before it is replaced.
        ["handler.recycle"] recycle: u64 = Kind::Count { min: 1, max: 1_000_000_000 }, "10000";
        /// What becomes of an event whose handler fails: `reject` tells its publisher, `pass` broadcasts it unchanged,
        /// `drop` broadcasts nothing, `dead-letter` puts it into the topic `handler.dead_letter`.
        ["handler.on_fault"] on_fault: Policy = Kind::Choice(&["reject", "pass", "drop", "dead-letter"]), "reject";
        /// The topic for events whose handler failed, with `handler.on_fault` = `dead-letter`.
        ["handler.dead_letter"] dead_letter: String = Kind::Text, "";
        /// Values that handlers can read, `KEY=VALUE` each.
        ["handler.config"] config: Vec<String> = Kind::TextList, "";
        /// Folder in which compiled code is kept, so that a handler starts faster the next time; made if need be. It has to belong
        /// to the hub's user, and nobody else may enter it (mode 0700). Empty = `fanfare/handlers` in the user's folder for
        /// caches (`XDG_CACHE_HOME`, `~/.cache`).
        ["handler.cache_dir"] cache_dir: Option<PathBuf> = Kind::Path, "";
        /// Bytes of compiled code that are kept; what was not used for longest goes first. 0 = none.
        ["handler.cache_bytes"] cache_bytes: u64 = Kind::Bytes { min: 0, max: 1024 * 1024 * MIB }, "256MiB";
        /// Take files that `fanfare compile` has made. They are machine code, which no sandbox holds: whoever can write such a
        /// file can do what the hub can.
        ["handler.precompiled"] precompiled: bool = Kind::Flag, "false";
        /// Take a changed file into use while the hub runs. Until the new code has loaded, the old code goes on.
        ["handler.reload"] reload: bool = Kind::Flag, "true";
    }
}

/// One entry of `handlers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Topics, as [`fanfare_engine::TopicPattern::parse`] reads them.
    pub topics: String,
    /// The file.
    pub file: PathBuf,
}

impl Config {
    /// Checks what the table cannot: the form of lists, and options that need each other.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn validate(&self) -> Result<(), OptionError> {
        self.entries()?;
        self.values()?;
        if self.on_fault == Policy::DeadLetter && check_topic(&self.dead_letter).is_err() {
            return Err(OptionError::new(
                "handler.dead_letter",
                &self.dead_letter,
                "cannot take the events of a failed handler",
                "the name of a topic, for handler.on_fault is dead-letter",
            ));
        }
        Ok(())
    }

    /// The handlers to load.
    ///
    /// # Errors
    /// When an entry is not `TOPIC=FILE`.
    pub fn entries(&self) -> Result<Vec<Entry>, OptionError> {
        let entry = |text: &String| match text.rsplit_once('=') {
            Some((topics, file)) if !topics.is_empty() && !file.is_empty() => {
                Ok(Entry { topics: topics.trim().to_owned(), file: PathBuf::from(file.trim()) })
            }
            _ => Err(OptionError::new(
                "handlers",
                text,
                "has an entry without a topic and a file",
                "TOPIC=FILE",
            )),
        };
        self.handlers.iter().map(entry).collect()
    }

    /// What handlers can read by key.
    ///
    /// # Errors
    /// When an entry is not `KEY=VALUE`.
    pub fn values(&self) -> Result<Vec<(String, String)>, OptionError> {
        let entry = |text: &String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(OptionError::new("handler.config", text, "has an entry without a key", "KEY=VALUE")),
        };
        self.config.iter().map(entry).collect()
    }
}

/// How much instances of a handler share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// One instance serves many events, one at a time.
    Shared,
    /// Each event gets a new one.
    PerEvent,
}

/// What becomes of an event whose handler fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Its publisher is told.
    Reject,
    /// It is broadcast unchanged.
    Pass,
    /// Nothing is broadcast.
    Drop,
    /// It goes to the topic `handler.dead_letter`.
    DeadLetter,
}

/// The text is not one of the words of its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of the words of its option")
    }
}

impl std::error::Error for UnknownWord {}

macro_rules! words {
    ($type:ident { $($name:ident = $word:literal),+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $word,)+ })
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text { $($word => Ok(Self::$name),)+ _ => Err(UnknownWord) }
            }
        }

        fanfare_engine::setting_by_name!($type);
    };
}

words!(Isolation { Shared = "shared", PerEvent = "per-event" });
words!(Policy { Reject = "reject", Pass = "pass", Drop = "drop", DeadLetter = "dead-letter" });

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(entries: &[&str]) -> Config {
        Config { handlers: entries.iter().map(|&text| text.to_owned()).collect(), ..Config::default() }
    }

    #[test]
    fn the_table_is_sound_and_the_default_valid() {
        assert_eq!(fanfare_engine::options::check(Config::OPTIONS, &Config::default()), Vec::<String>::new());
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn entries_are_a_topic_and_a_file() {
        let config = listed(&["votes=tally.wasm", "a=b*=x/y.wasm"]);
        let entries = config.entries().expect("sound");
        assert_eq!((entries[0].topics.as_str(), entries[0].file.as_path()), ("votes", "tally.wasm".as_ref()));
        assert_eq!((entries[1].topics.as_str(), entries[1].file.as_path()), ("a=b*", "x/y.wasm".as_ref()));
        for bad in ["tally.wasm", "=tally.wasm", "votes=", "="] {
            let error = listed(&["fine=x.wasm", bad]).validate().expect_err(bad);
            assert_eq!((error.key.as_str(), error.value.as_str()), ("handlers", bad));
        }
    }

    #[test]
    fn dead_letters_need_a_topic() {
        let mut config = Config { on_fault: Policy::DeadLetter, ..Config::default() };
        assert_eq!(config.validate().expect_err("no topic").key, "handler.dead_letter");
        config.dead_letter = "failed".to_owned();
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn values_have_a_key() {
        let mut config = Config { config: vec!["a=b=c".to_owned(), "d=".to_owned()], ..Config::default() };
        let values = config.values().expect("sound");
        assert_eq!(values, [("a".to_owned(), "b=c".to_owned()), ("d".to_owned(), String::new())]);
        config.config.push("=x".to_owned());
        assert_eq!(config.validate().expect_err("no key").key, "handler.config");
    }
}
