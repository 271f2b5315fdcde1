//! The parser against the oracle: any bytes, cut anywhere, with and without a limit.

#![no_main]

use arbitrary::Arbitrary;
use fanfare_engine::wire::parse::Parser;
use fanfare_fuzz::reference::{self, Reading};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Lengths of the portions, used in a circle; none: all at once.
    portions: Vec<u8>,
    /// Limit of the second run.
    limit: u8,
    /// The stream; last, so that the fuzzer's dictionary lands in it.
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let portions = &input.portions;
    assert_eq!(run(Parser::new(), input.stream, portions), reference::read(input.stream));

    let limit = usize::from(input.limit);
    let limited = run(Parser::with_max_event_bytes(limit), input.stream, portions);
    assert_eq!(limited, run(Parser::with_max_event_bytes(limit), input.stream, &[]));
    if let Ok(text) = std::str::from_utf8(input.stream) {
        assert_eq!(limited, reference::read_limited(text, limit));
    }
});

fn run(mut parser: Parser, stream: &[u8], portions: &[u8]) -> Reading {
    let mut items = Vec::new();
    let mut rest = stream;
    let mut lengths = portions.iter().cycle();
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |&n| usize::from(n).clamp(1, rest.len()));
        let (portion, after) = rest.split_at(length);
        items.extend(parser.feed(portion));
        rest = after;
    }
    Reading { items, last_event_id: parser.last_event_id().to_owned(), retry: parser.retry() }
}
