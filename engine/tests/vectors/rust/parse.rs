//! The parser against `wire/parse.json`, against the oracle, and against itself in other portions.

use fanfare_engine::wire::parse::{Item, ParsedEvent, Parser};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;

use crate::case::{NoNames, Text, load};
use crate::reference::{self, Reading};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    source: String,
    responses: Vec<Text>,
    events: Vec<Event>,
    last_event_id: String,
    retry: Option<u64>,
    comments: Option<Vec<Text>>,
    ids: Option<Vec<String>>,
    limit: Option<usize>,
    too_large: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    event: String,
    data: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentType {
    name: String,
    source: String,
    content_type: Option<String>,
    opens: bool,
}

impl Case {
    fn parser(&self) -> Parser {
        self.limit.map_or_else(Parser::new, Parser::with_max_event_bytes)
    }

    fn responses(&self) -> Vec<Vec<u8>> {
        self.responses.iter().map(|response| response.bytes(&NoNames)).collect()
    }

    /// Reads all responses, each cut into portions by `cut`, and compares.
    fn check(&self, how: &str, cut: impl Fn(&[u8]) -> Vec<&[u8]>) {
        let mut parser = self.parser();
        let mut items = Vec::new();
        for (i, response) in self.responses().iter().enumerate() {
            if i > 0 {
                parser.reset();
            }
            for portion in cut(response) {
                items.extend(parser.feed(portion));
            }
        }
        let at = format!("{:?} ({}), {how}", self.name, self.source);
        let events: Vec<ParsedEvent> = self
            .events
            .iter()
            .map(|Event { event, data, id }| ParsedEvent {
                event: event.clone(),
                data: data.clone(),
                last_event_id: id.clone(),
            })
            .collect();
        assert_eq!(
            pick(&items, |item| if let Item::Event(e) = item { Some(e.clone()) } else { None }),
            events,
            "{at}"
        );
        assert_eq!(parser.last_event_id(), self.last_event_id, "{at}: last event id");
        assert_eq!(parser.retry(), self.retry, "{at}: retry");
        if let Some(comments) = &self.comments {
            let expected: Vec<String> = comments.iter().filter_map(|text| text.text(&NoNames)).collect();
            let found = pick(&items, |item| if let Item::Comment(c) = item { Some(c.clone()) } else { None });
            assert_eq!(found, expected, "{at}: comments");
        }
        if let Some(ids) = &self.ids {
            let found = pick(&items, |item| if let Item::Id(id) = item { Some(id.clone()) } else { None });
            assert_eq!(&found, ids, "{at}: ids");
        }
        let limits =
            pick(&items, |item| if let Item::TooLarge(error) = item { Some(error.limit) } else { None });
        assert_eq!(limits, vec![self.limit.unwrap_or(0); self.too_large.unwrap_or(0)], "{at}: too large");
    }
}

fn pick<T>(items: &[Item], which: impl Fn(&Item) -> Option<T>) -> Vec<T> {
    items.iter().filter_map(which).collect()
}

#[test]
fn every_case_at_once() {
    for case in load::<Case>("wire/parse.json") {
        case.check("at once", |response| vec![response]);
    }
}

#[test]
fn every_case_byte_by_byte() {
    for case in load::<Case>("wire/parse.json") {
        case.check("byte by byte", |response| response.chunks(1).collect());
        case.check("with empty portions between", |response| {
            response.chunks(1).flat_map(|byte| [&[][..], byte, &[]]).collect()
        });
    }
}

#[test]
fn every_case_in_every_two_parts() {
    for case in load::<Case>("wire/parse.json") {
        let longest = case.responses().iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..=longest {
            case.check(&format!("cut at {at}"), |response| {
                let (left, right) = response.split_at(at.min(response.len()));
                vec![left, right]
            });
        }
    }
}

#[test]
fn every_unlimited_case_is_read_alike_by_the_oracle() {
    let cases = load::<Case>("wire/parse.json");
    for case in cases.iter().filter(|case| case.limit.is_none()) {
        // The oracle knows one stream only, so each response is read as a first one.
        for response in case.responses() {
            assert_eq!(read(Parser::new(), [&response[..]]), reference::read(&response), "{}", case.name);
        }
    }
}

/// 9.2.6 discards what is pending at the end, wherever that is: a client that was cut off at any
/// byte and resumes after the id it has then gets each event exactly once.
#[test]
fn a_stream_cut_at_every_byte_resumes_exactly() {
    let events =
        ["id: 1\r\ndata: a\r\n\r\n", "event: t\nid: 2\ndata: b1\ndata: b2\n\n", "id: 3\rdata: c\r\r"];
    let stream = events.concat();
    let all = pick(
        &whole(stream.as_bytes()),
        |item| if let Item::Event(e) = item { Some(e.clone()) } else { None },
    );
    assert_eq!(all.len(), events.len());
    for cut in 0..=stream.len() {
        let mut parser = Parser::new();
        let mut items: Vec<Item> = parser.feed(&stream.as_bytes()[..cut]).collect();
        parser.reset();
        // What a server does with Last-Event-ID: everything after that event.
        let resumed = match parser.last_event_id() {
            "" => 0,
            id => id.parse::<usize>().expect("an id of this stream"),
        };
        items.extend(parser.feed(events[resumed..].concat().as_bytes()));
        let found = pick(&items, |item| if let Item::Event(e) = item { Some(e.clone()) } else { None });
        assert_eq!(found, all, "cut at {cut}");
    }
}

#[test]
fn items_that_are_not_taken_are_still_read() {
    let mut parser = Parser::new();
    drop(parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\nda"));
    assert_eq!(parser.last_event_id(), "2");
    let items: Vec<Item> = parser.feed(b"ta: c\n\n").collect();
    let event = ParsedEvent { event: "message".into(), data: "c".into(), last_event_id: "3".into() };
    assert_eq!(items, [Item::Event(event)]);
}

#[test]
fn a_stored_id_is_taken_up() {
    let mut parser = Parser::new();
    parser.set_last_event_id("stored");
    assert_eq!(parser.last_event_id(), "stored");
    assert_eq!(
        pick(&parser.feed(b"data\n\n").collect::<Vec<_>>(), |item| match item {
            Item::Event(event) => Some(event.last_event_id.clone()),
            _ => None,
        }),
        ["stored"]
    );
}

#[test]
fn the_limit_names_itself() {
    let items: Vec<Item> = Parser::with_max_event_bytes(3).feed(b"data: 1234\n").collect();
    let [Item::TooLarge(error)] = &items[..] else { panic!("{items:?}") };
    assert_eq!(error.to_string(), "event larger than the limit of 3 bytes");
}

/// The engine does not read HTTP headers; the file is for clients. This keeps it readable.
#[test]
fn content_types_are_well_formed() {
    let cases = load::<ContentType>("wire/content_type.json");
    assert!(cases.iter().any(|case| case.opens) && cases.iter().any(|case| !case.opens));
    for case in cases {
        assert!(!case.name.is_empty() && !case.source.is_empty());
        assert!(case.content_type.is_some() || !case.opens, "{}: no type cannot open", case.name);
    }
}

fn whole(stream: &[u8]) -> Vec<Item> {
    Parser::new().feed(stream).collect()
}

fn read<'a>(mut parser: Parser, portions: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut items = Vec::new();
    for portion in portions {
        items.extend(parser.feed(portion));
    }
    Reading { items, last_event_id: parser.last_event_id().to_owned(), retry: parser.retry() }
}

/// Cuts `stream` into portions of the given lengths, used in a circle.
fn portions<'a>(stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut portions = Vec::new();
    let mut rest = stream;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |&n| n.min(rest.len()));
        let (portion, after) = rest.split_at(length);
        portions.push(portion);
        rest = after;
    }
    portions
}

/// Pieces that streams are made of, valid and broken.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<&'static [u8]> = vec![
        b"data",
        b"data:",
        b"data: ",
        b"data: x",
        b"event: t",
        b"event",
        b"id: 1",
        b"id",
        b"id: a\0",
        b"retry: 7",
        b"retry: 7x",
        b"retry",
        b":",
        b": c",
        b" ",
        b"\n",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"\xEF\xBB\xBF",
        b"\xEF\xBB",
        b"\xE2\x80\xA8",
        b"\xC2\x85",
        b"\xF0\x9F\x8E\xBA",
        b"\xF0\x9F",
        b"\xED\xA0\x80",
        b"\xC0\x80",
        b"\xFF",
        b"retry: 18446744073709551616",
        b"unknown: x",
    ];
    prop_oneof![
        12 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..6),
        1 => "\\PC{0,12}".prop_map(String::into_bytes),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_portions_give_what_the_oracle_reads(stream in stream(), lengths in vec(1usize..9, 0..8)) {
        prop_assert_eq!(read(Parser::new(), portions(&stream, &lengths)), reference::read(&stream));
    }

    #[test]
    fn limits_do_not_depend_on_portions(stream in stream(), lengths in vec(1usize..9, 0..8), limit in 0usize..40) {
        let parser = || Parser::with_max_event_bytes(limit);
        let limited = read(parser(), portions(&stream, &lengths));
        prop_assert_eq!(&limited, &read(parser(), [&stream[..]]));
        let text = String::from_utf8_lossy(&stream);
        let limited = read(parser(), portions(text.as_bytes(), &lengths));
        prop_assert_eq!(limited, reference::read_limited(&text, limit));
    }

    #[test]
    fn a_large_limit_changes_nothing(stream in stream()) {
        let limited = read(Parser::with_max_event_bytes(stream.len()), [&stream[..]]);
        prop_assert_eq!(limited, read(Parser::new(), [&stream[..]]));
    }
}
