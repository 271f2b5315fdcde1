//! All readers in one thread: one poll, one buffer, as little work per byte as it takes to be sure.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::tally::Tally;
use crate::http::target::Query;
use crate::http::{Target, USER_AGENT};

/// Connections that are being opened at the same time; more would overflow the hub's backlog.
const OPENING: usize = 100;

/// A watchdog: so long without a single byte means that something is wrong.
const SILENCE: Duration = Duration::from_secs(30);

/// What to read.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) topic: String,
    /// Readers.
    pub(super) count: usize,
    /// Events in each pass.
    pub(super) events: u64,
}

/// What the readers report.
pub(super) enum Progress {
    /// Every reader has its stream.
    Connected,
    /// Every reader has every event of the pass.
    Delivered {
        /// When the last of them had the last one.
        at: Instant,
        /// Bytes read since the report before.
        bytes: u64,
    },
    /// It cannot go on.
    Failed(String),
}

/// The readers.
pub(super) struct Readers<'a> {
    plan: &'a Plan,
    poll: Poll,
    readers: Vec<Reader>,
    address: SocketAddr,
    request: Vec<u8>,
    buffer: Vec<u8>,
    bytes: u64,
}

struct Reader {
    stream: TcpStream,
    tally: Tally,
    /// Bytes of the request that are sent; the whole before anything is read.
    sent: usize,
}

impl<'a> Readers<'a> {
    /// Connects, then reads two passes, reporting each step.
    pub(super) fn run(plan: &'a Plan, report: &Sender<Progress>) {
        let done = Self::open(plan)
            .map_err(|error| format!("cannot reach {}: {error}", plan.target))
            .and_then(|mut all| {
                all.connect().map_err(|reason| format!("cannot read from {}: {reason}", plan.target))?;
                let send = |progress| report.send(progress).map_err(|_| "nobody waits any more".to_owned());
                send(Progress::Connected)?;
                for _ in 0..2 {
                    all.bytes = 0;
                    all.until(|tally| tally.events >= plan.events)?;
                    let at = Instant::now();
                    if let Some(reader) = all.readers.iter().find(|reader| reader.tally.events != plan.events)
                    {
                        return Err(format!(
                            "a reader got {} events where {} were published",
                            reader.tally.events, plan.events
                        ));
                    }
                    all.readers.iter_mut().for_each(|reader| reader.tally.next_pass());
                    send(Progress::Delivered { at, bytes: all.bytes })?;
                }
                Ok(())
            });
        if let Err(reason) = done {
            // When nobody waits any more, nobody needs to know.
            let _ = report.send(Progress::Failed(reason));
        }
    }

    fn open(plan: &'a Plan) -> io::Result<Self> {
        let mut addresses = (plan.target.host.as_str(), plan.target.port).to_socket_addrs()?;
        let address = addresses.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: text/event-stream\r\n\r\n",
            plan.target.topic(&plan.topic, &Query::default()),
            plan.target.authority
        );
        let (request, buffer) = (request.into_bytes(), vec![0; 256 * 1024]);
        Ok(Self { plan, poll: Poll::new()?, readers: Vec::new(), address, request, buffer, bytes: 0 })
    }

    /// Opens every connection and waits until each has its stream.
    fn connect(&mut self) -> Result<(), String> {
        while self.readers.len() < self.plan.count {
            let opening = OPENING.min(self.plan.count - self.readers.len());
            for _ in 0..opening {
                self.add()
                    .map_err(|error| format!("cannot open connection {}: {error}", self.readers.len() + 1))?;
            }
            self.until(Tally::is_streaming)?;
        }
        Ok(())
    }

    fn add(&mut self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let token = Token(self.readers.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.readers.push(Reader { stream, tally: Tally::new(), sent: 0 });
        Ok(())
    }

    /// Reads until `enough` holds for every reader.
    fn until(&mut self, enough: impl Fn(&Tally) -> bool) -> Result<(), String> {
        let mut missing = self.readers.iter().filter(|reader| !enough(&reader.tally)).count();
        let mut events = Events::with_capacity(1024);
        while missing > 0 {
            match self.poll.poll(&mut events, Some(SILENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("cannot wait for events: {error}")),
                Ok(()) if events.is_empty() => {
                    return Err(format!(
                        "{missing} of {} readers have waited {SILENCE:?} in vain",
                        self.readers.len()
                    ));
                }
                Ok(()) => {}
            }
            for event in &events {
                let Some(reader) = self.readers.get_mut(event.token().0) else { continue };
                let before = enough(&reader.tally);
                reader.write(&self.request).map_err(|error| error.to_string())?;
                self.bytes += reader.read(&mut self.buffer)?;
                if !before && enough(&reader.tally) {
                    missing -= 1;
                }
            }
        }
        Ok(())
    }
}

impl Reader {
    /// Sends what is left of the request.
    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while self.sent < request.len() {
            match self.stream.write(&request[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    // Not connected yet, or not able to: only the second leaves an error behind.
                    return self.stream.take_error()?.map_or(Ok(()), Err);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until there is nothing more at the moment, as mio's edge-triggered events require.
    fn read(&mut self, buffer: &mut [u8]) -> Result<u64, String> {
        let mut bytes = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(format!("the hub closed a connection after {} events", self.tally.events));
                }
                Ok(read) => {
                    bytes += read as u64;
                    self.tally.take(&buffer[..read])?;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => return Ok(bytes),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(format!("connection lost after {} events: {error}", self.tally.events)),
                },
            }
        }
    }
}
