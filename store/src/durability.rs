//! How safe an event is before its publisher has an answer.

use std::fmt;
use std::str::FromStr;

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
