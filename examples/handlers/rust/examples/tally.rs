//! Votes: each event is a choice, and what is broadcast is its count.

use fanfare_handler::{Event, Outcome, handler, kv};

handler!(transform);

fn transform(vote: Event) -> Outcome {
    let choice = &vote.data;
    if choice.is_empty() || choice.len() > 20 || !choice.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Outcome::Reject("a choice has 1 to 20 letters".into());
    }
    match kv::increment(choice, 1, None) {
        Ok(votes) => Outcome::Emit(vec![Event {
            topic: vote.topic,
            kind: Some("tally".into()),
            id: None,
            data: format!(r#"{{"choice":"{choice}","votes":{votes}}}"#),
        }]),
        Err(why) => Outcome::Reject(why.to_string()),
    }
}
