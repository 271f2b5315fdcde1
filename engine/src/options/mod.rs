//! Options declared once.
//!
//! Everything a user may set is one row of a table: key, kind with its range, default, doc, and the field it lands
//! in. The command line, the configuration file, the environment, `docs/configuration.md`, the C ABI and the language
//! bindings all read these rows; none of them keeps a list, a range or a default of its own.
//!
//! The engine, the server and the hub each have such a table over their own configuration type. [`options!`](crate::options!) declares
//! type and table together for a flat configuration; [`option!`](crate::option!) makes one row for a field at any depth.
//!
//! ```
//! use fanfare_engine::options::{self, Kind};
//!
//! fanfare_engine::options! {
//!     /// What a lamp may be told.
//!     pub struct Lamp {
//!         /// Brightness in steps.
//!         ["lamp.steps"] steps: u32 = Kind::Count { min: 1, max: 10 }, "3";
//!         /// Time until it goes out. 0 = never.
//!         ["lamp.timeout"] timeout_ms: u64 = Kind::Duration { min: 0, max: 3_600_000 }, "15s";
//!     }
//! }
//!
//! let mut lamp = Lamp::default();
//! options::set(Lamp::OPTIONS, &mut lamp, "lamp.timeout", "2m").unwrap();
//! assert_eq!((lamp.steps, lamp.timeout_ms), (3, 120_000));
//!
//! let error = options::set(Lamp::OPTIONS, &mut lamp, "lamp.steps", "11").unwrap_err();
//! assert_eq!(error.to_string(), "lamp.steps = \"11\" is out of range: expected a whole number from 1 to 10");
//! ```

mod kind;
pub use kind::{Fault, Kind, Value};

mod setting;
pub use setting::Setting;

use core::fmt;

/// The longest part of a refused value that an error message repeats, in characters.
const SHOWN_VALUE: usize = 80;

/// One option: the single place that knows its key, kind, range, default and meaning.
pub struct OptionSpec<C: 'static> {
    /// Dotted name, lower case, for example `history.events`.
    pub key: &'static str,
    /// What values look like, and their range.
    pub kind: Kind,
    /// The default, as a user would write it.
    pub default: &'static str,
    /// Effect, unit and special values, in one paragraph. Use [`OptionSpec::doc`] for tidy text.
    pub text: &'static str,
    /// Puts a value that `kind` accepted into its field; false when the field cannot hold such a value, which is a
    /// mistake in the table and reported by [`check`].
    pub store: fn(&mut C, Value) -> bool,
    /// Reads the field back.
    pub load: fn(&C) -> Value,
}

impl<C> OptionSpec<C> {
    /// Parses `text` and stores it. On error the configuration is unchanged.
    pub fn set(&self, config: &mut C, text: &str) -> Result<(), OptionError> {
        let error = |fault: Fault| OptionError {
            key: self.key.to_owned(),
            value: shown(text),
            reason: fault.reason(),
            expected: self.kind.expected(),
        };
        let value = self.kind.parse(text).map_err(error)?;
        if (self.store)(config, value) { Ok(()) } else { Err(error(Fault::Range)) }
    }

    /// The current value in canonical form: what a user could write to get it.
    pub fn get(&self, config: &C) -> String {
        self.kind.show(&(self.load)(config))
    }

    /// The documentation on one line.
    pub fn doc(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A refused option: which, what was given, why not, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionError {
    /// The option's key, as given.
    pub key: String,
    /// The value as given, cut to 80 characters; control characters escaped.
    pub value: String,
    /// The middle of the sentence, see [`Fault::reason`].
    pub reason: &'static str,
    /// What would have been accepted, see [`Kind::expected`].
    pub expected: String,
}

impl OptionError {
    /// An error about a value that is fine alone but not together with others; `reason` as in [`Fault::reason`].
    pub fn new(key: &str, value: &str, reason: &'static str, expected: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: shown(value), reason, expected: expected.into() }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = \"{}\" {}: expected {}", self.key, self.value, self.reason, self.expected)
    }
}

impl std::error::Error for OptionError {}

/// Sets one option by key. An unknown key is refused with reason `is not an option`; callers with several tables look
/// the key up themselves and can name the nearest one.
pub fn set<C>(table: &[OptionSpec<C>], config: &mut C, key: &str, text: &str) -> Result<(), OptionError> {
    match table.iter().find(|option| option.key == key) {
        Some(option) => option.set(config, text),
        None => Err(OptionError::new(key, text, "is not an option", "a key of the table")),
    }
}

/// Mistakes in a table, for a unit test next to it; empty when all is well. Each option must have a doc that ends as a
/// sentence, a unique lower-case key, and a default that parses, is `config`'s value and reads back as written.
pub fn check<C: Clone>(table: &[OptionSpec<C>], config: &C) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (index, option) in table.iter().enumerate() {
        let mut mistake = |what: &str| mistakes.push(format!("{}: {what}", option.key));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_';
        if option.key.is_empty() || !option.key.chars().all(plain) {
            mistake("the key is not of a-z 0-9 _ and dots");
        }
        if table[..index].iter().any(|other| other.key == option.key) {
            mistake("the key is there twice");
        }
        if !option.doc().ends_with('.') {
            mistake("no doc, or one that is not a sentence");
        }
        let mut copy = config.clone();
        match option.set(&mut copy, option.default) {
            Err(error) => mistake(&error.to_string()),
            Ok(()) if (option.load)(&copy) != (option.load)(config) => {
                mistake("the default differs from the type's")
            }
            Ok(()) if option.get(config) != option.default => mistake("the default is not in canonical form"),
            Ok(()) => {}
        }
    }
    mistakes
}

/// The value of a field at its default. Used by [`options!`](crate::options!).
///
/// # Panics
/// When the table's own default does not parse or does not fit the field: a mistake in the source, not in an input.
pub fn default_value<T: Setting>(key: &str, kind: Kind, default: &str) -> T {
    match kind.parse(default).ok().and_then(T::from_value) {
        Some(value) => value,
        None => panic!("the default of option {key} is not a value of its own kind"),
    }
}

/// Makes one [`OptionSpec`]: `option!(Config, history.events, "history.events", KIND, "1024", "Doc.")`.
#[macro_export]
macro_rules! option {
    ($config:ty, $($field:ident).+, $key:expr, $kind:expr, $default:expr, $doc:expr $(,)?) => {
        $crate::options::OptionSpec::<$config> {
            key: $key,
            kind: $kind,
            default: $default,
            text: $doc,
            store: |config, value| match $crate::options::Setting::from_value(value) {
                Some(value) => {
                    config.$($field).+ = value;
                    true
                }
                None => false,
            },
            load: |config| $crate::options::Setting::to_value(&config.$($field).+),
        }
    };
}

/// Declares a configuration type, its `Default` and its option table (`Type::OPTIONS`) in one place. A field's doc
/// comment is the option's documentation. Fields after `and` are no options and start at their type's default. See the
/// module's example.
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                [$key:literal] $field:ident: $type:ty = $kind:expr, $default:literal;
            )+
        }
        $(and {
            $( $(#[$extra_meta:meta])* pub $extra:ident: $extra_type:ty; )+
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nOption `", $key, "`, default `", $default, "`.")]
                pub $field: $type,
            )+
            $($( $(#[$extra_meta])* pub $extra: $extra_type, )+)?
        }

        impl $name {
            /// Every option of this type, in the order of the documentation.
            pub const OPTIONS: &'static [$crate::options::OptionSpec<$name>] = &[
                $( $crate::option!($name, $field, $key, $kind, $default, concat!($($doc, "\n"),+)) ),+
            ];
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $field: $crate::options::default_value($key, $kind, $default), )+
                    $($( $extra: Default::default(), )+)?
                }
            }
        }
    };
}

/// A refused value as an error message may repeat it: bounded, and harmless to a terminal.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_VALUE).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_VALUE).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
