//! Subscribers and a publisher, spending as little as they can.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// A run that makes no progress for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are opened and not yet answered at a time, below every server's accept backlog.
const OPENING: usize = 100;

/// Subscribers of one topic, read by the calling thread.
pub(crate) struct Subscribers {
    poll: Poll,
    events: Events,
    readers: Vec<Reader>,
    buffer: Box<[u8]>,
    /// Event ends seen, over all readers.
    pub(crate) delivered: u64,
}

struct Reader {
    socket: TcpStream,
    delivered: u64,
    /// The head of the response has ended.
    streaming: bool,
    /// The last bytes read were LF, so that an event end may stand across two reads.
    after_line_end: bool,
}

impl Subscribers {
    /// Opens `count` streams and waits until each is answered.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut all = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            readers: Vec::with_capacity(count),
            buffer: vec![0; 256 << 10].into(),
            delivered: 0,
        };
        while all.readers.len() < count {
            for _ in 0..OPENING.min(count - all.readers.len()) {
                all.connect(address)?;
            }
            all.read_until(|all| all.readers.iter().all(|reader| reader.streaming))?;
        }
        Ok(all)
    }

    fn connect(&mut self, address: SocketAddr) -> Result<()> {
        let mut socket = std::net::TcpStream::connect(address).context("cannot connect")?;
        let request =
            format!("GET /events/bench HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
        socket.write_all(request.as_bytes())?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(self.readers.len()), Interest::READABLE)?;
        self.readers.push(Reader { socket, delivered: 0, streaming: false, after_line_end: false });
        Ok(())
    }

    /// Reads until `done`.
    pub(crate) fn read_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<()> {
        let mut progress = Instant::now();
        while !done(self) {
            if self.read_once(Duration::from_millis(100))? {
                progress = Instant::now();
            } else if progress.elapsed() > PATIENCE {
                let least = self.readers.iter().map(|reader| reader.delivered).min().unwrap_or_default();
                bail!(
                    "nothing came for {PATIENCE:?}; {} deliveries so far, the least {least}",
                    self.delivered
                );
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` and reads what is there; false if nothing was.
    pub(crate) fn read_once(&mut self, timeout: Duration) -> Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &self.events {
            let reader = &mut self.readers[event.token().0];
            self.delivered += reader.read(&mut self.buffer).context("a stream broke")?;
        }
        Ok(!self.events.is_empty())
    }

    /// Fails unless every reader has got exactly `events`.
    pub(crate) fn check(&self, events: u64) -> Result<()> {
        let wrong = self.readers.iter().filter(|reader| reader.delivered != events).count();
        if wrong > 0 {
            bail!("{wrong} of {} subscribers did not get exactly {events} events", self.readers.len());
        }
        Ok(())
    }
}

impl Reader {
    /// Reads all there is and counts event ends (blank lines).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        let mut ends = 0;
        loop {
            let n = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut bytes = &buffer[..n];
            if !self.streaming {
                // A head is small and sent at once by every server here.
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { continue };
                self.streaming = true;
                bytes = &bytes[end + 4..];
            }
            if self.after_line_end && bytes.first() == Some(&b'\n') {
                ends += 1;
            }
            ends += memmem::find_iter(bytes, b"\n\n").count() as u64;
            self.after_line_end = bytes.last().map_or(self.after_line_end, |last| *last == b'\n');
        }
        self.delivered += ends;
        Ok(ends)
    }
}

/// A publisher on one kept-alive connection.
pub(crate) struct Publisher {
    socket: std::net::TcpStream,
    address: SocketAddr,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, address })
    }

    /// Publishes a body: as [`Server::line`](crate::server::Server::line) writes its events.
    pub(crate) fn publish(&mut self, body: &str) -> Result<()> {
        let head = format!(
            "POST /events/bench HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.socket.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> Result<()> {
        let mut answer = Vec::new();
        let mut buffer = [0; 64 << 10];
        loop {
            let n = self.socket.read(&mut buffer).context("no answer to a publish")?;
            if n == 0 {
                bail!("the server closed while it answered a publish");
            }
            answer.extend_from_slice(&buffer[..n]);
            let Some(end) = memmem::find(&answer, b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            if !head.starts_with("http/1.1 2") {
                bail!("publish was refused: {}", String::from_utf8_lossy(&answer));
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|length| length.trim().parse::<usize>().ok())
                .context("an answer without Content-Length")?;
            if answer.len() >= end + 4 + length {
                return Ok(());
            }
        }
    }
}
