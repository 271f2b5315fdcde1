//! Passes whatever has data.

use fanfare_handler::{Event, Outcome, handler};

handler!(transform);

fn transform(event: Event) -> Outcome {
    if event.data.is_empty() {
        return Outcome::Reject("empty".into());
    }
    Outcome::Pass
}
