//! A strict client: checks every chunk header and hands out what the event stream parser makes of the body.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fanfare_engine::wire::parse::{Item, ParsedEvent, Parser};

use crate::handoff::Framing;

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the last chunk, or by closing where there are no chunks.
    Whole,
    /// In the middle of something.
    Cut,
}

pub(crate) struct Reader {
    socket: TcpStream,
    framing: Framing,
    /// Bytes that came and are not a whole chunk yet.
    raw: Vec<u8>,
    parser: Parser,
    items: VecDeque<Item>,
    end: Option<End>,
}

impl Reader {
    pub(crate) fn new(socket: TcpStream, framing: Framing) -> Reader {
        let parser = Parser::with_max_event_bytes(16 << 20);
        Reader { socket, framing, raw: Vec::new(), parser, items: VecDeque::new(), end: None }
    }

    /// Reads until something whole came or the stream ended. False at the end.
    fn more(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        let mut buffer = [0; 64 << 10];
        let n = match self.socket.read(&mut buffer) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing came in time")
            }
            Err(_) => 0,
        };
        if n == 0 {
            self.end = Some(if self.framing == Framing::Plain { End::Whole } else { End::Cut });
            return false;
        }
        self.raw.extend_from_slice(&buffer[..n]);
        self.take_chunks();
        true
    }

    fn take_chunks(&mut self) {
        let mut at = 0;
        if self.framing == Framing::Plain {
            self.items.extend(self.parser.feed(&self.raw));
            at = self.raw.len();
        }
        while let Some(line) = self.raw[at..].windows(2).position(|two| two == b"\r\n") {
            let digits = std::str::from_utf8(&self.raw[at..at + line]).expect("a chunk header is ASCII");
            let size =
                usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("not a chunk size: {digits:?}"));
            let (start, end) = (at + line + 2, at + line + 2 + size);
            let Some(tail) = self.raw.get(end..end + 2) else { break };
            assert_eq!(tail, b"\r\n", "a chunk ends with CR LF");
            self.items.extend(self.parser.feed(&self.raw[start..end]));
            at = end + 2;
            if size == 0 {
                assert_eq!(at, self.raw.len(), "nothing follows the last chunk");
                self.end = Some(End::Whole);
                break;
            }
        }
        self.raw.drain(..at);
    }

    pub(crate) fn item(&mut self) -> Option<Item> {
        while self.items.is_empty() && self.more() {}
        self.items.pop_front()
    }

    /// The next event; comments and the rest are passed over. `None` at the end of the stream.
    pub(crate) fn event(&mut self) -> Option<ParsedEvent> {
        loop {
            if let Item::Event(event) = self.item()? {
                return Some(event);
            }
        }
    }

    /// The data of the next event.
    #[track_caller]
    pub(crate) fn data(&mut self) -> String {
        self.event().expect("the stream goes on").data
    }

    /// The data of all events up to the end, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<String>, End) {
        let mut all = Vec::new();
        while let Some(event) = self.event() {
            all.push(event.data);
        }
        (all, self.end.expect("the stream has ended"))
    }

    /// Waits for the head, so that the lane has the stream.
    #[track_caller]
    pub(crate) fn opened(mut self) -> Reader {
        assert!(matches!(self.item(), Some(Item::Comment(_))), "a stream opens with a comment");
        self
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// The socket alone; what was read ahead is dropped.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// The next bytes as they came, unparsed; for streams of which nothing was read as items.
    pub(crate) fn raw(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.socket.read_exact(&mut bytes).expect("the bytes come");
        bytes
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        let patience = self.socket.read_timeout().expect("readable");
        self.socket.set_read_timeout(Some(time)).expect("settable");
        let mut byte = [0];
        let silent = self.items.is_empty() && self.socket.peek(&mut byte).is_err();
        self.socket.set_read_timeout(patience).expect("settable");
        silent
    }
}
