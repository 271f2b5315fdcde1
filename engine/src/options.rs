//! Options declared once.
//!
//! Everything a user may set is one row of a table: key, kind with its range, default, doc, and the field it lands
//! in. The command line, the configuration file, the environment, `docs/configuration.md`, the C ABI and the language
//! bindings all read these rows; none of them keeps a list, a range or a default of its own.
//!
//! The engine, the server and the hub each have such a table over their own configuration type. [`options!`] declares
//! type and table together for a flat configuration; [`option!`] makes one row for a field at any depth.
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

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

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

/// What an option's values look like. Ranges are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// Smallest accepted value.
        min: u64,
        /// Largest accepted value.
        max: u64,
    },
    /// A size in bytes: `8MiB`, `64KiB`, `1MB`, or a bare number of bytes.
    Bytes {
        /// Smallest accepted value, in bytes.
        min: u64,
        /// Largest accepted value, in bytes.
        max: u64,
    },
    /// A time: `15s`, `250ms`, `2m`, `1h`, `7d`, or a bare number of seconds. Held in milliseconds.
    Duration {
        /// Smallest accepted value, in milliseconds.
        min: u64,
        /// Largest accepted value, in milliseconds.
        max: u64,
    },
    /// `10%` or a bare number from 0 to 100.
    Percent,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text without control characters.
    Text,
    /// Texts separated by commas; empty = none.
    TextList,
    /// Socket addresses (`127.0.0.1:4780`, `[::1]:4780`) separated by commas; port 0 = any free port; empty = none.
    Addresses,
    /// A path in the file system; empty = none.
    Path,
}

impl Kind {
    /// Parses the text form, which is the same in the environment, on the command line and in strings of a file.
    pub fn parse(&self, text: &str) -> Result<Value, Fault> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(Fault::Control);
        }
        let in_range = |number: u64, min: u64, max: u64| match (min..=max).contains(&number) {
            true => Ok(Value::Number(number)),
            false => Err(Fault::Range),
        };
        match *self {
            Self::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err(Fault::Shape),
            },
            Self::Count { min, max } => in_range(scaled(text, &[], 1)?, min, max),
            Self::Bytes { min, max } => in_range(scaled(text, SIZES, 1)?, min, max),
            Self::Duration { min, max } => in_range(scaled(text, TIMES, 1000)?, min, max),
            Self::Percent => in_range(scaled(text, &[("%", 1)], 1)?, 0, 100),
            Self::Choice(words) => match words.contains(&text) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(Fault::Shape),
            },
            Self::Text | Self::Path => Ok(Value::Text(text.to_owned())),
            Self::TextList => Ok(Value::List(items(text).map(str::to_owned).collect())),
            Self::Addresses => items(text)
                .map(|item| item.parse().map_err(|_| Fault::Shape))
                .collect::<Result<_, _>>()
                .map(Value::Addresses),
        }
    }

    /// The canonical text of a value; [`Kind::parse`] reads it back to the same value.
    pub fn show(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Bytes { .. }, Value::Number(n)) => unit(*n, SHOWN_SIZES, ""),
            (Self::Duration { .. }, Value::Number(n)) => unit(*n, SHOWN_TIMES, "ms"),
            (Self::Percent, Value::Number(n)) => format!("{n}%"),
            (_, Value::Number(n)) => n.to_string(),
            (_, Value::Flag(flag)) => flag.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (_, Value::List(items)) => items.join(","),
            (_, Value::Addresses(items)) => {
                items.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// The accepted range in canonical units, or `None` where the kind has none: `1 to 16777216`, `0 to 1h`.
    pub fn range(&self) -> Option<String> {
        match *self {
            Self::Count { min, max } | Self::Bytes { min, max } | Self::Duration { min, max } => {
                let show = |n| self.show(&Value::Number(n));
                // A limit at the type's own end is no limit a user could meet.
                Some(if max == u64::MAX {
                    format!("{} or more", show(min))
                } else {
                    format!("{} to {}", show(min), show(max))
                })
            }
            Self::Percent => Some("0% to 100%".to_owned()),
            Self::Choice(words) => Some(words.join(", ")),
            Self::Flag => Some("true, false".to_owned()),
            Self::Text | Self::TextList | Self::Addresses | Self::Path => None,
        }
    }

    /// A phrase that tells what would have been accepted, for error messages and documentation.
    pub fn expected(&self) -> String {
        let from = |what: &str| match self.range() {
            Some(range) if range.ends_with(" or more") => format!("{what} of {range}"),
            Some(range) => format!("{what} from {range}"),
            None => what.to_owned(),
        };
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Count { .. } => from("a whole number"),
            Self::Bytes { .. } => from("a size such as 64KiB or 8MiB,"),
            Self::Duration { .. } => from("a time such as 250ms, 15s or 1h,"),
            Self::Percent => from("a percentage"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text => "text without control characters".to_owned(),
            Self::TextList => "texts separated by commas, without control characters".to_owned(),
            Self::Addresses => {
                "addresses such as 127.0.0.1:4780 or [::1]:4780, separated by commas".to_owned()
            }
            Self::Path => "a path".to_owned(),
        }
    }

    /// The kind's one-word name, for documentation and for bindings that generate typed keywords.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Count { .. } => "count",
            Self::Bytes { .. } => "size",
            Self::Duration { .. } => "duration",
            Self::Percent => "percent",
            Self::Choice(_) => "choice",
            Self::Text => "text",
            Self::TextList => "list",
            Self::Addresses => "addresses",
            Self::Path => "path",
        }
    }
}

/// A parsed value, on its way between text and field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Count`], [`Kind::Bytes`] (bytes), [`Kind::Duration`] (milliseconds) and [`Kind::Percent`].
    Number(u64),
    /// Of [`Kind::Choice`], [`Kind::Text`] and [`Kind::Path`].
    Text(String),
    /// Of [`Kind::TextList`].
    List(Vec<String>),
    /// Of [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
}

/// A field type that an option can live in.
pub trait Setting: Sized {
    /// The field's value out of a parsed one; `None` when the type cannot hold it.
    fn from_value(value: Value) -> Option<Self>;
    /// The field's value for [`Kind::show`].
    fn to_value(&self) -> Value;
}

/// Implements [`Setting`] for a type that has `FromStr` and `Display`, to be used with [`Kind::Choice`].
#[macro_export]
macro_rules! setting_by_name {
    ($type:ty) => {
        impl $crate::options::Setting for $type {
            fn from_value(value: $crate::options::Value) -> Option<Self> {
                match value {
                    $crate::options::Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }

            fn to_value(&self) -> $crate::options::Value {
                $crate::options::Value::Text(self.to_string())
            }
        }
    };
}

macro_rules! number_setting {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Number(number) => Self::try_from(number).ok(),
                    _ => None,
                }
            }

            fn to_value(&self) -> Value {
                // No field type is wider than 64 bits, so this cannot lose anything.
                Value::Number(u64::try_from(*self).unwrap_or(u64::MAX))
            }
        }
    )+};
}
number_setting!(u8, u16, u32, u64, usize);

/// Of [`Kind::Duration`]: whole milliseconds.
impl Setting for Duration {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Number(milliseconds) => Some(Self::from_millis(milliseconds)),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Setting for bool {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Flag(*self)
    }
}

impl Setting for String {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Setting for Option<PathBuf> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) if text.is_empty() => Some(None),
            Value::Text(text) => Some(Some(PathBuf::from(text))),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Text(self.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
    }
}

impl Setting for Vec<String> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::List(self.clone())
    }
}

impl Setting for Vec<SocketAddr> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Addresses(items) => Some(items),
            _ => None,
        }
    }

    fn to_value(&self) -> Value {
        Value::Addresses(self.clone())
    }
}

/// Why a text is not a value of a [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It holds a control character.
    Control,
    /// It is of the right form, but too small or too large.
    Range,
    /// It is not of that form at all.
    Shape,
}

impl Fault {
    /// The fault as the middle of a sentence: `KEY = "VALUE" REASON`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Control => "contains a control character",
            Self::Range => "is out of range",
            Self::Shape => "does not fit",
        }
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

/// The value of a field at its default. Used by [`options!`].
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

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];
const SHOWN_SIZES: &[(&str, u64)] = &[("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SHOWN_TIMES: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// Digits, then one of `units`; without a unit times `bare`.
fn scaled(text: &str, units: &[(&str, u64)], bare: u64) -> Result<u64, Fault> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = (&text[..end], text[end..].trim_start());
    if digits.is_empty() {
        // A minus sign before digits is a number, only not one of ours.
        let negative =
            text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        return Err(if negative { Fault::Range } else { Fault::Shape });
    }
    let factor = match suffix {
        "" => bare,
        _ => units.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor).ok_or(Fault::Shape)?,
    };
    // Only digits are left, so the one way to fail is size.
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or(Fault::Range)
}

/// `number` in the largest unit that divides it; `smallest` names the unit of the number itself.
fn unit(number: u64, units: &[(&str, u64)], smallest: &str) -> String {
    if number == 0 {
        return "0".to_owned();
    }
    match units.iter().find(|(_, factor)| number.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => format!("{number}{smallest}"),
    }
}

/// The parts of a list, trimmed, empty ones left out.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
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
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default)]
    pub struct Inner {
        pub wide: u64,
        pub narrow: u8,
    }

    options! {
        /// One option of each kind.
        pub struct Sample {
            /// A flag.
            ["flag"] flag: bool = Kind::Flag, "true";
            /// A count.
            ["count"] count: u32 = Kind::Count { min: 1, max: 100 }, "7";
            /// A size.
            ["size"] size: u64 = Kind::Bytes { min: 1, max: GIB }, "8MiB";
            /// A time, over
            /// two lines.
            ["time"] time: u64 = Kind::Duration { min: 0, max: u64::MAX }, "90s";
            /// A part.
            ["part"] part: u8 = Kind::Percent, "10%";
            /// A word.
            ["word"] word: String = Kind::Choice(&["red", "green"]), "red";
            /// A text.
            ["text"] text: String = Kind::Text, "";
            /// A list.
            ["list"] list: Vec<String> = Kind::TextList, "a,b";
            /// Addresses.
            ["addresses"] addresses: Vec<SocketAddr> = Kind::Addresses, "127.0.0.1:80,[::1]:80";
            /// A path.
            ["path"] path: Option<PathBuf> = Kind::Path, "";
        }
        and {
            /// No option.
            pub inner: Inner;
        }
    }

    fn value(key: &str, text: &str) -> Result<String, OptionError> {
        let mut sample = Sample::default();
        set(Sample::OPTIONS, &mut sample, key, text)?;
        Ok(Sample::OPTIONS.iter().find(|option| option.key == key).expect("set found it").get(&sample))
    }

    #[test]
    fn a_sound_table_has_no_mistakes() {
        assert_eq!(check(Sample::OPTIONS, &Sample::default()), Vec::<String>::new());
        assert_eq!(Sample::OPTIONS[3].doc(), "A time, over two lines.");
        assert_eq!(Sample::default().inner.wide, 0);
    }

    #[test]
    fn mistakes_are_found() {
        let table = [
            option!(Inner, wide, "Wide", Kind::Count { min: 0, max: 9 }, "1", "Doc."),
            option!(Inner, narrow, "narrow", Kind::Count { min: 0, max: 999 }, "256", "Doc."),
            option!(Inner, wide, "wide", Kind::Count { min: 0, max: 9 }, "00", "Doc without a stop"),
            option!(Inner, wide, "wide", Kind::Count { min: 0, max: 9 }, "0", "Doc."),
        ];
        let mistakes = check(&table, &Inner::default()).join("\n");
        for part in
            ["Wide: the key is not", "Wide: the default differs", "narrow: narrow = \"256\" is out of range"]
        {
            assert!(mistakes.contains(part), "{part} not in {mistakes}");
        }
        for part in ["wide: no doc", "wide: the default is not in canonical", "wide: the key is there twice"]
        {
            assert!(mistakes.contains(part), "{part} not in {mistakes}");
        }
    }

    #[test]
    fn values_are_read_and_shown_in_canonical_form() {
        for (key, text, canonical) in [
            ("flag", " false ", "false"),
            ("count", "042", "42"),
            ("size", "1024", "1KiB"),
            ("size", "1MB", "1000000"),
            ("size", "64 KiB", "64KiB"),
            ("size", "1000B", "1000"),
            ("time", "0", "0"),
            ("time", "15", "15s"),
            ("time", "250ms", "250ms"),
            ("time", "120s", "2m"),
            ("time", "7d", "168h"),
            ("part", "0", "0%"),
            ("word", "green", "green"),
            ("text", "grüße, welt", "grüße, welt"),
            ("list", " x , ,y,", "x,y"),
            ("list", "", ""),
            ("addresses", "", ""),
            ("path", "/etc/fanfare/cert.pem", "/etc/fanfare/cert.pem"),
        ] {
            assert_eq!(value(key, text).as_deref(), Ok(canonical), "{key} = {text:?}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        let range = "is out of range";
        let shape = "does not fit";
        for (key, text, reason) in [
            ("flag", "yes", shape),
            ("flag", "", shape),
            ("count", "0", range),
            ("count", "101", range),
            ("count", "-1", range),
            ("count", "99999999999999999999999", range),
            ("count", "1.5", shape),
            ("count", "7s", shape),
            ("count", "", shape),
            ("size", "2GiB", range),
            ("size", "99999999999GiB", range),
            ("size", "8mib", shape),
            ("size", "KiB", shape),
            ("time", "1 hour", shape),
            ("time", "18446744073709551615d", range),
            ("part", "101", range),
            ("part", "10 percent", shape),
            ("word", "Red", shape),
            ("text", "a\nb", "contains a control character"),
            ("list", "a,\u{7f}", "contains a control character"),
            ("addresses", "localhost:80", shape),
            ("addresses", "127.0.0.1", shape),
            ("nothing", "1", "is not an option"),
        ] {
            let error = value(key, text).expect_err(text);
            assert_eq!((error.key.as_str(), error.reason), (key, reason), "{key} = {text:?}");
        }
    }

    #[test]
    fn a_refused_value_changes_nothing_and_is_shown_safely() {
        let mut sample = Sample::default();
        let long = format!("\u{1b}[31m{}", "x".repeat(500));
        let error = set(Sample::OPTIONS, &mut sample, "word", &long).expect_err("control character");
        assert!(
            error.value.len() < 200 && error.value.ends_with('…') && !error.value.contains('\u{1b}'),
            "{error}"
        );
        assert_eq!(sample.word, "red");
    }

    #[test]
    fn expectations_name_the_range() {
        let expected: Vec<_> = Sample::OPTIONS.iter().map(|option| option.kind.expected()).collect();
        assert_eq!(expected[1], "a whole number from 1 to 100");
        assert_eq!(expected[2], "a size such as 64KiB or 8MiB, from 1 to 1GiB");
        assert_eq!(expected[3], "a time such as 250ms, 15s or 1h, of 0 or more");
        assert_eq!(expected[5], "one of red, green");
    }
}
