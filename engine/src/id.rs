//! Event ids: `epoch-sequence`, and ids that publishers bring.
//!
//! One sequence numbers all events of a hub, so one id is a complete cursor over any set of topics. The epoch names
//! the life of that sequence: it changes when history does not survive a restart, so an id of an earlier life is
//! recognised instead of being mistaken for a position of this one.
//!
//! Ids are at most 128 bytes of `[A-Za-z0-9._~-]`: a longer id, or one with other bytes, would make a browser send a
//! CORS preflight on every reconnect (Fetch, "CORS-safelisted request-header"; WHATWG HTML 9.2.4).

use core::fmt;

use crate::sync::Arc;

/// Longest event id, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Longest epoch, in bytes.
pub(crate) const MAX_EPOCH_BYTES: usize = 16;

/// The name of one life of a hub's sequence: 1 to 16 of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

/// Why a text is not an [`Epoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEpoch;

impl fmt::Display for InvalidEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an epoch is 1 to {MAX_EPOCH_BYTES} of the characters a-z and 0-9")
    }
}

impl std::error::Error for InvalidEpoch {}

impl Epoch {
    /// Makes an epoch of 8 characters from 40 bits of `seed`; the caller brings the randomness.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let text: String = (0..8).map(|i| char::from(ALPHABET[(seed >> (5 * i)) as usize & 31])).collect();
        Self(text.into())
    }

    /// Takes a stored epoch.
    ///
    /// # Errors
    /// [`InvalidEpoch`] if the text is not 1 to 16 of `[a-z0-9]`.
    pub fn parse(text: &str) -> Result<Self, InvalidEpoch> {
        let good = (1..=MAX_EPOCH_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if good { Ok(Self(text.into())) } else { Err(InvalidEpoch) }
    }

    /// The epoch's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The position named by `id`, if it is of the form `<this epoch>-<digits>`.
    #[must_use]
    pub fn sequence_of(&self, id: &str) -> Option<u64> {
        let digits = id.strip_prefix(self.as_str())?.strip_prefix('-')?;
        // One spelling per position: no sign, no leading zero.
        let canonical =
            digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        if canonical { digits.parse().ok() } else { None }
    }

    /// Whether a publisher may not use `id`, because it reads as one of this hub's own.
    #[must_use]
    pub(crate) fn reserves(&self, id: &str) -> bool {
        id.strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// A position in a hub's sequence, printed as `epoch-sequence`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    epoch: Epoch,
    sequence: u64,
}

impl EventId {
    /// Names position `sequence` of `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, sequence: u64) -> Self {
        Self { epoch, sequence }
    }

    /// The position; the first event of an epoch has 1, and 0 is before all events.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Part by part: who publishes is given an id each time.
        f.write_str(self.epoch.as_str())?;
        f.write_str("-")?;
        f.write_str(itoa::Buffer::new().format(self.sequence))
    }
}

/// Whether `id` is 1 to 128 bytes of `[A-Za-z0-9._~-]`.
#[must_use]
pub fn is_valid_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_and_parses() {
        let epoch = Epoch::from_seed(0x1234_5678_9abc);
        let id = EventId::new(epoch.clone(), 42).to_string();
        assert!(is_valid_id(&id));
        assert_eq!(epoch.sequence_of(&id), Some(42));
    }

    #[test]
    fn only_the_canonical_spelling_is_a_position() {
        let epoch = Epoch::parse("abc").unwrap();
        for id in ["abc-", "abc-01", "abc-+1", "abc-1x", "abd-1", "abc1", "abc-18446744073709551616", ""] {
            assert_eq!(epoch.sequence_of(id), None, "{id}");
        }
        assert_eq!(epoch.sequence_of("abc-0"), Some(0));
        assert_eq!(epoch.sequence_of("abc-18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn every_spelling_of_an_own_id_is_reserved() {
        let epoch = Epoch::parse("abc").unwrap();
        assert!(epoch.reserves("abc-1") && epoch.reserves("abc-01"));
        assert!(!epoch.reserves("abc-") && !epoch.reserves("abc-x") && !epoch.reserves("ab-1"));
    }

    #[test]
    fn epochs_are_checked() {
        for bad in ["", "A", "a-b", "12345678901234567", "é"] {
            assert_eq!(Epoch::parse(bad), Err(InvalidEpoch), "{bad}");
        }
    }

    #[test]
    fn ids_are_checked() {
        for bad in ["", "a b", "a\n", "é", "a/b", &"x".repeat(129)] {
            assert!(!is_valid_id(bad), "{bad:?}");
        }
        assert!(is_valid_id(&"x".repeat(128)) && is_valid_id("Az09._~-"));
    }
}
