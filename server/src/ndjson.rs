//! Many events in one body: newline-delimited JSON, all or nothing.
//!
//! Each line is an object with `data` (a string, required) and, as needed, `event`, `id`, `retry`, `except`, `key`. A member that is null counts as
//! absent. What is not known, given twice, or of the wrong type is refused with the number of its line. Empty lines are skipped.

use std::borrow::Cow;
use std::fmt;

use fanfare_engine::{Code, Draft};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::reply::Refusal;

/// Most events of one body: what they cost in memory while they wait is more than their text.
pub(crate) const MAX_EVENTS: usize = 65_536;

/// The drafts of a body and, for each, the number of its line.
pub(crate) fn parse<'a>(topic: &'a str, body: &'a str) -> Result<(Vec<Draft<'a>>, Vec<usize>), Refusal> {
    let mut drafts = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in body.split('\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let number = index + 1;
        if drafts.len() == MAX_EVENTS {
            let message = format!("more than {MAX_EVENTS} events in one request");
            return Err(Refusal::new(Code::TooLarge, message).limit(MAX_EVENTS as u64));
        }
        let event: Line<'a> = serde_json::from_str(line).map_err(|error| {
            Refusal::new(Code::InvalidBody, format!("line {number}: {}", reason(&error))).field("body")
        })?;
        drafts.push(Draft {
            topic: Cow::Borrowed(topic),
            event: event.event,
            id: event.id,
            data: event.data,
            retry: event.retry,
            except: event.except,
            key: event.key,
        });
        lines.push(number);
    }
    if drafts.is_empty() {
        return Err(Refusal::new(Code::InvalidBody, "the body holds no event").field("body"));
    }
    Ok((drafts, lines))
}

/// serde_json's words without its own line number, which is always 1 here.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((reason, column)) => format!("{reason}, at character {column}"),
        None => text,
    }
}

struct Line<'a> {
    data: Cow<'a, str>,
    event: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    retry: Option<u64>,
    except: Option<Cow<'a, str>>,
    key: Option<Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Line<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line<'a>, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

const MEMBERS: &[&str] = &["data", "event", "id", "retry", "except", "key"];

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"data\":\"...\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
        let mut texts: [Option<Option<Cow<'de, str>>>; 5] = Default::default();
        let mut retry: Option<Option<u64>> = None;
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let Some(&member) = MEMBERS.iter().find(|&&member| member == name) else {
                let shown: String = name.chars().take(64).collect();
                return Err(de::Error::custom(format_args!(
                    "there is no member {shown:?}; known are {}",
                    MEMBERS.join(", ")
                )));
            };
            let named = |error: A::Error| de::Error::custom(format_args!("{member}: {error}"));
            let twice = if member == "retry" {
                retry.replace(map.next_value().map_err(named)?).is_some()
            } else {
                let value = map.next_value::<Option<Text<'de>>>().map_err(named)?.map(|Text(text)| text);
                let slot = ["data", "event", "id", "except", "key"].iter().position(|&known| known == member);
                slot.and_then(|slot| texts[slot].replace(value)).is_some()
            };
            if twice {
                return Err(de::Error::custom(format_args!("{member} is given twice")));
            }
        }
        let [data, event, id, except, key] = texts.map(Option::flatten);
        let data = data.ok_or_else(|| de::Error::custom("data is missing"))?;
        Ok(Line { data, event, id, retry: retry.flatten(), except, key })
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_drafts() {
        let body = "{\"data\":\"a\"}\r\n\n {\"data\":\"b\\n\\u00e9\",\"event\":\"e\",\"id\":\"i\",\"retry\":5,\"except\":\"x\",\"key\":\"k\"}\n{\"id\":null,\"data\":\"\"}";
        let (drafts, lines) = parse("t", body).expect("valid");
        assert_eq!(lines, [1, 3, 4]);
        assert_eq!(drafts[0], Draft::new("t", "a"));
        assert!(matches!(drafts[0].data, Cow::Borrowed(_)));
        let full = Draft {
            retry: Some(5),
            except: Some("x".into()),
            key: Some("k".into()),
            ..Draft::new("t", "b\né").with_event("e").with_id("i")
        };
        assert_eq!(drafts[1], full);
        assert_eq!(drafts[2], Draft::new("t", ""));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, words) in [
            ("{\"event\":\"x\"}", "data is missing"),
            ("{\"data\":1}", "data: invalid type"),
            ("{\"data\":null}", "data is missing"),
            ("{\"data\":\"x\",\"retry\":-1}", "retry: "),
            ("{\"data\":\"x\",\"retry\":1.5}", "retry: "),
            ("{\"data\":\"x\",\"nope\":1}", "no member \"nope\""),
            ("{\"data\":\"x\",\"data\":\"x\"}", "data is given twice"),
            ("{\"data\":\"x\",\"retry\":1,\"retry\":null}", "retry is given twice"),
            ("[]", "expected an object"),
            ("{\"data\":\"x\"} {}", "trailing"),
            ("{\"data\":\"\\ud800\"}", "line 2"),
        ] {
            let body = format!("{{\"data\":\"x\"}}\n{line}");
            let refusal = parse("t", &body).expect_err(line);
            let text = String::from_utf8(refusal.json()).expect("JSON");
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let message = value["error"]["message"].as_str().expect("a message").to_owned();
            assert!(
                message.starts_with("line 2: ") && message.contains(words.trim_start_matches("line 2")),
                "{line}: {message}"
            );
        }
        assert_eq!(parse("t", " \r\n\n").expect_err("nothing").code, Code::InvalidBody);
    }
}
