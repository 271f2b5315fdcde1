//! A field more in every JSON object: the topic it went through. What is no object is refused.

use fanfare_handler::{Event, Outcome, handler};
use serde_json::Value;

handler!(transform);

fn transform(event: Event) -> Outcome {
    match serde_json::from_str(&event.data) {
        Ok(Value::Object(mut object)) => {
            object.insert("via".into(), Value::String(event.topic));
            Outcome::Replace(Value::Object(object).to_string())
        }
        _ => Outcome::Reject("not a JSON object".into()),
    }
}
