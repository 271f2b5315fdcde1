//! A publisher's event before admission, and the rules that its fields must keep.
//!
//! Every field ends up on a line of its own in the stream (WHATWG HTML 9.2.6), so a CR, LF or NUL in a name or id
//! would let a publisher forge fields or whole events. They are refused here, once, for every way in.

use core::fmt;
use std::borrow::Cow;

use crate::code::Code;
use crate::id::{Epoch, MAX_ID_BYTES, is_valid_id};

/// Longest topic name, in bytes.
pub const MAX_TOPIC_BYTES: usize = 255;
/// Longest event type, in bytes.
pub const MAX_EVENT_TYPE_BYTES: usize = 255;
/// Longest client name, in bytes.
pub const MAX_CLIENT_BYTES: usize = 128;
/// Longest conflation key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;
/// Longest reconnection time, in milliseconds (one day).
pub const MAX_RETRY_MS: u64 = 86_400_000;
/// Event types that begin so are the hub's own notices.
pub const RESERVED_EVENT_PREFIX: &str = "fanfare.";

/// An event as its publisher writes it. Borrowed or owned, field by field; handlers may change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Where it goes: 1 to 255 bytes of UTF-8 without control characters, compared byte for byte.
    pub topic: Cow<'a, str>,
    /// The event type; absent means `message` to browsers. 1 to 255 bytes, no control character, not `fanfare.*`.
    pub event: Option<Cow<'a, str>>,
    /// The publisher's own id, of `[A-Za-z0-9._~-]{1,128}`; absent means `epoch-sequence`.
    pub id: Option<Cow<'a, str>>,
    /// The payload: any text, up to the hub's `limits.event_bytes`. CRLF and CR reach readers as LF.
    pub data: Cow<'a, str>,
    /// The reconnection time to tell readers, in milliseconds, at most one day.
    pub retry: Option<u64>,
    /// The client that does not get this event, usually its sender.
    pub except: Option<Cow<'a, str>>,
    /// What [`LagPolicy::Conflate`](crate::LagPolicy::Conflate) keeps the latest of; absent means the event type.
    pub key: Option<Cow<'a, str>>,
}

impl<'a> Draft<'a> {
    /// An event with a topic and data and nothing else.
    #[must_use]
    pub fn new(topic: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, str>>) -> Self {
        Self { topic: topic.into(), data: data.into(), ..Self::default() }
    }

    /// Sets the event type.
    #[must_use]
    pub fn with_event(mut self, event: impl Into<Cow<'a, str>>) -> Self {
        self.event = Some(event.into());
        self
    }

    /// Sets the publisher's own id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'a, str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> Draft<'static> {
        let own = |field: Option<Cow<'_, str>>| field.map(|text| Cow::Owned(text.into_owned()));
        Draft {
            topic: Cow::Owned(self.topic.into_owned()),
            event: own(self.event),
            id: own(self.id),
            data: Cow::Owned(self.data.into_owned()),
            retry: self.retry,
            except: own(self.except),
            key: own(self.key),
        }
    }

    /// Checks every field but the data's size.
    pub(crate) fn check(&self, epoch: &Epoch) -> Result<(), InvalidField> {
        check_topic(&self.topic)?;
        if let Some(event) = &self.event {
            check_event_type(event)?;
            if event.starts_with(RESERVED_EVENT_PREFIX) {
                return Err(InvalidField::new(Field::Event, Reason::Reserved));
            }
        }
        if let Some(id) = &self.id {
            if !is_valid_id(id) {
                return Err(InvalidField::new(Field::Id, Reason::of_id(id)));
            }
            if epoch.reserves(id) {
                return Err(InvalidField::new(Field::Id, Reason::Reserved));
            }
        }
        if self.retry.is_some_and(|ms| ms > MAX_RETRY_MS) {
            return Err(InvalidField::new(Field::Retry, Reason::OutOfRange));
        }
        if let Some(client) = &self.except {
            check_client(client).map_err(|e| InvalidField::new(Field::Except, e.reason))?;
        }
        if let Some(key) = &self.key {
            check_text(Field::Key, key, MAX_KEY_BYTES)?;
        }
        Ok(())
    }
}

/// A field of an event or subscription that was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// The field at fault.
    pub field: Field,
    /// What is wrong with it.
    pub reason: Reason,
}

/// The fields that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// The topic name.
    Topic,
    /// The event type.
    Event,
    /// The event id.
    Id,
    /// The reconnection time.
    Retry,
    /// The client that is left out.
    Except,
    /// The reader's own name.
    Client,
    /// The conflation key.
    Key,
    /// The id to resume after.
    LastEventId,
}

impl Field {
    /// The field's name as users write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Event => "event",
            Self::Id => "id",
            Self::Retry => "retry",
            Self::Except => "except",
            Self::Client => "client",
            Self::Key => "key",
            Self::LastEventId => "last_event_id",
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing in it.
    Empty,
    /// Longer than this many bytes.
    TooLong(usize),
    /// It holds a control character, for instance CR, LF or NUL.
    ControlCharacter,
    /// It holds a character that is not allowed there.
    Character,
    /// The hub keeps such values to itself.
    Reserved,
    /// A number outside its range.
    OutOfRange,
}

impl Reason {
    fn of_id(id: &str) -> Self {
        match id.len() {
            0 => Self::Empty,
            n if n > MAX_ID_BYTES => Self::TooLong(MAX_ID_BYTES),
            _ if id.chars().any(char::is_control) => Self::ControlCharacter,
            _ => Self::Character,
        }
    }
}

impl InvalidField {
    pub(crate) fn new(field: Field, reason: Reason) -> Self {
        Self { field, reason }
    }

    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self.field {
            Field::Topic => Code::InvalidTopic,
            Field::Event => Code::InvalidEvent,
            Field::Id | Field::LastEventId => Code::InvalidId,
            Field::Retry => Code::InvalidRetry,
            Field::Except | Field::Client => Code::InvalidClient,
            Field::Key => Code::InvalidKey,
        }
    }
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.as_str();
        match self.reason {
            Reason::Empty => write!(f, "{field} is empty"),
            Reason::TooLong(max) => write!(f, "{field} is longer than {max} bytes"),
            Reason::ControlCharacter => {
                write!(f, "{field} holds a control character (CR, LF, NUL and their like are not allowed)")
            }
            Reason::Character => write!(f, "{field} may only hold the characters A-Z a-z 0-9 . _ ~ -"),
            Reason::Reserved if self.field == Field::Event => {
                write!(
                    f,
                    "{field} begins with {RESERVED_EVENT_PREFIX:?}, which is kept for the hub's own notices"
                )
            }
            Reason::Reserved => {
                write!(f, "{field} has the form of the hub's own ids, which it alone gives out")
            }
            Reason::OutOfRange => write!(f, "{field} must be 0 to {MAX_RETRY_MS} milliseconds"),
        }
    }
}

impl std::error::Error for InvalidField {}

/// Checks a topic name.
///
/// # Errors
/// [`InvalidField`] if it is empty, longer than 255 bytes or holds a control character (Unicode Cc).
pub fn check_topic(name: &str) -> Result<(), InvalidField> {
    check_text(Field::Topic, name, MAX_TOPIC_BYTES)
}

/// Checks an event type as a reader may filter on it (`fanfare.*` included).
///
/// # Errors
/// [`InvalidField`] if it is empty, longer than 255 bytes or holds a control character.
pub fn check_event_type(event: &str) -> Result<(), InvalidField> {
    check_text(Field::Event, event, MAX_EVENT_TYPE_BYTES)
}

/// Checks a client name.
///
/// # Errors
/// [`InvalidField`] if it is empty, longer than 128 bytes or holds a control character.
pub fn check_client(name: &str) -> Result<(), InvalidField> {
    check_text(Field::Client, name, MAX_CLIENT_BYTES)
}

fn check_text(field: Field, text: &str, max: usize) -> Result<(), InvalidField> {
    let reason = if text.is_empty() {
        Reason::Empty
    } else if text.len() > max {
        Reason::TooLong(max)
    } else if text.is_ascii() {
        match text.bytes().any(|b| b.is_ascii_control()) {
            true => Reason::ControlCharacter,
            false => return Ok(()),
        }
    } else if text.chars().any(char::is_control) {
        Reason::ControlCharacter
    } else {
        return Ok(());
    };
    Err(InvalidField::new(field, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(draft: Draft<'_>) -> (Field, Reason) {
        let e = draft.check(&Epoch::parse("abc").unwrap()).unwrap_err();
        (e.field, e.reason)
    }

    #[test]
    fn each_field_is_named_when_refused() {
        let good = Draft::new("t", "d");
        assert_eq!(refused(Draft::new("", "d")), (Field::Topic, Reason::Empty));
        assert_eq!(refused(Draft::new("a\u{85}b", "d")), (Field::Topic, Reason::ControlCharacter));
        assert_eq!(refused(good.clone().with_event("a\rb")), (Field::Event, Reason::ControlCharacter));
        assert_eq!(refused(good.clone().with_event("fanfare.gap")), (Field::Event, Reason::Reserved));
        assert_eq!(refused(good.clone().with_id("a\nb")), (Field::Id, Reason::ControlCharacter));
        assert_eq!(refused(good.clone().with_id("a b")), (Field::Id, Reason::Character));
        assert_eq!(refused(good.clone().with_id("abc-7")), (Field::Id, Reason::Reserved));
        let draft = Draft { retry: Some(MAX_RETRY_MS + 1), ..good.clone() };
        assert_eq!(refused(draft), (Field::Retry, Reason::OutOfRange));
        let draft = Draft { except: Some("\0".into()), ..good.clone() };
        assert_eq!(refused(draft), (Field::Except, Reason::ControlCharacter));
        let draft = Draft { key: Some("".into()), ..good };
        assert_eq!(refused(draft), (Field::Key, Reason::Empty));
    }

    #[test]
    fn lengths_are_exact() {
        assert!(check_topic(&"é".repeat(127)).is_ok());
        assert_eq!(check_topic(&"é".repeat(128)).unwrap_err().reason, Reason::TooLong(255));
        assert!(check_client(&"c".repeat(128)).is_ok());
        assert!(check_client(&"c".repeat(129)).is_err());
    }
}
