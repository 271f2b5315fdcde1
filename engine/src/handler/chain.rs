//! The ordered chain of handlers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Fault, HandlerSpec, OnFault, Verdict};
use crate::code::Code;
use crate::draft::Draft;
use crate::time::Timestamp;

/// Why an event did not get through the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// A handler refused it, for the reason given.
    Refused {
        /// The handler's name.
        handler: String,
        /// Its words, for the publisher.
        reason: String,
    },
    /// A handler failed and its policy is [`OnFault::Closed`].
    Failed {
        /// The handler's name.
        handler: String,
        /// What went wrong.
        fault: Fault,
    },
}

impl HandlerError {
    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::HandlerRefused,
            Self::Failed { .. } => Code::HandlerFailed,
        }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { handler, reason } => write!(f, "handler {handler} refused the event: {reason}"),
            Self::Failed { handler, fault } => write!(f, "handler {handler} failed: {fault}"),
        }
    }
}

impl std::error::Error for HandlerError {}

/// The handlers of a hub, in order. Immutable: adding one makes a new chain.
#[derive(Clone, Default)]
pub(crate) struct Chain(Vec<HandlerSpec>);

impl Chain {
    pub(crate) fn with(&self, spec: HandlerSpec) -> Self {
        let mut specs = self.0.clone();
        specs.push(spec);
        Self(specs)
    }

    /// Whether any handler wants events of `topic`.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.0.iter().any(|spec| spec.topics.matches(topic))
    }

    /// Sends `draft` through the chain; what comes out is to be committed in order. Each handler sees what the ones
    /// before it left, so an emitted event never meets the handler that made it: there is no loop.
    pub(crate) fn run<'a>(&self, draft: Draft<'a>, now: Timestamp) -> Result<Vec<Draft<'a>>, HandlerError> {
        let mut events = vec![draft];
        for spec in &self.0 {
            let mut next = Vec::with_capacity(events.len());
            for event in events {
                if !spec.topics.matches(&event.topic) {
                    next.push(event);
                    continue;
                }
                match spec.call(&event, now)? {
                    Verdict::Pass => next.push(event),
                    Verdict::Replace(event) => next.push(event),
                    Verdict::Drop => {}
                    Verdict::Emit(made) => next.extend(made),
                    Verdict::Refuse(reason) => {
                        return Err(HandlerError::Refused { handler: spec.name.to_string(), reason });
                    }
                }
            }
            events = next;
        }
        Ok(events)
    }
}

impl HandlerSpec {
    fn call(&self, event: &Draft<'_>, now: Timestamp) -> Result<Verdict, HandlerError> {
        // A handler is foreign code: what it leaves behind after a panic is its own affair, the engine's state is not
        // touched while it runs.
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.handle(event, now)));
        match result.unwrap_or_else(|_| Err(Fault("it panicked".into()))) {
            Ok(verdict) => Ok(verdict),
            Err(_) if self.on_fault == OnFault::Open => Ok(Verdict::Pass),
            Err(fault) => Err(HandlerError::Failed { handler: self.name.to_string(), fault }),
        }
    }
}
