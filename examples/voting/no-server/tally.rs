//! The server of the voting page, as `tally.js` beside it, in Rust. A vote comes in, the tally goes out, and whoever comes gets
//! it first.

use fanfare_handler::{Event, Outcome, Subscriber, Welcome, handler, kv};

handler!(transform, on_subscribe = greet);

const CHOICES: [&str; 3] = ["Tea", "Coffee", "Water"];

fn tally(topic: String) -> Event {
    let votes = |choice| kv::get(choice).unwrap_or_else(|| "0".to_owned());
    let counts = CHOICES.map(|choice| format!(r#""{choice}":{}"#, votes(choice)));
    Event { topic, kind: Some("tally".to_owned()), id: None, data: format!("{{{}}}", counts.join(",")) }
}

fn transform(vote: Event) -> Outcome {
    if !CHOICES.contains(&vote.data.as_str()) {
        return Outcome::Reject(format!("vote for one of {}", CHOICES.join(", ")));
    }
    match kv::increment(&vote.data, 1, None) {
        Ok(_) => Outcome::Emit(vec![tally(vote.topic)]),
        Err(why) => Outcome::Reject(why.to_string()),
    }
}

fn greet(reader: Subscriber) -> Welcome {
    Welcome::Greet(reader.topics.into_iter().map(tally).collect())
}
