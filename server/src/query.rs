//! Request targets: strict percent-decoding and query parameters.
//!
//! What is not understood is refused, never guessed: a stray `%`, bytes that are not UTF-8, a parameter that does not exist, one
//! that is given twice. A parameter with an empty value counts as absent, so that a form or template with an empty field works.

use std::borrow::Cow;

use fanfare_engine::Code;
use percent_encoding::percent_decode_str;

use crate::reply::Refusal;

/// The parameters of one request, decoded, in order, without the empty ones.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Decodes `raw` and checks that every name is in `single` (at most once) or in `many` (any number of times).
    pub(crate) fn parse(raw: Option<&'a str>, single: &[&str], many: &[&str]) -> Result<Query<'a>, Refusal> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in raw.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode_form(name).map_err(|fault| fault.refusal("a parameter name", "query"))?;
            let repeatable = many.contains(&&*name);
            if !repeatable && !single.contains(&&*name) {
                let known: Vec<&str> = single.iter().chain(many).copied().collect();
                let message =
                    format!("there is no parameter `{}` here; known are {}", shown(&name), known.join(", "));
                return Err(Refusal::new(Code::UnknownParameter, message).field(shown(&name)));
            }
            let value = decode_form(value).map_err(|fault| match &*name {
                "topic" => fault.topic(),
                _ => fault.refusal(&format!("parameter `{name}`"), &name),
            })?;
            if value.is_empty() {
                continue;
            }
            if !repeatable && pairs.iter().any(|(known, _)| *known == name) {
                let message = format!("parameter `{name}` is given twice");
                return Err(Refusal::new(Code::InvalidParameter, message).field(name));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// The value of a parameter that comes at most once.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// All values of a parameter, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// What is wrong with percent-encoded text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeFault {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// The decoded bytes are not UTF-8.
    Utf8,
}

impl DecodeFault {
    /// In a topic's name.
    pub(crate) fn topic(&self) -> Refusal {
        self.refusal("the topic", "topic")
    }

    pub(crate) fn refusal(&self, what: &str, field: &str) -> Refusal {
        let reason = match self {
            DecodeFault::Escape => "a `%` that is not followed by two hexadecimal digits",
            DecodeFault::Utf8 => "bytes that are not UTF-8",
        };
        let code = if field == "topic" { Code::InvalidTopic } else { Code::InvalidParameter };
        Refusal::new(code, format!("{what} has {reason}")).field(field)
    }
}

/// Decodes a path segment or the like (RFC 3986, 2.1). `+` is a plus.
pub(crate) fn decode_path(text: &str) -> Result<Cow<'_, str>, DecodeFault> {
    let bytes = text.as_bytes();
    let digits = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    if bytes.iter().enumerate().any(|(at, &b)| b == b'%' && !(digits(at + 1) && digits(at + 2))) {
        return Err(DecodeFault::Escape);
    }
    percent_decode_str(text).decode_utf8().map_err(|_| DecodeFault::Utf8)
}

/// Decodes a query component as forms and `URLSearchParams` write it: `+` is a space.
fn decode_form(text: &str) -> Result<Cow<'_, str>, DecodeFault> {
    if !text.contains('+') {
        return decode_path(text);
    }
    let spaced = text.replace('+', " ");
    decode_path(&spaced).map(|text| Cow::Owned(text.into_owned()))
}

/// A name from outside, short enough for an error message.
fn shown(name: &str) -> String {
    if name.chars().count() <= 64 { name.to_owned() } else { name.chars().take(64).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<Query<'_>, Refusal> {
        Query::parse(Some(raw), &["client", "replay"], &["topic"])
    }

    #[test]
    fn parameters_are_decoded_and_empty_ones_are_absent() {
        let query = parse("topic=a%2Fb&topic=c+d&client=&replay=10&&").expect("valid");
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a/b", "c d"]);
        assert_eq!(query.one("client"), None);
        assert_eq!(query.one("replay"), Some("10"));
        assert_eq!(parse("client=&client=x&client=").expect("empty does not count").one("client"), Some("x"));
        assert_eq!(parse("topic=%2B%f0%9f%8e%89").expect("valid").one("topic"), Some("+🎉"));
    }

    #[test]
    fn everything_else_is_refused() {
        for (raw, code, field) in [
            ("nope=1", Code::UnknownParameter, "nope"),
            ("nope", Code::UnknownParameter, "nope"),
            ("Topic=a", Code::UnknownParameter, "Topic"),
            ("replay=1&replay=1", Code::InvalidParameter, "replay"),
            ("client=%", Code::InvalidParameter, "client"),
            ("client=%4", Code::InvalidParameter, "client"),
            ("client=%zz", Code::InvalidParameter, "client"),
            ("topic=%ff", Code::InvalidTopic, "topic"),
            ("topic=%c0%80", Code::InvalidTopic, "topic"),
            ("topic=%ed%a0%80", Code::InvalidTopic, "topic"),
            ("%zz=1", Code::InvalidParameter, "query"),
        ] {
            let refusal = parse(raw).expect_err(raw);
            assert_eq!(refusal.code, code, "{raw}");
            let body: serde_json::Value = serde_json::from_slice(&refusal.json()).expect("JSON");
            assert_eq!(body["error"]["field"], field, "{raw}");
        }
    }

    #[test]
    fn a_plus_in_a_path_stays_a_plus() {
        assert_eq!(decode_path("a+b%20c"), Ok(Cow::Borrowed("a+b c")));
    }
}
