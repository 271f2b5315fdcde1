//! What the server's tests share: a hub on a free loopback port, requests written byte by byte, answers and streams read strictly.
//!
//! Everything that could wait for ever runs against [`WATCHDOG`], far above what a busy machine takes, so a hang is a failure.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "compiled into several test programs, each of which uses a part"
)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanfare_engine::wire::parse::{Item, ParsedEvent, Parser};
use fanfare_engine::{Config as EngineConfig, Draft, Engine, Epoch};
use fanfare_server::{Clock, Config, Server};

/// Turns a hang into a failure.
pub const WATCHDOG: Duration = Duration::from_secs(10);

/// The epoch of every hub here, so that ids can be written down.
pub const EPOCH: &str = "test";

/// An engine and its server.
pub struct Hub {
    pub engine: Engine,
    pub server: Server,
    pub addr: SocketAddr,
    pub clock: Clock,
}

impl Hub {
    /// With the defaults, on a free port.
    pub fn start() -> Hub {
        Hub::with(|_, _| {})
    }

    /// With a changed configuration. Two lanes whatever the machine has; no heartbeat unless asked for.
    pub fn with(change: impl FnOnce(&mut EngineConfig, &mut Config)) -> Hub {
        let mut engine = EngineConfig::new(Epoch::parse(EPOCH).expect("an epoch"));
        let mut config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            lanes: 2,
            heartbeat: Duration::ZERO,
            ..Config::default()
        };
        change(&mut engine, &mut config);
        let clock = Clock::new();
        let engine = Engine::new(engine).expect("a configuration that works");
        let server = Server::start_at(engine.clone(), config, clock).expect("a server that starts");
        let addr = server.local_addrs()[0];
        Hub { engine, server, addr, clock }
    }

    /// Publishes from inside, past the HTTP side.
    pub fn publish(&self, topic: &str, data: &str) -> String {
        let published = self.engine.publish(Draft::new(topic, data), self.clock.now()).expect("published");
        self.engine.id_of(published.seq).to_string()
    }

    /// Closes a topic from inside.
    pub fn close(&self, topic: &str) {
        self.engine.close_topic(topic, self.clock.now()).expect("closed");
    }

    /// Events committed so far.
    pub fn published(&self) -> u64 {
        self.engine.stats().published
    }

    /// A new connection.
    pub fn connect(&self) -> Conn {
        Conn::to(self.addr)
    }

    /// The answer to raw bytes on a connection of their own.
    pub fn ask(&self, raw: impl AsRef<[u8]>) -> Response {
        let raw = raw.as_ref();
        let mut conn = self.connect();
        conn.send(raw);
        conn.response(raw.starts_with(b"HEAD "))
            .unwrap_or_else(|| panic!("closed without an answer to {}", shown(raw)))
    }

    /// The answer to a request without a body; `headers` are whole lines with CRLF.
    pub fn request(&self, method: &str, target: &str, headers: &str) -> Response {
        self.ask(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
    }

    /// The answer to a POST with a length.
    pub fn post(&self, target: &str, headers: &str, body: impl AsRef<[u8]>) -> Response {
        self.ask(post(target, headers, body))
    }

    /// The number that `/stats` has at a JSON pointer.
    pub fn stat(&self, pointer: &str) -> u64 {
        let stats = self.request("GET", "/stats", "").json();
        stats
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer} in {stats}"))
    }

    /// An open stream; its answer must be 200.
    pub fn stream(&self, target: &str) -> Stream {
        self.stream_with(target, "")
    }

    /// As [`Hub::stream`], with header lines.
    pub fn stream_with(&self, target: &str, headers: &str) -> Stream {
        let mut conn = self.connect();
        conn.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
        conn.into_stream()
    }

    /// A reader of `topic` that knows when anything was published that should not have been.
    pub fn probe(&self, topic: &str) -> Probe<'_> {
        let stream = self.stream(&format!("/events/{topic}"));
        Probe { hub: self, topic: topic.to_owned(), stream, published: self.published() }
    }
}

/// The bytes of a POST with a length.
pub fn post(target: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Shows that nothing changed: the count of events, and what a reader sees.
pub struct Probe<'a> {
    hub: &'a Hub,
    topic: String,
    stream: Stream,
    published: u64,
}

impl Probe<'_> {
    /// Fails if anything was published since the last check.
    pub fn assert_nothing(&mut self, after: &str) {
        assert_eq!(self.hub.published(), self.published, "something was published after {after}");
        // The next event the reader sees is this one, so none was before it.
        self.hub.publish(&self.topic, "marker");
        self.published += 1;
        assert_eq!(self.stream.event().data, "marker", "a reader got something after {after}");
    }
}

/// An answer that is not a stream.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value; fails if it comes twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice in {self:?}");
        value
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `error.code`, or "" if this is no refusal.
    pub fn code(&self) -> String {
        self.error("code").as_str().unwrap_or("").to_owned()
    }

    /// A member of the error.
    pub fn error(&self, member: &str) -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&self.body)
            .map_or(serde_json::Value::Null, |v| v["error"][member].clone())
    }

    /// Whether the server closes the connection after this.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A connection that is read strictly. `T` is a plain socket or TLS on one.
pub struct Conn<T = TcpStream> {
    pub io: T,
    /// Read, not used yet.
    pub buf: Vec<u8>,
}

impl Conn {
    pub fn to(addr: SocketAddr) -> Conn {
        let io = TcpStream::connect_timeout(&addr, WATCHDOG).expect("a connection");
        io.set_read_timeout(Some(WATCHDOG)).expect("a watchdog");
        io.set_write_timeout(Some(WATCHDOG)).expect("a watchdog");
        io.set_nodelay(true).expect("no delay");
        Conn { io, buf: Vec::new() }
    }
}

impl<T: Read + Write> Conn<T> {
    pub fn new(io: T) -> Conn<T> {
        Conn { io, buf: Vec::new() }
    }

    /// Sends everything. A server that has closed already is no failure here: what it answered is what counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.io.write_all(bytes.as_ref()).and_then(|()| self.io.flush()) {
            Err(error) if !is_gone(&error) => panic!("cannot send: {error}"),
            _ => {}
        }
    }

    /// Reads more; false at the end.
    pub fn fill(&mut self) -> bool {
        let mut chunk = [0u8; 16 * 1024];
        match self.io.read(&mut chunk) {
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                n > 0
            }
            Err(error) if is_gone(&error) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => panic!("the watchdog ended a wait: {error}; so far {}", shown(&self.buf)),
        }
    }

    fn need(&mut self, count: usize) {
        while self.buf.len() < count {
            assert!(self.fill(), "the answer ends early: {}", shown(&self.buf));
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.need(count);
        self.buf.drain(..count).collect()
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buf.windows(2).position(|two| two == b"\r\n") {
                let line = self.take(end + 2);
                return String::from_utf8(line[..end].to_vec()).expect("an ASCII line");
            }
            assert!(self.fill(), "the answer ends in a line: {}", shown(&self.buf));
        }
    }

    /// Status line and headers; None if the connection ended instead.
    pub fn head(&mut self) -> Option<Response> {
        if self.buf.is_empty() && !self.fill() {
            return None;
        }
        let line = self.line();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status =
            status.and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Some(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// A whole answer: by length, by chunks, or to the end. None if the connection ended instead.
    pub fn response(&mut self, to_head: bool) -> Option<Response> {
        let mut response = self.head()?;
        if to_head || matches!(response.status, 100..200 | 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            assert_eq!(response.header("content-length"), None, "{response:?}");
            let mut chunks = Dechunk::default();
            while !chunks.ended {
                let bytes = std::mem::take(&mut self.buf);
                response.body.extend(chunks.feed(&bytes));
                assert!(chunks.ended || self.fill(), "the answer ends within its chunks");
            }
            self.buf = chunks.pending;
        } else if let Some(length) = response.header("content-length") {
            response.body = self.take(length.parse().expect("a length"));
        } else {
            response.body = self.rest();
        }
        Some(response)
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buf)
    }

    /// Reads a stream's head, which must be a 200.
    pub fn into_stream(mut self) -> Stream<T> {
        let head = self.head().expect("a stream's head");
        if head.status != 200 {
            panic!("no stream: {head:?} {}", shown(&self.buf));
        }
        assert_eq!(head.header("content-length"), None, "{head:?}");
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Stream {
            head,
            conn: self,
            chunks: chunked.then(Dechunk::default),
            parser: Parser::new(),
            items: VecDeque::new(),
            body: Vec::new(),
        }
    }
}

/// An open event stream.
pub struct Stream<T = TcpStream> {
    pub head: Response,
    pub conn: Conn<T>,
    chunks: Option<Dechunk>,
    parser: Parser,
    items: VecDeque<Item>,
    /// All bytes of the stream so far, without chunk framing.
    pub body: Vec<u8>,
}

impl<T: Read + Write> Stream<T> {
    /// Reads more; false when the stream has ended. Fails on framing that is not valid.
    pub fn more(&mut self) -> bool {
        if self.chunks.as_ref().is_some_and(|chunks| chunks.ended) {
            return false;
        }
        if self.conn.buf.is_empty() && !self.conn.fill() {
            return false;
        }
        let raw = std::mem::take(&mut self.conn.buf);
        let bytes = match &mut self.chunks {
            Some(chunks) => chunks.feed(&raw),
            None => raw,
        };
        self.body.extend_from_slice(&bytes);
        self.items.extend(self.parser.feed(&bytes));
        true
    }

    /// The next item of any kind; None at the end.
    pub fn item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next event; comments and `retry` are passed over. None at the end.
    pub fn next_event(&mut self) -> Option<ParsedEvent> {
        loop {
            if let Item::Event(event) = self.item()? {
                return Some(event);
            }
        }
    }

    /// The next event; fails at the end.
    pub fn event(&mut self) -> ParsedEvent {
        self.next_event().expect("an event, not the end of the stream")
    }

    /// The data of the next `count` events.
    pub fn datas(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.event().data).collect()
    }

    /// Reads to the end: the data of what came, and whether the end was clean (by the last chunk, with nothing behind it).
    pub fn end(mut self) -> (Vec<String>, bool) {
        let datas = std::iter::from_fn(|| self.next_event().map(|event| event.data)).collect();
        let clean = match &self.chunks {
            Some(chunks) => chunks.ended && chunks.pending.is_empty(),
            None => true,
        };
        let behind = self.conn.rest();
        (datas, clean && behind.is_empty())
    }
}

/// Takes chunk framing off, strictly as we write it: lower-case hexadecimal, no extension, no trailer.
#[derive(Default)]
struct Dechunk {
    pending: Vec<u8>,
    ended: bool,
}

impl Dechunk {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        let mut out = Vec::new();
        while !self.ended {
            let Some(line) = self.pending.windows(2).position(|two| two == b"\r\n") else {
                assert!(self.pending.len() < 20, "no chunk size in {}", shown(&self.pending));
                break;
            };
            let text = std::str::from_utf8(&self.pending[..line]).expect("a chunk size");
            assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()), "chunk size {text:?}");
            let size = usize::from_str_radix(text, 16).expect("a chunk size");
            let whole = line + 2 + size + 2;
            if self.pending.len() < whole {
                break;
            }
            assert_eq!(&self.pending[whole - 2..whole], b"\r\n", "a chunk of {size} bytes ends elsewhere");
            out.extend_from_slice(&self.pending[line + 2..whole - 2]);
            self.pending.drain(..whole);
            self.ended = size == 0;
        }
        out
    }
}

/// Whether the other side has closed, gently or not.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted | UnexpectedEof)
}

/// Bytes for a message.
pub fn shown(bytes: &[u8]) -> String {
    let text = bytes[..bytes.len().min(400)].escape_ascii().to_string();
    if bytes.len() > 400 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

/// Waits until `done`, against the watchdog.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + WATCHDOG;
    while !done() {
        assert!(Instant::now() < end, "not within the watchdog: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
