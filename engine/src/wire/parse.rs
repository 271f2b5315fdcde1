//! Reading the text format: bytes in any portions, items out.
//!
//! [`Parser`] is the receiving half of the wire format. It implements WHATWG HTML section 9.2.5
//! (the grammar) and 9.2.6 (the interpretation), for clients, for tests and for the fuzzers that
//! hold the encoder to its word. It owns no socket and no clock: whoever reads the response body
//! feeds what arrived, and takes out what that completed.
//!
//! # What comes out, and when
//!
//! An item appears with the byte that completes it, never later. A line may end in CRLF, LF or a
//! lone CR; a CR ends its line at once and an LF that turns out to follow is swallowed, so an
//! event is never held back until the next byte. How the bytes were cut into portions changes
//! neither the items nor their order.
//!
//! # What is lost, and who is told
//!
//! * The stream may end anywhere. An event whose blank line has not arrived is discarded, and
//!   [`Parser::last_event_id`] does not move past it (9.2.6 commits the id only at dispatch), so
//!   resuming from that id delivers the event again, whole.
//! * Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid part, as the "UTF-8
//!   decode" algorithm asks. Cutting a character in two between portions is not an error.
//! * An event above the size limit is dropped and [`Item::TooLarge`] says so. Parsing goes on
//!   after the next blank line, and the dropped event's id is *not* taken.
//!
//! # Memory
//!
//! At most one unfinished line and one unfinished event: together about twice the limit given to
//! [`Parser::with_max_event_bytes`], whatever the peer sends. Lines that lie whole inside a
//! portion are read in place and not copied first.
//!
//! # Examples
//!
//! ```
//! use fanfare_engine::wire::parse::{Item, Parser};
//!
//! let mut parser = Parser::new();
//! let mut seen = Vec::new();
//! for portion in ["id: 7\nda", "ta: hello\r", "\n\r\n: still here\n"] {
//!     for item in parser.feed(portion.as_bytes()) {
//!         match item {
//!             Item::Event(event) => seen.push(event.data),
//!             Item::Comment(text) => seen.push(text),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(seen, ["hello", " still here"]);
//! assert_eq!(parser.last_event_id(), "7");
//! ```
//!
//! A peer that sends more than it may loses that event and no other:
//!
//! ```
//! use fanfare_engine::wire::parse::{Item, Parser};
//!
//! let mut parser = Parser::with_max_event_bytes(4);
//! let items: Vec<Item> = parser.feed(b"data: 12345\n\ndata: 1234\n\n").collect();
//! assert!(matches!(&items[0], Item::TooLarge(error) if error.limit == 4));
//! assert!(matches!(&items[1], Item::Event(event) if event.data == "1234"));
//! ```

use std::error::Error;
use std::fmt;
use std::mem;

use memchr::{memchr, memchr2};

/// The limit of [`Parser::new`]: the largest event a hub can be configured to publish (64 MiB of
/// data), with room for its type and id.
pub const DEFAULT_MAX_EVENT_BYTES: usize = 64 * 1024 * 1024 + 1024;

/// How much longer than the limit a single line may be: room for a byte order mark, the longest
/// field name, its colon and its space, so that a value of exactly the limit still fits.
const LINE_OVERHEAD: usize = 16;

/// A line buffer that grew beyond this many bytes is given back instead of kept for the next line.
const KEPT_LINE_BYTES: usize = 8 * 1024;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Incremental parser of one event stream.
///
/// See the [module](self) for what it promises. A parser outlives its connection: after the
/// response ended, [`reset`](Parser::reset) makes it ready for the next one and keeps the id to
/// resume from.
#[derive(Clone, Debug)]
pub struct Parser {
    /// Upper bound of `block`'s fields together, in bytes.
    max_event_bytes: usize,
    /// Start of a line whose end has not arrived. While `skipping` it holds at most one byte,
    /// which is enough to tell a blank line from another.
    line: Vec<u8>,
    /// No line has ended yet: the next one may begin with a byte order mark.
    at_start: bool,
    /// The last byte was a CR that ended a line: an LF here belongs to it.
    after_cr: bool,
    /// The current block was too large: drop its lines up to the next blank one.
    skipping: bool,
    /// What the lines of the current block have set so far.
    block: Block,
    /// 9.2.6 "last event ID string": as of the last dispatch.
    last_event_id: String,
    /// Reconnection time from the last valid `retry` field, in milliseconds.
    retry: Option<u64>,
}

/// The buffers of 9.2.6, undecoded. UTF-8 is decoded at dispatch: every byte the format gives a
/// meaning to is ASCII, so cutting at those bytes and decoding the pieces gives what decoding the
/// whole stream first would.
#[derive(Clone, Debug, Default)]
struct Block {
    /// "data buffer": every value followed by LF, the last LF included.
    data: Vec<u8>,
    /// "event type buffer".
    event: Vec<u8>,
    /// The value of the block's last valid `id` field; `None` leaves the last event ID as it is.
    id: Option<Vec<u8>>,
}

/// Something a stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A comment line, without its leading colon. Servers send these as heartbeats.
    Comment(String),
    /// A dispatched event.
    Event(ParsedEvent),
    /// A block without data that set the id: nothing fires, but this is now the
    /// [`last_event_id`](Parser::last_event_id) (empty: there is none any more).
    Id(String),
    /// The reconnection time was set, in milliseconds.
    Retry(u64),
    /// An event was larger than the limit and has been dropped; it ends at the next blank line.
    TooLarge(EventTooLarge),
}

/// An event as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedEvent {
    /// Its type; `message` when the stream named none, or named it empty.
    pub event: String,
    /// Its data, lines joined by LF, without the LF that ended the last of them.
    pub data: String,
    /// The id to resume after this event: its own, else the last one the stream set before.
    pub last_event_id: String,
}

/// An event's type, id and data together exceeded the parser's limit, or one line did by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Iterator over the items that a portion of the stream completed; see [`Parser::feed`].
///
/// Dropping it early still reads the portion to its end: the parser stays in step with the
/// stream, and the items that were not asked for are lost.
#[derive(Debug)]
#[must_use = "items are parsed as the iterator is advanced"]
pub struct Items<'p, 'b> {
    /// Reads the lines and keeps what they leave unfinished.
    parser: &'p mut Parser,
    /// The part of the portion that is not read yet.
    rest: &'b [u8],
}

impl Parser {
    /// A parser with the limit [`DEFAULT_MAX_EVENT_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_event_bytes(DEFAULT_MAX_EVENT_BYTES)
    }

    /// A parser that drops events of more than `max_event_bytes` bytes.
    ///
    /// Counted are the bytes of data (line ends as one byte each, the last not at all), type and
    /// id as they arrived. No line, comments included, may be longer than the limit plus 16.
    #[must_use]
    pub fn with_max_event_bytes(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            line: Vec::new(),
            at_start: true,
            after_cr: false,
            skipping: false,
            block: Block::default(),
            last_event_id: String::new(),
            retry: None,
        }
    }

    /// Reads the next portion of the stream and gives the items it completed, in stream order.
    ///
    /// Portions may be cut anywhere, also within a character or between CR and LF.
    pub fn feed<'p, 'b>(&'p mut self, bytes: &'b [u8]) -> Items<'p, 'b> {
        Items { parser: self, rest: bytes }
    }

    /// Ends this stream and makes the parser ready for the first byte of another.
    ///
    /// An unfinished event is discarded (9.2.6: "any pending data must be discarded"). The last
    /// event id and the reconnection time stay, as they belong to the client and not to one
    /// connection. An event without an id in the next response carries that id too: the standard's
    /// text starts every response with an empty buffer, but browsers keep it, and the test
    /// `eventsource/format-field-id-2` of web-platform-tests asks for that.
    pub fn reset(&mut self) {
        self.clear_line();
        self.at_start = true;
        self.after_cr = false;
        self.skipping = false;
        self.block = Block::default();
    }

    /// Sets the id to resume from, as a client does that has stored one.
    pub fn set_last_event_id(&mut self, id: impl Into<String>) {
        self.last_event_id = id.into();
    }

    /// The id to send as `Last-Event-ID` when reconnecting; empty if there is none (9.2.4).
    ///
    /// It moves when a block ends, not when its `id` line is read.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The reconnection time the stream asked for, in milliseconds, if it did.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Reads up to the end of the next line, or all of `rest` if no line ends in it.
    ///
    /// A line completes at most one item, so the caller repeats this while bytes are left.
    fn advance(&mut self, rest: &mut &[u8]) -> Option<Item> {
        if mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            *rest = &rest[1..];
        }
        let bytes = *rest;
        let Some(end) = memchr2(b'\r', b'\n', bytes) else {
            *rest = &[];
            return self.keep(bytes);
        };
        self.after_cr = bytes[end] == b'\r';
        *rest = &bytes[end + 1..];
        if self.line.is_empty() {
            return self.end_line(&bytes[..end]);
        }
        if let Some(too_large) = self.keep(&bytes[..end]) {
            // The line that broke the limit has just ended; it was not blank.
            self.clear_line();
            self.at_start = false;
            return Some(too_large);
        }
        let line = mem::take(&mut self.line);
        let item = self.end_line(&line);
        self.line = line;
        self.clear_line();
        item
    }

    /// Appends to the unfinished line.
    fn keep(&mut self, bytes: &[u8]) -> Option<Item> {
        if self.skipping {
            if self.line.is_empty() {
                self.line.extend(bytes.first());
            }
            return None;
        }
        if bytes.len() > self.max_line_bytes().saturating_sub(self.line.len()) {
            let too_large = self.skip_block();
            // One byte stands for the line: it is not blank.
            self.line.push(b':');
            return Some(too_large);
        }
        self.line.extend_from_slice(bytes);
        None
    }

    /// Interprets one line, given without its end (9.2.6, "Lines must be processed").
    fn end_line(&mut self, line: &[u8]) -> Option<Item> {
        let mut line = line;
        let too_long = line.len() > self.max_line_bytes();
        if mem::take(&mut self.at_start) {
            // "strips one leading UTF-8 Byte Order Mark (BOM), if any": one, and only here.
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if self.skipping {
            self.skipping = !line.is_empty();
            return None;
        }
        if too_long {
            return Some(self.skip_block());
        }
        match memchr(b':', line) {
            // "If the line is empty (a blank line): dispatch the event".
            None if line.is_empty() => self.dispatch(),
            // "If the line starts with a U+003A COLON character (:): ignore the line".
            Some(0) => Some(Item::Comment(decode(line[1..].to_vec()))),
            // "If value starts with a U+0020 SPACE character, remove it from value": one only.
            Some(colon) => {
                let value = &line[colon + 1..];
                self.field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            // "using the whole line as the field name, and the empty string as the field value".
            None => self.field(line, b""),
        }
    }

    /// 9.2.6, "process the field". Names are compared byte for byte, without case folding.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Option<Item> {
        match name {
            // "Set the event type buffer to the field value": the last one of a block counts.
            b"event" => {
                self.block.event.clear();
                self.block.event.extend_from_slice(value);
            }
            // "Append the field value to the data buffer, then append a single LF".
            b"data" => {
                self.block.data.reserve(value.len() + 1);
                self.block.data.extend_from_slice(value);
                self.block.data.push(b'\n');
            }
            // "If the field value does not contain U+0000 NULL".
            b"id" if memchr(0, value).is_none() => self.block.id = Some(value.to_vec()),
            // "If the field value consists of only ASCII digits"; takes effect at once. No digits
            // are not a number, and neither is one that does not fit: both are ignored.
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = Some(number(value)?);
                return self.retry.map(Item::Retry);
            }
            _ => {}
        }
        (self.block.size() > self.max_event_bytes).then(|| self.skip_block())
    }

    /// 9.2.6, "dispatch the event".
    fn dispatch(&mut self) -> Option<Item> {
        let Block { mut data, event, id } = mem::take(&mut self.block);
        // Step 1: the last event ID string takes the value of the buffer, whatever follows.
        let has_id = id.is_some();
        if let Some(id) = id {
            self.last_event_id = decode(id);
        }
        // Step 2: no data field, no event; data of one empty line is not "no data".
        if data.is_empty() {
            return has_id.then(|| Item::Id(self.last_event_id.clone()));
        }
        // Step 3: the LF after the last value is not part of the data.
        data.pop();
        // Steps 5 and 6.
        let event = if event.is_empty() { "message".to_owned() } else { decode(event) };
        let last_event_id = self.last_event_id.clone();
        Some(Item::Event(ParsedEvent { event, data: decode(data), last_event_id }))
    }

    /// Drops the current block and everything up to the next blank line.
    fn skip_block(&mut self) -> Item {
        self.block = Block::default();
        self.clear_line();
        self.skipping = true;
        Item::TooLarge(EventTooLarge { limit: self.max_event_bytes })
    }

    /// Empties the line buffer and gives a large one back.
    fn clear_line(&mut self) {
        if self.line.capacity() > KEPT_LINE_BYTES {
            self.line = Vec::new();
        } else {
            self.line.clear();
        }
    }

    /// Upper bound of one line, in bytes.
    fn max_line_bytes(&self) -> usize {
        self.max_event_bytes.saturating_add(LINE_OVERHEAD)
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Block {
    /// What the limit counts.
    fn size(&self) -> usize {
        let id = self.id.as_ref().map_or(0, Vec::len);
        self.data.len().saturating_sub(1) + self.event.len() + id
    }
}

impl Iterator for Items<'_, '_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while !self.rest.is_empty() {
            let item = self.parser.advance(&mut self.rest);
            if item.is_some() {
                return item;
            }
        }
        None
    }
}

impl Drop for Items<'_, '_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event larger than the limit of {} bytes", self.limit)
    }
}

impl Error for EventTooLarge {}

/// UTF-8 decode with replacement (Encoding Standard, section 4.1); valid text is not copied.
fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned())
}

/// ASCII digits as a number in base ten; `None` if it does not fit.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}
