//! Why publishing was refused.

use std::fmt;

use crate::code::Code;
use crate::draft::InvalidField;
use crate::handler::HandlerError;
use crate::journal::JournalError;
use crate::sync::Arc;

/// Why an event was not published. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// A field breaks its rules.
    Invalid(InvalidField),
    /// The data is larger than `limits.event_bytes`.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// The data's size, in bytes.
        size: u64,
    },
    /// The topic is closed.
    TopicClosed,
    /// The hub cannot open one more topic.
    TopicLimit {
        /// `limits.topics`.
        limit: u32,
    },
    /// A handler refused it, or failed.
    Handler(HandlerError),
    /// The journal could not store it: the disk is full or failing. It may be tried again.
    NotStored {
        /// What failed, with the file.
        reason: Arc<str>,
    },
}

/// Which event of a batch was refused; none of the batch was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why.
    pub error: PublishError,
}

impl PublishError {
    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(field) => field.code(),
            Self::TooLarge { .. } => Code::TooLarge,
            Self::TopicClosed => Code::TopicClosed,
            Self::TopicLimit { .. } => Code::LimitTopics,
            Self::Handler(error) => error.code(),
            Self::NotStored { .. } => Code::NotStored,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(field) => field.fmt(f),
            Self::TooLarge { limit, size } => {
                write!(f, "data of {size} bytes is larger than {limit} bytes (limits.event_bytes)")
            }
            Self::TopicClosed => f.write_str("the topic is closed"),
            Self::TopicLimit { limit } => write!(f, "the hub holds {limit} topics already (limits.topics)"),
            Self::Handler(error) => error.fmt(f),
            Self::NotStored { reason } => write!(f, "it could not be stored: {reason}"),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<JournalError> for PublishError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::TopicClosed => Self::TopicClosed,
            JournalError::Failed(reason) => Self::NotStored { reason },
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of the batch: {}", self.index + 1, self.error)
    }
}

impl std::error::Error for BatchError {}

impl From<HandlerError> for PublishError {
    fn from(error: HandlerError) -> Self {
        Self::Handler(error)
    }
}

impl From<InvalidField> for PublishError {
    fn from(field: InvalidField) -> Self {
        Self::Invalid(field)
    }
}
