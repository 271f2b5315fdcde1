//! One reader's view of its bytes: where the head ends, where events end, and which events they are.

use anyhow::{Context, Result, bail};
use memchr::memmem;

use crate::server::DIGITS;

/// How the data of an event starts. A space may follow (WHATWG HTML 9.2.6), then its number.
const DATA: &[u8] = b"data:";
/// What is kept of the last bytes, enough for an id line.
const RECENT: usize = 512;

/// What has been seen of one stream.
pub(crate) struct Stream {
    /// The head of the answer has ended.
    pub(crate) streaming: bool,
    /// The last byte was LF, so that an event end may stand across two reads.
    after_line_end: bool,
    /// The block that has not ended yet has data: it will be an event, and no comment alone.
    has_data: bool,
    /// The last bytes of that block, as long as it has none.
    block: Vec<u8>,
    /// The number that the next event has to have.
    next: u64,
    /// The end of what was looked at, in case an event's number stands across two reads.
    tail: Vec<u8>,
    /// The last bytes, for [`Stream::last_id`]; kept by readers that are asked to.
    recent: Option<Vec<u8>>,
}

impl Stream {
    /// A stream with a head to come, whose first event has the number `next`.
    pub(crate) fn new(next: u64, keeps_recent: bool) -> Self {
        let recent = keeps_recent.then(Vec::new);
        Self {
            streaming: false,
            after_line_end: false,
            has_data: false,
            block: Vec::new(),
            next,
            tail: Vec::new(),
            recent,
        }
    }

    /// Takes bytes; returns how many events end in them. With `exact`, every event has to have its number.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], exact: bool) -> Result<u64> {
        if !self.streaming {
            // A head is small and sent at once by every server here.
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(0) };
            if !bytes.starts_with(b"HTTP/1.1 200") {
                bail!("not subscribed: {}", String::from_utf8_lossy(&bytes[..end]));
            }
            self.streaming = true;
            bytes = &bytes[end + 4..];
        }
        if exact {
            self.check(bytes)?;
        }
        if let Some(recent) = &mut self.recent {
            recent.extend_from_slice(&bytes[bytes.len().saturating_sub(RECENT)..]);
            recent.drain(..recent.len().saturating_sub(RECENT));
        }
        let mut ends = 0;
        let mut rest = bytes;
        if self.after_line_end && rest.first() == Some(&b'\n') {
            ends += self.end_block();
            // Not half of another end.
            rest = &rest[1..];
        }
        let mut start = 0;
        for end in memmem::find_iter(rest, b"\n\n") {
            self.look_for_data(&rest[start..end]);
            ends += self.end_block();
            start = end + 2;
        }
        self.look_for_data(&rest[start..]);
        if !bytes.is_empty() {
            self.after_line_end = rest.len() > start && rest.ends_with(b"\n");
        }
        Ok(ends)
    }

    /// Takes a part of a block.
    fn look_for_data(&mut self, part: &[u8]) {
        if self.has_data {
            return;
        }
        self.block.extend_from_slice(&part[..part.len().min(DATA.len() - 1)]);
        self.has_data = memmem::find(part, DATA).is_some() || memmem::find(&self.block, DATA).is_some();
        // What the start of the next part may complete.
        self.block.extend_from_slice(&part[part.len().min(DATA.len() - 1)..]);
        self.block.drain(..self.block.len().saturating_sub(DATA.len() - 1));
    }

    /// A blank line came; 1 if it ended an event, 0 if it ended a comment.
    fn end_block(&mut self) -> u64 {
        self.block.clear();
        u64::from(std::mem::take(&mut self.has_data))
    }

    /// Numbers in these bytes have to go on where the last ones ended.
    fn check(&mut self, bytes: &[u8]) -> Result<()> {
        self.tail.extend_from_slice(bytes);
        let mut done = 0;
        for at in memmem::find_iter(&self.tail, DATA) {
            let start = at + DATA.len();
            let start = if self.tail.get(start) == Some(&b' ') { start + 1 } else { start };
            let Some(digits) = self.tail.get(start..start + DIGITS) else { break };
            let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
            let number = number.with_context(|| format!("data without a number: {digits:?}"))?;
            if number != self.next {
                bail!("event {number} came, event {} was next", self.next);
            }
            self.next += 1;
            done = start + DIGITS;
        }
        let keep = DATA.len() + 1 + DIGITS;
        self.tail.drain(..done.max(self.tail.len().saturating_sub(keep)));
        Ok(())
    }

    /// The id of the last event.
    pub(crate) fn last_id(&self) -> Result<String> {
        let recent = self.recent.as_deref().context("this reader keeps no ids")?;
        let start = memmem::rfind(recent, b"id: ").context("an event without id")? + 4;
        let length = memchr::memchr(b'\n', &recent[start..]).context("an id without end")?;
        Ok(std::str::from_utf8(&recent[start..start + length])?.trim_end().to_owned())
    }

    /// The number that the next event has to have, where numbers are checked.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nx: y\r\n\r\n";

    fn whole(events: u64) -> String {
        let event = |n| {
            // With and without the space that servers may leave out.
            let space = if n % 2 == 0 { " " } else { "" };
            let text = format!("data:{space}{n:010}xx\nid: e-{n}\n\n");
            format!("{:x}\r\n{text}\r\n", text.len())
        };
        format!("{HEAD}2\r\n:\n\r\n: hi\n\n{}", (0..events).map(event).collect::<String>())
    }

    #[test]
    fn events_are_counted_wherever_the_bytes_are_cut() {
        let text = whole(3);
        for first in HEAD.len()..text.len() {
            let mut stream = Stream::new(0, true);
            let (one, two) = text.as_bytes().split_at(first);
            let ends = stream.feed(one, true).unwrap() + stream.feed(two, true).unwrap();
            assert_eq!((ends, stream.next()), (3, 3), "cut at {first}");
            assert_eq!(stream.last_id().unwrap(), "e-2");
        }
    }

    #[test]
    fn byte_by_byte_too() {
        let text = whole(3);
        let mut stream = Stream::new(0, false);
        let mut ends = stream.feed(HEAD.as_bytes(), true).unwrap();
        for byte in &text.as_bytes()[HEAD.len()..] {
            ends += stream.feed(std::slice::from_ref(byte), true).unwrap();
        }
        assert_eq!((ends, stream.next()), (3, 3));
    }

    #[test]
    fn what_is_missing_double_or_refused_is_seen() {
        let text = whole(3);
        assert!(Stream::new(1, false).feed(text.as_bytes(), true).is_err(), "0 came, 1 was next");
        let mut twice = Stream::new(0, false);
        twice.feed(text.as_bytes(), true).unwrap();
        assert!(twice.feed(&text.as_bytes()[HEAD.len()..], true).is_err(), "0 came again");
        assert!(Stream::new(0, false).feed(b"HTTP/1.1 503 No\r\n\r\n", false).is_err());
    }
}
