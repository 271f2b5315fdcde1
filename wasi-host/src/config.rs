//! What handlers may be told: which there are, what each may take, and what happens when one fails.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fanfare_engine::options::{Kind, OptionError, OptionSpec};
use fanfare_engine::{check_event_type, check_topic};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fanfare_engine::options! {
    /// Options of handlers. The limits hold for each handler on its own, and each handler may have its own.
    pub struct Config {
        /// Handlers, `TOPIC=FILE` each, in the order in which events pass them: a component or core module of
        /// WebAssembly, or a JavaScript file. A topic that ends in `*` stands for every topic that begins so. What is set for one handler alone
        /// follows its file: `;event=TYPE` lets only events of that type meet it (several: of those types; `message`: without a type), `;config.KEY=VALUE` is a
        /// value for it to read, and every `handler.NAME` below, but for those of the cache, can be `;NAME=VALUE`. In a file, a table `[handlers]` with a line for each topic says the same.
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
    /// What is set for it alone, as [`Config::own`] reads it.
    pub settings: String,
}

/// What holds for one handler.
#[derive(Clone, Debug)]
pub struct Own {
    /// The types of the events that it sees, where `message` is that of an event without one; none = all.
    pub events: Vec<String>,
    /// Its options; it names no handlers.
    pub config: Config,
}

/// Between the settings of one handler.
const SEPARATOR: char = ';';
/// Begins the names of the options that a handler may have for itself, which are its settings without this.
const OF_HANDLERS: &str = "handler.";
/// Options of what all handlers of a hub share.
const SHARED: [&str; 2] = ["handler.cache_dir", "handler.cache_bytes"];
/// The setting for the types of events.
const EVENT: &str = "event";
/// Begins a setting for the handler to read.
const VALUE: &str = "config.";

impl Config {
    /// Checks what the table cannot: the form of lists, and options that need each other.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn validate(&self) -> Result<(), OptionError> {
        self.values()?;
        self.check_dead_letter()?;
        self.entries()?.iter().try_for_each(|entry| self.own(&entry.settings).map(drop))
    }

    fn check_dead_letter(&self) -> Result<(), OptionError> {
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
    /// When an entry is not `TOPIC=FILE`. Settings are not looked at.
    pub fn entries(&self) -> Result<Vec<Entry>, OptionError> {
        let entry = |text: &String| {
            let (what, settings) = text.split_once(SEPARATOR).unwrap_or((text, ""));
            match what.rsplit_once('=').map(|(topics, file)| (topics.trim(), file.trim())) {
                Some((topics, file)) if !topics.is_empty() && !file.is_empty() => Ok(Entry {
                    topics: topics.to_owned(),
                    file: PathBuf::from(file),
                    settings: settings.to_owned(),
                }),
                _ => Err(OptionError::new(
                    "handlers",
                    text,
                    "has an entry without a topic and a file",
                    "TOPIC=FILE",
                )),
            }
        };
        self.handlers.iter().map(entry).collect()
    }

    /// What holds for a handler with these settings, `event=TYPE;NAME=VALUE;config.KEY=VALUE`: what they say, and for the rest
    /// what holds for all.
    ///
    /// # Errors
    /// When one is no setting of a handler, is given twice, or has a value that its option refuses.
    pub fn own(&self, settings: &str) -> Result<Own, OptionError> {
        let mut own = Own { events: Vec::new(), config: Self { handlers: Vec::new(), ..self.clone() } };
        let mut set = BTreeSet::new();
        for setting in settings.split(SEPARATOR).map(str::trim).filter(|setting| !setting.is_empty()) {
            let wrong = |reason, expected| Err(OptionError::new("handlers", setting, reason, expected));
            let Some((name, value)) = setting.split_once('=') else {
                return wrong("has a setting without a value", "NAME=VALUE".to_owned());
            };
            if name != EVENT && !set.insert(name) {
                return wrong("is set twice for one handler", "it once".to_owned());
            }
            let option = Self::settable().find(|(short, _)| *short == name).map(|(_, option)| option);
            match (name.strip_prefix(VALUE), option) {
                (Some(key), _) if !key.is_empty() => own.config.config.push(format!("{key}={value}")),
                _ if name == EVENT => match check_event_type(value) {
                    Ok(()) if !value.is_empty() => own.events.push(value.to_owned()),
                    _ => return wrong("is no type of an event", "1 to 255 bytes".to_owned()),
                },
                (None, Some(option)) => {
                    if let Err(error) = option.set(&mut own.config, value) {
                        return wrong(error.reason, error.expected);
                    }
                }
                _ => return wrong("is no setting of a handler", Self::settings()),
            }
        }
        own.config.check_dead_letter()?;
        Ok(own)
    }

    /// The options that a handler may have for itself, each with its name as a setting.
    fn settable() -> impl Iterator<Item = (&'static str, &'static OptionSpec<Self>)> {
        // Lists have commas between their items, as handlers have.
        let single = Self::OPTIONS.iter().filter(|option| option.kind != Kind::TextList);
        let own = single.filter(|option| !SHARED.contains(&option.key));
        own.filter_map(|option| Some((option.key.strip_prefix(OF_HANDLERS)?, option)))
    }

    /// What a handler may have for itself, for error messages.
    fn settings() -> String {
        let names: Vec<_> = Self::settable().map(|(name, _)| name).collect();
        format!("{EVENT}, {VALUE}KEY or one of {}", names.join(", "))
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
    fn a_handler_may_have_settings_of_its_own() {
        let mut config =
            listed(&["votes=tally.js; event=vote;event=ballot ;time=5ms;config.a=b=c;on_fault=pass;"]);
        config.config = vec!["a=for all".to_owned(), "z=26".to_owned()];
        assert_eq!(config.validate(), Ok(()));
        let entry = config.entries().expect("sound").remove(0);
        assert_eq!((entry.topics.as_str(), entry.file.as_path()), ("votes", "tally.js".as_ref()));
        let own = config.own(&entry.settings).expect("sound");
        assert_eq!(own.events, ["vote", "ballot"]);
        assert_eq!((own.config.time, own.config.on_fault), (Duration::from_millis(5), Policy::Pass));
        assert_eq!((own.config.memory_bytes, own.config.handlers.len()), (config.memory_bytes, 0));
        // The last of a key is what the handler reads.
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let values = own.config.values().expect("sound");
        assert_eq!(values, [pair("a", "for all"), pair("z", "26"), pair("a", "b=c")]);
        assert_eq!((config.time, config.on_fault), (Duration::from_millis(10), Policy::Reject));
    }

    #[test]
    fn every_option_of_handlers_is_a_setting() {
        let config = Config::default();
        let others: Vec<_> = Config::OPTIONS.iter().map(|option| option.key).collect();
        assert!(SHARED.iter().all(|key| others.contains(key)));
        assert_eq!(Config::settable().count() + SHARED.len() + 2, others.len(), "two are lists");
        for (name, option) in Config::settable() {
            let own = config.own(&format!("{name}={}", option.default)).expect(name);
            assert_eq!(option.get(&own.config), option.default);
            assert!(Config::settings().contains(name));
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        for (setting, part) in [
            ("tiem=5ms", "is no setting of a handler: expected event, config.KEY or one of time, memory,"),
            ("config=a=b", "is no setting of a handler"),
            ("config.=b", "is no setting of a handler"),
            ("handlers=a=b", "is no setting of a handler"),
            ("cache_bytes=0", "is no setting of a handler"),
            ("time", "without a value"),
            ("time=soon", "expected a time"),
            ("time=2h", "is out of range"),
            ("event=", "is no type of an event"),
            ("event=a\nb", "is no type of an event"),
            ("on_fault=shrug", "expected one of reject, pass, drop, dead-letter"),
        ] {
            let error = Config::default().own(setting).expect_err(setting).to_string();
            assert!(error.starts_with("handlers = \"") && error.contains(part), "{error}");
        }
        let twice = listed(&["a=b.js;time=1ms;time=2ms"]).validate().expect_err("twice");
        assert_eq!((twice.value.as_str(), twice.reason), ("time=2ms", "is set twice for one handler"));
        assert_eq!(
            listed(&["a=b.js;on_fault=dead-letter"]).validate().expect_err("where").key,
            "handler.dead_letter"
        );
        assert_eq!(listed(&["a=b.js;on_fault=dead-letter;dead_letter=failed"]).validate(), Ok(()));
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
