//! Which events a reader wants.

use std::borrow::Cow;

use crate::wire::Frame;

/// Which events a reader wants.
pub(super) struct Filter {
    events: Box<[Box<str>]>,
    client: Option<Box<str>>,
}

impl Filter {
    pub(super) fn new(events: &[Cow<'_, str>], client: Option<&str>) -> Self {
        Self {
            events: events.iter().map(|event| Box::from(&**event)).collect(),
            client: client.map(Box::from),
        }
    }

    /// Whether every event is wanted.
    #[inline]
    pub(super) fn passes_all(&self) -> bool {
        self.events.is_empty() && self.client.is_none()
    }

    #[inline]
    pub(super) fn passes(&self, frame: &Frame) -> bool {
        self.passes_all() || self.chooses(frame)
    }

    fn chooses(&self, frame: &Frame) -> bool {
        let wanted = self.events.is_empty() || {
            let event = frame.event().unwrap_or("message");
            self.events.iter().any(|wanted| **wanted == *event)
        };
        wanted
            && (self.client.is_none() || frame.except().is_none() || frame.except() != self.client.as_deref())
    }
}
