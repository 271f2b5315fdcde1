//! Every event in capitals, in every script that has them.

use fanfare_handler::{Event, Outcome, handler};

handler!(transform);

fn transform(event: Event) -> Outcome {
    Outcome::Replace(event.data.to_uppercase())
}
