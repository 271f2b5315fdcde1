//! What values look like: from text to value and back, with a range.

use core::net::SocketAddr;

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
