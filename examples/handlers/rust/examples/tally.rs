//! Votes: each event is a choice; everybody learns its new count, and whoever comes learns all of them first.

use fanfare_handler::{Event, KvError, Outcome, Subscriber, Welcome, handler, kv};

handler!(transform, on_subscribe = greet);

const MAX_CHOICES: usize = 400;

fn votes_key(topic: &str, choice: &str) -> String {
    format!("votes/{topic}/{choice}")
}

fn choices_key(topic: &str) -> String {
    format!("choices/{topic}")
}

fn transform(vote: Event) -> Outcome {
    let choice = &vote.data;
    if choice.is_empty() || choice.len() > 20 || !choice.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Outcome::Reject("a choice has 1 to 20 letters".into());
    }
    match count(&vote.topic, choice) {
        Ok(Some(votes)) => Outcome::Emit(vec![Event {
            kind: Some("tally".into()),
            data: format!(r#"{{"choice":"{choice}","votes":{votes}}}"#),
            topic: vote.topic,
            id: None,
        }]),
        Ok(None) => Outcome::Reject("too many choices".into()),
        Err(why) => Outcome::Reject(why.to_string()),
    }
}

/// Its votes now; `None` if there is no room for another choice.
fn count(topic: &str, choice: &str) -> Result<Option<i64>, KvError> {
    let votes = kv::increment(&votes_key(topic, choice), 1, None)?;
    if votes == 1 {
        let known = kv::get(&choices_key(topic)).unwrap_or_default();
        if known.split_whitespace().count() == MAX_CHOICES {
            kv::delete(&votes_key(topic, choice));
            return Ok(None);
        }
        kv::set(&choices_key(topic), &format!("{known} {choice}"), None)?;
    }
    Ok(Some(votes))
}

fn greet(reader: Subscriber) -> Welcome {
    let snapshot = |topic: String| {
        let known = kv::get(&choices_key(&topic)).unwrap_or_default();
        let counts: Vec<_> = known
            .split_whitespace()
            .map(|choice| {
                format!(r#""{choice}":{}"#, kv::get(&votes_key(&topic, choice)).unwrap_or_default())
            })
            .collect();
        let data = format!("{{{}}}", counts.join(","));
        Event { topic, kind: Some("snapshot".into()), id: None, data }
    };
    Welcome::Greet(reader.topics.into_iter().map(snapshot).collect())
}
