//! What a host says to one reader before everything else.
//!
//! Such an event is no event of the hub: it has no topic and no id, no other reader sees it, and no history keeps it. So a reader that
//! goes on later does so after the last event that it got of its topics, whatever it was greeted with.

use fanfare_engine::wire::encode;
use fanfare_engine::{Field, InvalidField, MAX_RETRY_MS, RESERVED_EVENT_PREFIX, Reason, check_event_type};

/// No event at all.
pub(crate) static NOTHING: Greeting = Greeting { bytes: Vec::new(), events: 0 };

/// Events for one reader, in their order, already as they go on the wire. They are held until its stream begins to be written, or for
/// `timeouts.write` if its peer takes nothing: whoever greets keeps them small.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    bytes: Vec<u8>,
    events: u64,
}

impl Greeting {
    /// Adds an event: its type (absent: `message`), its data, and the time after which the reader comes back, in milliseconds.
    ///
    /// # Errors
    /// A type that no event can have, or a time longer than a day. Nothing has been added then.
    pub fn add(&mut self, event: Option<&str>, data: &str, retry: Option<u64>) -> Result<(), InvalidField> {
        if let Some(event) = event {
            check_event_type(event)?;
            if event.starts_with(RESERVED_EVENT_PREFIX) {
                return Err(InvalidField { field: Field::Event, reason: Reason::Reserved });
            }
        }
        if retry.is_some_and(|ms| ms > MAX_RETRY_MS) {
            return Err(InvalidField { field: Field::Retry, reason: Reason::OutOfRange });
        }
        if let Some(event) = event {
            encode::field(&mut self.bytes, "event", event);
        }
        if let Some(ms) = retry {
            encode::retry(&mut self.bytes, ms);
        }
        encode::data(&mut self.bytes, data);
        self.bytes.push(b'\n');
        self.events += 1;
        Ok(())
    }

    /// The events as they go on the wire, unframed.
    pub fn wire(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_no_id_and_ends() {
        let mut greeting = Greeting::default();
        greeting.add(Some("notice"), "a\r\nb", Some(5)).expect("valid");
        greeting.add(None, "", None).expect("valid");
        let text = String::from_utf8(greeting.wire().to_vec()).expect("UTF-8");
        assert_eq!(text, "event: notice\nretry: 5\ndata: a\ndata: b\n\ndata: \n\n");
        assert_eq!(greeting.events(), 2);
    }

    #[test]
    fn what_would_be_something_else_on_the_wire_is_refused() {
        let mut greeting = Greeting::default();
        for event in ["", "a\nb", "a\rid: 7", "fanfare.gap", &*"x".repeat(256)] {
            let refused = greeting.add(Some(event), "x", None).expect_err("refused");
            assert_eq!(refused.field, Field::Event, "{event:?}");
        }
        let refused = greeting.add(None, "x", Some(MAX_RETRY_MS + 1)).expect_err("refused");
        assert_eq!(refused.field, Field::Retry);
        assert!(greeting.wire().is_empty());
    }
}
