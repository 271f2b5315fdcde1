//! A running hub.

use std::fmt;
use std::time::Duration;

use fanfare_engine::options::OptionError;
use fanfare_engine::{
    Draft, Engine, Epoch, HandlerInfo, PublishError, Published, SubscribeError, SubscribeOptions,
    Subscription, Watcher,
};

use crate::config::HubConfig;
use crate::data::{self, Data, OpenError};
use crate::handlers::{HandlerLoadError, HandlerSource, Handlers};
use crate::http::{self, Clock, Http, StopReport};

/// Engine and server, running. Threads and sockets live until [`Hub::stop`]; dropping a hub stops it without grace.
///
/// Every method may be called from any thread.
pub struct Hub {
    engine: Engine,
    pub(crate) http: Http,
    handlers: Handlers,
    clock: Clock,
    /// Closed last, when nobody publishes any more.
    data: Option<Data>,
}

impl Hub {
    /// Checks the configuration, then opens the sockets and starts serving. When this returns, connections are accepted.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(config: HubConfig) -> Result<Self, StartError> {
        config.validate().map_err(StartError::Config)?;
        let HubConfig { engine: mut engine_config, server, handlers, data, store, own } = config;
        // Where history starts empty, the ids of any earlier run mean nothing: a new epoch says so. A store brings its own.
        engine_config.epoch = Epoch::from_seed(random()?);
        engine_config.hash_seed = random()?;
        let data = data::open(&data, store, http::write_timeout(&server)).map_err(StartError::Data)?;
        let engine = match &data {
            Some(data) => data.engine(engine_config),
            None => Engine::new(engine_config),
        };
        let engine = engine.map_err(|error| {
            StartError::Config(OptionError::new(error.key, "", error.reason, "values that fit together"))
        })?;
        // Before anybody can publish: no event gets past a handler that is still being loaded.
        let clock = Clock::new();
        let handlers = Handlers::start(engine.clone(), handlers, clock).map_err(StartError::Handler)?;
        let http = Http::start(&engine, server, own.console, clock).map_err(StartError::Server)?;
        let hub = Self { engine, http, handlers, clock, data };
        fanfare_engine::failpoint::reach("hub.start");
        tracing::info!(url = hub.url(), "hub started");
        Ok(hub)
    }

    /// Publishes one event. Never waits for a reader; with `history.durability` = `os` or `always` it waits for the disk.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has been published then.
    pub fn publish(&self, draft: Draft<'_>) -> Result<Published, PublishError> {
        self.engine.publish(draft, self.clock.now())
    }

    /// Subscribes in process; the subscription is woken through `watcher`.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing has changed then.
    pub fn subscribe(
        &self,
        watcher: &Watcher,
        options: &SubscribeOptions<'_>,
    ) -> Result<Subscription, SubscribeError> {
        self.engine.subscribe(watcher, options, self.clock.now())
    }

    /// Loads an event handler behind those that are there, for a topic or, with a `*` at the end, for all that begin
    /// so. When this returns, events pass it. Its name is that of the file or the one given, with a number if that is
    /// taken. Compiling may take seconds, in which events go on without it; calls wait for each other.
    ///
    /// # Errors
    /// [`HandlerLoadError`]; nothing has changed then.
    pub fn load_handler(&self, topics: &str, source: HandlerSource<'_>) -> Result<String, HandlerLoadError> {
        self.handlers.load(topics, source, "")
    }

    /// As [`Hub::load_handler`], with settings for this handler alone, as they follow the file in the option `handlers`:
    /// `event=vote;time=5ms;config.words=darn heck`.
    ///
    /// # Errors
    /// [`HandlerLoadError`]; nothing has changed then.
    pub fn load_handler_with(
        &self,
        topics: &str,
        source: HandlerSource<'_>,
        settings: &str,
    ) -> Result<String, HandlerLoadError> {
        self.handlers.load(topics, source, settings)
    }

    /// Unloads a handler. Its state stays where there is a data directory, for the next handler of its name; else it goes with
    /// the handler. False if there is none of that name.
    pub fn unload_handler(&self, name: &str) -> bool {
        self.handlers.unload(name)
    }

    /// The handlers and what they have done, in the order in which events pass them.
    pub fn handlers(&self) -> Vec<HandlerInfo> {
        self.engine.handlers()
    }

    /// The engine, for everything else. Pass it the time of [`Hub::clock`].
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The clock that engine and server share.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Where it listens, for a client on this machine: `http://127.0.0.1:4780`. The first plain address if there is one,
    /// else the first TLS address; an address that stands for all interfaces is given as loopback. Empty in a build without HTTP.
    pub fn url(&self) -> String {
        self.urls().into_iter().next().unwrap_or_default()
    }

    /// Every URL it listens on, plain ones first.
    pub fn urls(&self) -> Vec<String> {
        self.http.urls()
    }

    /// How long the configuration gives [`Hub::stop`]: `timeouts.stop`.
    pub fn stop_timeout(&self) -> Duration {
        self.http.stop_timeout()
    }

    /// Stops: takes no more connections, ends every stream so that its reader resumes elsewhere, spread over `deadline`,
    /// and cuts what is left then. When this returns, its threads and sockets are gone.
    pub fn stop(self, deadline: Duration) -> StopReport {
        tracing::info!(?deadline, "hub stopping");
        fanfare_engine::failpoint::reach("hub.stop");
        let report = self.http.stop(deadline);
        if let Some(data) = &self.data {
            data.close();
        }
        report
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("urls", &self.urls()).finish_non_exhaustive()
    }
}

fn random() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::Random(error.to_string()))
}

/// Why a hub did not start. Nothing is left running.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Options contradict each other.
    Config(OptionError),
    /// History on disk cannot be opened: somebody else has the folder, it cannot be written, or it is damaged.
    Data(OpenError),
    /// A handler does not load.
    Handler(HandlerLoadError),
    /// The system has no random numbers to give, so ids could repeat those of an earlier run.
    Random(String),
    /// A port is taken, a certificate does not load, a thread cannot be started.
    Server(http::StartError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Data(error) => write!(f, "data: {error}"),
            Self::Handler(error) => error.fmt(f),
            Self::Random(reason) => write!(f, "the system has no random numbers to give: {reason}"),
            Self::Server(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their texts are ours.
            Self::Config(error) => error.source(),
            Self::Random(_) => None,
            Self::Data(error) => Some(error),
            Self::Server(error) => error.source(),
            Self::Handler(error) => Some(error),
        }
    }
}
