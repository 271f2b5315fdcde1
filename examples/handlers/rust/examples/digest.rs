//! Nobody wants every event of a busy topic: its readers learn from time to time how many there were.

use fanfare_handler::{Event, Outcome, config, handler, kv};

handler!(transform, transform_batch = several, tick = tell);

fn count(events: usize) -> Outcome {
    match kv::increment("seen", events as i64, None) {
        Ok(_) => Outcome::Drop,
        Err(why) => Outcome::Reject(why.to_string()),
    }
}

fn transform(_: Event) -> Outcome {
    count(1)
}

fn several(events: Vec<Event>) -> Vec<Outcome> {
    vec![count(events.len()); events.len()]
}

fn tell() -> Vec<Event> {
    let Some(seen) = kv::get("seen") else { return Vec::new() };
    kv::delete("seen");
    let topic = config::get("topic").unwrap_or_else(|| "digest".into());
    vec![Event { topic, kind: Some("digest".into()), id: None, data: seen }]
}
