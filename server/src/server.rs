//! Starting and stopping: sockets, runtime, lanes, the engine's timer.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare_engine::options::OptionError;
use fanfare_engine::{Code, Engine, InvalidField};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::accept::{self, REFUSAL_RESERVE};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::embed::{self, Adopted, EmbedError, Head, HostStream, Reader};
use crate::lane::Lanes;
use crate::shared::Shared;
use crate::tls::Acceptor;

/// How often the engine's retention is looked after while it has nothing due.
const TICK: Duration = Duration::from_secs(1);

/// The least time that the runtime gets to end its tasks, beyond a stop's deadline.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// A running server. Dropping it stops it at once.
///
/// It owns its threads: a runtime (`fanfare-http`) that parses requests, and lanes (`fanfare-lane`) that write streams. It
/// touches no signal and no global state.
///
/// ```
/// use std::time::Duration;
/// use fanfare_engine::{Config as EngineConfig, Engine, Epoch};
/// use fanfare_server::{Config, Server};
///
/// let engine = Engine::new(EngineConfig::new(Epoch::from_seed(7)))?;
/// let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
/// let server = Server::start(engine, config)?;
/// println!("curl -N http://{}/events/chat", server.local_addrs()[0]);
/// server.stop(Duration::from_secs(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    app: Arc<App>,
    runtime: Mutex<Option<Runtime>>,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
}

/// What a stop met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Streams that were open when it began.
    pub streams: u64,
    /// Connections that were still open at the deadline and were cut.
    pub cut: u64,
}

/// Why a server did not start. Nothing is left running.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Options that do not fit together.
    Config(OptionError),
    /// An address cannot be listened on: taken, not ours, not allowed.
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Certificate or key cannot be used; the text names the file.
    Tls(String),
    /// The system gives no threads or descriptors.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::Bind { address, error } => write!(f, "cannot listen on {address}: {error}"),
            StartError::Tls(text) => f.write_str(text),
            StartError::System(error) => write!(f, "cannot start threads: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Config(error) => Some(error),
            StartError::Bind { error, .. } | StartError::System(error) => Some(error),
            StartError::Tls(_) => None,
        }
    }
}

impl Server {
    /// Opens the sockets and serves the engine on them, with a clock that starts now. When this returns, connections are
    /// accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(engine: Engine, config: Config) -> Result<Server, StartError> {
        Server::start_at(engine, config, Clock::new())
    }

    /// Like [`Server::start`], on the clock with which the caller publishes into the same engine.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start_at(engine: Engine, config: Config, clock: Clock) -> Result<Server, StartError> {
        config.validate().map_err(StartError::Config)?;
        let acceptor = match (&config.tls_cert, &config.tls_key) {
            (Some(cert), Some(key)) => {
                Some(Acceptor::load(cert, key).map_err(|error| StartError::Tls(error.to_string()))?)
            }
            _ => None,
        };
        let open = |addresses: &[SocketAddr]| -> Result<Vec<StdListener>, StartError> {
            let open = |&address| {
                accept::bind(address, config.write_timeout)
                    .map_err(|error| StartError::Bind { address, error })
            };
            addresses.iter().map(open).collect()
        };
        let (plain, secure) = (open(&config.listen)?, open(&config.tls_listen)?);
        let addresses = |listeners: &[StdListener]| {
            listeners.iter().map(StdListener::local_addr).collect::<io::Result<Vec<_>>>()
        };
        let (plain_addresses, tls_addresses) =
            (addresses(&plain).map_err(StartError::System)?, addresses(&secure).map_err(StartError::System)?);

        let shared =
            Shared::new(clock, config.max_connections as u64, config.max_connections_per_address as u64);
        let lanes = Lanes::start(&engine, &config, Arc::clone(&shared)).map_err(StartError::System)?;
        let threads = lanes.stats().len().max(1);
        let app = Arc::new(App::new(engine, config, shared, lanes));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("fanfare-http")
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::System)?;
        let listening = {
            // Not block_on: the caller's thread may belong to a runtime of its own.
            let _inside = runtime.enter();
            let reserve = Arc::new(Semaphore::new(REFUSAL_RESERVE));
            let plain = plain.into_iter().map(|listener| (listener, None));
            let secure = secure.into_iter().map(|listener| (listener, acceptor.clone()));
            tokio::spawn(tick(Arc::clone(&app)));
            tokio::spawn(Arc::clone(&app.alarms).run(app.shared.stopping()));
            plain.chain(secure).try_for_each(|(listener, acceptor)| {
                let listener = TcpListener::from_std(listener)?;
                tokio::spawn(accept::run(Arc::clone(&app), listener, acceptor, Arc::clone(&reserve)));
                Ok(())
            })
        };
        let server =
            Server { app, runtime: Mutex::new(Some(runtime)), plain: plain_addresses, tls: tls_addresses };
        // A server that goes out of scope here stops again.
        listening.map_err(StartError::System)?;
        tracing::info!(plain = ?server.plain, tls = ?server.tls, "listening");
        Ok(server)
    }

    /// Addresses for plain HTTP, with the ports really taken, in the order of the option `listen`.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.plain.clone()
    }

    /// Addresses for HTTPS, in the order of the option `tls.listen`.
    pub fn tls_addrs(&self) -> Vec<SocketAddr> {
        self.tls.clone()
    }

    /// Gives a connected, plain HTTP/1 socket of the host's to a lane, which writes the stream and, at its end, closes the
    /// connection, also when the host still holds a duplicate of the socket. The host has read the whole request and has
    /// nothing of its own left to write; it takes the socket out of its poller first and drops its duplicate without
    /// shutting it down. Sockets of TCP and of Unix domains.
    ///
    /// `ended` is called exactly once when the stream is over, on a lane's thread: it must not block, and not stop this server. It is
    /// told why: `TopicClosed`, `Lapped`; none for a stop, a revocation, an age limit, a client that left or took nothing. The host counts these connections: `limits.connections` does not.
    ///
    /// Success does not promise that the peer is still there. Any thread may call; never blocks.
    ///
    /// # Errors
    /// [`EmbedError`]. Nothing has been written and the socket's settings are as they were; `ended` is dropped without
    /// being called. `socket` is closed, so keep a duplicate to answer otherwise.
    pub fn adopt<'a>(
        &self,
        socket: TcpStream,
        reader: impl Into<Reader<'a>>,
        head: &Head<'_>,
        ended: Option<Box<dyn FnOnce(Option<Code>) + Send>>,
    ) -> Result<Adopted, EmbedError> {
        embed::adopt(&self.app, socket, reader.into(), head, ended)
    }

    /// Opens a stream whose bytes the host writes itself, where a socket cannot be handed over: TLS or HTTP/2 in the host, a
    /// framework that shows no socket. The same opening, heartbeats, notices and age limit as on every stream.
    ///
    /// # Errors
    /// [`EmbedError`]; nothing has changed then.
    pub fn open_stream<'a>(&self, reader: impl Into<Reader<'a>>) -> Result<HostStream, EmbedError> {
        embed::open_stream(&self.app, reader.into())
    }

    /// Ends every stream whose client name is `client`, whoever writes it, at the next boundary between events; one whose
    /// peer takes nothing is cut at once, in the middle of an event if need be. Returns when all have been told, not when they have ended.
    /// Streams that are opened later are not met: whoever revokes refuses them.
    ///
    /// # Errors
    /// A name that no client can have.
    pub fn revoke(&self, client: &str) -> Result<(), InvalidField> {
        embed::revoke(&self.app, client)
    }

    /// Stops: takes no more connections, ends every stream so that its reader resumes elsewhere, spread over a part of
    /// `deadline`, and cuts what is left then. When this returns, threads and sockets are gone. Blocks; a second call
    /// returns at once.
    pub fn stop(&self, deadline: Duration) -> StopReport {
        let Some(runtime) = self.runtime.lock().take() else { return StopReport::default() };
        let end = Instant::now() + deadline;
        let shared = &self.app.shared;
        let streams = crate::stats::Snapshot::take(&self.app);
        shared.begin_stop(deadline / 2);
        self.app.lanes.stop(end);
        let cut = shared.counters.cut.get() + shared.connections.wait_empty(end);
        // Nobody is left to wake a host that waits.
        self.app.alarms.close();
        let shut_down = || runtime.shutdown_timeout(SHUTDOWN);
        // A runtime must not be shut down on a thread of a runtime, which an embedder's may be.
        if Handle::try_current().is_ok() {
            std::thread::scope(|scope| {
                scope.spawn(shut_down);
            });
        } else {
            shut_down();
        }
        StopReport { streams: streams.streams(), cut }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("plain", &self.plain).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Drives what the engine does by time: retention by age, freeing idle topics.
async fn tick(app: Arc<App>) {
    let stopping = app.shared.stopping();
    tokio::pin!(stopping);
    loop {
        let due = app.engine.poll_timeout().map(|at| Duration::from_millis(at.0.saturating_sub(app.now().0)));
        tokio::select! {
            _ = &mut stopping => return,
            () = tokio::time::sleep(due.unwrap_or(TICK).clamp(Duration::from_millis(10), TICK)) => {}
        }
        app.engine.handle_timeout(app.now());
    }
}
