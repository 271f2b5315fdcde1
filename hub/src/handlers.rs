//! The event handlers of a hub: loading, unloading, and following their files.
//!
//! Without the feature `wasm` everything here is there and refuses to load: a configuration that names handlers does
//! not silently go without them.

use std::fmt;
use std::path::Path;

use fanfare_engine::{Code, Engine};
use fanfare_wasi_host::{Config, Entry};

use crate::http::Clock;

/// Whether this build runs handlers: it has the feature `wasm`.
pub const HANDLERS: bool = cfg!(feature = "wasm");

/// Where a handler comes from.
#[derive(Clone, Copy, Debug)]
pub enum HandlerSource<'a> {
    /// A file; with `handler.reload` its changes are taken into use.
    File(&'a Path),
    /// The bytes of one, under a name of the caller's.
    Bytes {
        /// What statistics and the log call it.
        name: &'a str,
        /// A component or core module of WebAssembly.
        bytes: &'a [u8],
    },
}

/// A handler that was not loaded. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerLoadError {
    /// The file, or the name it was given.
    pub handler: String,
    /// What is wrong with it.
    pub reason: String,
}

impl HandlerLoadError {
    /// The frozen code of this refusal.
    #[must_use]
    pub fn code(&self) -> Code {
        // The one reason there is in a build without handlers.
        if HANDLERS { Code::InvalidConfig } else { Code::Unsupported }
    }
}

impl fmt::Display for HandlerLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load the handler {}: {}", self.handler, self.reason)
    }
}

impl std::error::Error for HandlerLoadError {}

impl HandlerSource<'_> {
    fn error(&self, reason: impl fmt::Display) -> HandlerLoadError {
        let handler = match self {
            Self::File(file) => file.display().to_string(),
            Self::Bytes { name, .. } => (*name).to_owned(),
        };
        HandlerLoadError { handler, reason: reason.to_string() }
    }
}

/// The handlers of one hub. Dropping it unloads them.
pub(crate) struct Handlers {
    engine: Engine,
    config: Config,
    #[cfg_attr(not(feature = "wasm"), expect(dead_code, reason = "handlers tick by it"))]
    clock: Clock,
    /// Where they keep what they have, in a hub with history on disk.
    #[cfg(feature = "wasm")]
    states: Option<fanfare_wasi_host::States>,
    #[cfg(feature = "wasm")]
    wasm: parking_lot::Mutex<wasm::Parts>,
}

impl Handlers {
    /// Loads what the configuration names.
    pub(crate) fn start(engine: Engine, config: Config, clock: Clock) -> Result<Self, HandlerLoadError> {
        let handlers = Self {
            #[cfg(feature = "wasm")]
            states: engine.journal().map(|journal| fanfare_wasi_host::States::new(journal.clone())),
            engine,
            config,
            clock,
            #[cfg(feature = "wasm")]
            wasm: parking_lot::Mutex::default(),
        };
        let entries = handlers
            .config
            .entries()
            .map_err(|error| HandlerLoadError { handler: error.value.clone(), reason: error.to_string() })?;
        handlers.load_all(&entries)?;
        Ok(handlers)
    }

    #[cfg(not(feature = "wasm"))]
    pub(crate) fn load(
        &self,
        _: &str,
        source: HandlerSource<'_>,
        _: &str,
    ) -> Result<String, HandlerLoadError> {
        Err(source.error("this build runs no handlers; they come with the feature wasm-jit, or wasm"))
    }

    #[cfg(not(feature = "wasm"))]
    fn load_all(&self, entries: &[Entry]) -> Result<(), HandlerLoadError> {
        let Some(entry) = entries.first() else { return Ok(()) };
        self.load(&entry.topics, HandlerSource::File(&entry.file), &entry.settings).map(drop)
    }

    #[cfg(not(feature = "wasm"))]
    pub(crate) fn unload(&self, name: &str) -> bool {
        self.engine.remove_handler(name)
    }
}

#[cfg(feature = "wasm")]
mod wasm {
    use std::collections::BTreeSet;
    use std::num::NonZero;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use fanfare_engine::{Handler, HandlerSpec, OnFault, TopicPattern};
    use fanfare_wasi_host::{Beat, FileWatch, Own, Runtime, WasmHandler, check_name, name_of, read_file};
    use parking_lot::Mutex;

    use super::{Entry, HandlerLoadError, HandlerSource, Handlers};

    /// What comes into being with the first handler.
    #[derive(Default)]
    pub(super) struct Parts {
        runtime: Option<Runtime>,
        watch: Option<FileWatch>,
        beat: Option<Beat>,
        /// Names in use.
        names: BTreeSet<String>,
    }

    /// What is to be loaded.
    #[derive(Clone, Copy)]
    struct Order<'s> {
        topics: &'s str,
        source: HandlerSource<'s>,
        settings: &'s str,
    }

    /// A handler that has only to be put to work.
    struct Ready<'s> {
        name: String,
        order: Order<'s>,
        own: Own,
        bytes: Vec<u8>,
        handler: Arc<WasmHandler>,
        took: Duration,
    }

    impl Handlers {
        /// Loads a handler behind those that are there; its name. One is loaded at a time.
        pub(crate) fn load(
            &self,
            topics: &str,
            source: HandlerSource<'_>,
            settings: &str,
        ) -> Result<String, HandlerLoadError> {
            let mut parts = self.wasm.lock();
            let runtime = self.runtime(&mut parts, source)?;
            let order = Order { topics, source, settings };
            let ready = self.prepare(&runtime, parts.free(&source.name()), order)?;
            self.install(&mut parts, ready)
        }

        /// Loads these, in their order. They are compiled at the same time, as many as there are processors; of those that are wrong
        /// the first is reported.
        pub(super) fn load_all(&self, entries: &[Entry]) -> Result<(), HandlerLoadError> {
            let Some(first) = entries.first() else { return Ok(()) };
            let mut parts = self.wasm.lock();
            let runtime = self.runtime(&mut parts, HandlerSource::File(&first.file))?;
            let mut names = BTreeSet::new();
            let jobs: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let source = HandlerSource::File(&entry.file);
                    let name = free(&source.name(), |name| names.contains(name));
                    names.insert(name.clone());
                    (name, Order { topics: &entry.topics, source, settings: &entry.settings })
                })
                .collect();
            let next = AtomicUsize::new(0);
            let done: Vec<_> = jobs.iter().map(|_| Mutex::new(None)).collect();
            let work = || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some((name, order)), Some(done)) = (jobs.get(at), done.get(at)) else {
                        return;
                    };
                    let ready = self.prepare(&runtime, name.clone(), *order);
                    if ready.is_err() {
                        // The hub will not start: what nobody has begun need not be.
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                    *done.lock() = Some(ready);
                }
            };
            let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
            thread::scope(|scope| {
                for _ in 1..threads {
                    // Without the thread it takes longer.
                    let _ = thread::Builder::new().spawn_scoped(scope, work);
                }
                work();
            });
            // What is missing was not begun, because another one failed.
            let ready: Result<Vec<_>, _> = done.into_iter().filter_map(Mutex::into_inner).collect();
            ready?.into_iter().try_for_each(|ready| self.install(&mut parts, ready).map(drop))
        }

        fn runtime(&self, parts: &mut Parts, source: HandlerSource<'_>) -> Result<Runtime, HandlerLoadError> {
            if let Some(runtime) = &parts.runtime {
                return Ok(runtime.clone());
            }
            let runtime = Runtime::configured(&self.config).map_err(|error| source.error(error))?;
            Ok(parts.runtime.insert(runtime).clone())
        }

        /// What can be done before anybody notices: reading and compiling.
        fn prepare<'s>(
            &self,
            runtime: &Runtime,
            name: String,
            order: Order<'s>,
        ) -> Result<Ready<'s>, HandlerLoadError> {
            let source = order.source;
            if order.topics.is_empty() {
                return Err(source.error("it is given no topic"));
            }
            let own = self.config.own(order.settings).map_err(|error| source.error(error))?;
            let start = Instant::now();
            let bytes = match source {
                HandlerSource::File(file) => read_file(file, own.config.file_bytes)
                    .map_err(|error| source.error(format_args!("cannot read it: {error}")))?,
                HandlerSource::Bytes { bytes, .. } => bytes.to_vec(),
            };
            if let HandlerSource::File(file) = source {
                check_name(file, &bytes).map_err(|error| source.error(error))?;
            }
            let handler = match &self.states {
                Some(states) => WasmHandler::keeping(runtime, &name, &bytes, &own.config, states),
                None => WasmHandler::new(runtime, &name, &bytes, &own.config),
            };
            let handler = Arc::new(handler.map_err(|error| source.error(error))?);
            Ok(Ready { name, order, own, bytes, handler, took: start.elapsed() })
        }

        /// Puts it to work.
        fn install(&self, parts: &mut Parts, ready: Ready<'_>) -> Result<String, HandlerLoadError> {
            let Ready { name, order: Order { topics, source, .. }, own, bytes, handler, took } = ready;
            let Own { events, config } = own;
            let no_thread = |error| source.error(format_args!("cannot start a thread: {error}"));
            if parts.beat.is_none() && (handler.ticks() || config.reload) {
                let clock = self.clock;
                let beat = Beat::start(self.engine.clone(), move || clock.now());
                parts.beat = Some(beat.map_err(no_thread)?);
            }
            if let (HandlerSource::File(file), true) = (source, config.reload) {
                if parts.watch.is_none() {
                    parts.watch = Some(FileWatch::start().map_err(no_thread)?);
                }
                if let Some(watch) = &parts.watch {
                    watch.add(file, bytes, config.file_bytes, &handler);
                }
            }
            self.engine.add_handler(HandlerSpec {
                name: name.clone().into(),
                topics: TopicPattern::parse(topics),
                events: events.into_iter().map(Into::into).collect(),
                on_fault: OnFault::Closed,
                handler: Arc::clone(&handler) as Arc<dyn Handler>,
            });
            if let Some(beat) = &parts.beat {
                beat.add(&name, &handler, config.tick);
            }
            parts.names.insert(name.clone());
            let code = handler.about().origin.as_str();
            tracing::info!(handler = name, topics, code, ?took, "handler loaded");
            Ok(name)
        }

        /// Unloads the handler of that name; false if there is none.
        pub(crate) fn unload(&self, name: &str) -> bool {
            self.wasm.lock().names.remove(name);
            self.engine.remove_handler(name)
        }
    }

    impl Drop for Handlers {
        fn drop(&mut self) {
            // The engine may live on in the caller's hands; handlers have a thread, which ends with them.
            for name in &self.wasm.get_mut().names {
                self.engine.remove_handler(name);
            }
        }
    }

    impl Parts {
        /// `name`, or what makes it unique.
        fn free(&self, name: &str) -> String {
            free(name, |name| self.names.contains(name))
        }
    }

    fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
        candidates.find(|candidate| !taken(candidate)).unwrap_or_default()
    }

    impl HandlerSource<'_> {
        /// What its handler is called, if nothing else is.
        fn name(&self) -> String {
            match self {
                Self::File(file) => name_of(file),
                Self::Bytes { name, .. } => (*name).to_owned(),
            }
        }
    }
}
