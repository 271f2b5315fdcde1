//! What a reader makes of the bytes it gets: the answer's head, then chunks, then events, which are checked or counted.

use fanfare_hub::client::{Item, Parser};

/// The longest head that is taken.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The data of event `number` (from 0) of a pass, padded to `size` bytes.
pub(super) fn data(pass: u32, number: u32, size: usize) -> String {
    let mut text = format!("{pass}:{number}:");
    text.extend(std::iter::repeat_n('x', size.saturating_sub(text.len())));
    text
}

/// One reader's stream.
pub(super) struct Tally {
    state: State,
    /// Set while events are checked; without it they are counted.
    parser: Option<Parser>,
    /// Events of the current pass so far.
    pub(super) events: u64,
    /// The pass, as it stands in the data.
    pass: u32,
    /// The last byte of the body was a line end, so that another one ends an event.
    at_line_end: bool,
}

enum State {
    /// Collecting the head.
    Head(Vec<u8>),
    /// Inside a chunk-size line: the size so far, and whether its digits are over.
    Size { size: u64, over: bool },
    /// So many bytes of a chunk are to come.
    Data(u64),
    /// So many bytes of the line end after a chunk are to come.
    End(u8),
    /// A body without chunks, up to the end of the connection.
    Plain,
}

impl Tally {
    /// A reader that checks the events of pass 1.
    pub(super) fn new() -> Self {
        Self {
            state: State::Head(Vec::new()),
            parser: Some(Parser::new()),
            events: 0,
            pass: 1,
            at_line_end: false,
        }
    }

    /// Whether the hub has answered with a stream.
    pub(super) fn is_streaming(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Ends the pass; the next one is counted only.
    pub(super) fn next_pass(&mut self) {
        self.parser = None;
        self.events = 0;
        self.pass += 1;
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Head(head) => {
                    let known = head.len();
                    head.extend_from_slice(bytes);
                    let Some(end) = memchr::memmem::find(head, b"\r\n\r\n").map(|end| end + 4) else {
                        return if head.len() > MAX_HEAD_BYTES {
                            Err("the answer's head is too long".to_owned())
                        } else {
                            Ok(())
                        };
                    };
                    let chunked = check_head(&head[..end])?;
                    bytes = &bytes[end - known..];
                    self.state = if chunked { State::Size { size: 0, over: false } } else { State::Plain };
                }
                State::Size { size, over } => {
                    bytes = rest;
                    match char::from(first).to_digit(16) {
                        _ if first == b'\n' && *size == 0 => {
                            return Err("the hub ended the stream".to_owned());
                        }
                        _ if first == b'\n' => self.state = State::Data(*size),
                        Some(digit) if !*over => match size.checked_mul(16) {
                            Some(sixteen) => *size = sixteen + u64::from(digit),
                            None => return Err("a chunk is too large".to_owned()),
                        },
                        _ => *over = true,
                    }
                }
                State::Data(left) => {
                    let most = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (now, later) = bytes.split_at(most);
                    *left -= now.len() as u64;
                    if *left == 0 {
                        self.state = State::End(2);
                    }
                    bytes = later;
                    self.body(now)?;
                }
                State::End(left) => {
                    bytes = rest;
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::Size { size: 0, over: false };
                    }
                }
                State::Plain => {
                    self.body(bytes)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(parser) = &mut self.parser else {
            // An event ends with an empty line, and nothing else does.
            let mut previous = if self.at_line_end { Some(usize::MAX) } else { None };
            for end in memchr::memchr_iter(b'\n', bytes) {
                if previous.is_some_and(|previous| previous.wrapping_add(1) == end) {
                    self.events += 1;
                    previous = None;
                } else {
                    previous = Some(end);
                }
            }
            self.at_line_end = previous.is_some_and(|previous| previous.wrapping_add(1) == bytes.len());
            return Ok(());
        };
        for item in parser.feed(bytes) {
            let Item::Event(event) = item else { continue };
            if event.event == "fanfare.gap" {
                return Err(format!("a reader was told of a gap: {}", event.data));
            }
            let expected = format!("{}:{}:", self.pass, self.events);
            if !event.data.starts_with(&expected) {
                let got: String = event.data.chars().take(24).collect();
                return Err(format!("a reader got {got:?} where {expected:?} was due"));
            }
            self.events += 1;
        }
        Ok(())
    }
}

/// Whether the body is chunked; an error unless it is an event stream.
fn check_head(head: &[u8]) -> Result<bool, String> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.lines().next().unwrap_or("");
    if !status.starts_with("http/1.1 200") || !head.contains("\r\ncontent-type: text/event-stream") {
        return Err(format!("the hub did not answer with a stream: {}", status.escape_debug()));
    }
    Ok(head.contains("\r\ntransfer-encoding: chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn stream(pass: u32, events: u32) -> String {
        let event = |n| format!(": note\nid: e-{n}\ndata: {}\n\n", data(pass, n, 30));
        let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
        // Two events in one chunk, then one event in two.
        let all: String = (0..events).map(event).collect();
        let (first, second) = all.split_at(all.len() / 3);
        chunk(first.to_owned()) + &chunk(second.to_owned())
    }

    #[test]
    fn both_passes_count_the_same_however_the_bytes_are_cut() {
        let bytes = format!("{HEAD}3\r\n:\n\n\r\n").replace("3\r\n:\n\n", "2\r\n:\n") + &stream(1, 5);
        for cut in 1..bytes.len() {
            let mut tally = Tally::new();
            for part in bytes.as_bytes().chunks(cut) {
                tally.take(part).expect("a sound stream");
            }
            assert_eq!((tally.events, tally.is_streaming()), (5, true), "cut {cut}");
            tally.next_pass();
            for part in stream(2, 4).as_bytes().chunks(cut) {
                tally.take(part).expect("a sound stream");
            }
            assert_eq!(tally.events, 4, "cut {cut}");
        }
    }

    #[test]
    fn holes_repeats_and_ends_are_found() {
        let after_head = |text: &str| {
            let mut tally = Tally::new();
            tally
                .take(HEAD.as_bytes())
                .and_then(|()| tally.take(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()))
        };
        assert!(after_head("data: 1:0:x\n\ndata: 1:2:x\n\n").is_err());
        assert!(after_head("data: 1:0:x\n\ndata: 1:0:x\n\n").is_err());
        assert!(after_head("event: fanfare.gap\ndata: {}\n\n").is_err());
        assert!(after_head("data: 1:0:x\n\n").is_ok());
        let mut tally = Tally::new();
        assert!(tally.take(format!("{HEAD}0\r\n\r\n").as_bytes()).is_err());
        assert!(Tally::new().take(b"HTTP/1.1 503 X\r\n\r\n").is_err());
    }
}
