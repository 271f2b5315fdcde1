//! Readers of plain HTTP/1.1: one thread, one poll.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::{RecvFlags, recv};

use super::connect;
use super::stream::Stream;
use super::tally::{Look, Tally};

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// At most so many bytes at a time are a heartbeat of most servers; an event has more.
const SIGN_OF_LIFE: u64 = 16;

/// All readers.
pub(super) struct Plain {
    poll: Poll,
    events: Events,
    readers: Vec<Reader>,
    buffer: Box<[u8]>,
}

struct Reader {
    socket: TcpStream,
    stream: Stream,
    /// Bytes since the measurement began.
    bytes: u64,
}

impl Plain {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            readers: Vec::new(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Starts one more stream, whose first event has the number `next`.
    pub(super) fn add(
        &mut self,
        address: SocketAddr,
        number: usize,
        next: u64,
        topic: Option<usize>,
        after: Option<&str>,
    ) -> Result<()> {
        let mut socket = connect::connect(address, number, None)?;
        connect::subscribe(&mut socket, address, topic, after)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
        // The first is the one whose bytes are always looked at.
        self.readers.push(Reader { socket, stream: Stream::new(next, number == 0), bytes: 0 });
        Ok(())
    }

    pub(super) fn are_streaming(&self) -> bool {
        // Opened in order and waited for in batches: the old ones are.
        self.readers.iter().rev().take(super::OPENING).all(|reader| reader.stream.streaming)
    }

    pub(super) fn begin(&mut self) {
        self.readers.iter_mut().for_each(|reader| reader.bytes = 0);
    }

    /// Waits up to `timeout` and reads what is there; false if nothing was, or signs of life alone.
    pub(super) fn read_once(&mut self, timeout: Duration, tally: &mut Tally) -> Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut progress = false;
        for event in &self.events {
            let number = event.token().0;
            let reader = &mut self.readers[number];
            let before = reader.bytes;
            if tally.look == Look::Bytes && number != 0 {
                reader.count(&mut self.buffer).context("a stream broke")?;
            } else {
                let exact = tally.look == Look::Exact;
                let ends = reader.read(&mut self.buffer, exact).context("a stream broke")?;
                tally.add(number, ends);
            }
            progress |= reader.bytes - before > SIGN_OF_LIFE;
        }
        Ok(progress)
    }

    /// Whether all have got as many bytes as the first.
    pub(super) fn are_level(&self) -> bool {
        let want = self.readers[0].bytes;
        self.readers.iter().all(|reader| reader.bytes >= want)
    }

    /// Fails unless all have got exactly the bytes that the first has got.
    pub(super) fn check_level(&self) -> Result<()> {
        let want = self.readers[0].bytes;
        let wrong = self.readers.iter().filter(|reader| reader.bytes != want).count();
        if wrong > 0 {
            bail!(
                "{wrong} of {} subscribers did not get exactly the {want} bytes of the first",
                self.readers.len()
            );
        }
        Ok(())
    }

    pub(super) fn first(&self) -> Result<&Stream> {
        Ok(&self.readers.first().context("no readers")?.stream)
    }
}

impl Reader {
    /// Reads all there is and counts event ends.
    fn read(&mut self, buffer: &mut [u8], exact: bool) -> Result<u64> {
        let mut ends = 0;
        while let Some(n) = received(|| self.socket.read(buffer))? {
            self.bytes += n as u64;
            ends += self.stream.feed(&buffer[..n], exact)?;
        }
        Ok(ends)
    }

    /// Lets the kernel count and drop what there is (`MSG_TRUNC` of a stream socket).
    fn count(&mut self, buffer: &mut [u8]) -> Result<()> {
        while let Some(n) = received(|| Ok(recv(&self.socket, &mut *buffer, RecvFlags::TRUNC)?.1))? {
            self.bytes += n as u64;
            if n < buffer.len() {
                // All there was; what comes now is reported anew.
                break;
            }
        }
        Ok(())
    }
}

/// Bytes received; `None` if there are none now.
fn received(mut receive: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        return match receive() {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
