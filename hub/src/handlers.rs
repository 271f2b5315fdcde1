//! The event handlers of a hub: loading, unloading, and following their files.
//!
//! Without the feature `wasi` everything here is there and refuses to load: a configuration that names handlers does
//! not silently go without them.

use std::fmt;
use std::path::Path;

use fanfare_engine::{Code, Engine};
use fanfare_wasi_host::Config;

use crate::http::Clock;

/// Whether this build runs handlers: it has the feature `wasi`.
pub const HANDLERS: bool = cfg!(feature = "wasi");

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
    #[cfg_attr(not(feature = "wasi"), expect(dead_code, reason = "handlers tick by it"))]
    clock: Clock,
    #[cfg(feature = "wasi")]
    wasm: parking_lot::Mutex<wasm::Parts>,
}

impl Handlers {
    /// Loads what the configuration names.
    pub(crate) fn start(engine: Engine, config: Config, clock: Clock) -> Result<Self, HandlerLoadError> {
        let handlers = Self {
            engine,
            config,
            clock,
            #[cfg(feature = "wasi")]
            wasm: parking_lot::Mutex::default(),
        };
        let entries = handlers
            .config
            .entries()
            .map_err(|error| HandlerLoadError { handler: error.value.clone(), reason: error.to_string() })?;
        for entry in entries {
            handlers.load(&entry.topics, HandlerSource::File(&entry.file))?;
        }
        Ok(handlers)
    }

    #[cfg(not(feature = "wasi"))]
    pub(crate) fn load(&self, _: &str, source: HandlerSource<'_>) -> Result<String, HandlerLoadError> {
        Err(source.error("this build runs no handlers; they come with the feature wasi"))
    }

    #[cfg(not(feature = "wasi"))]
    pub(crate) fn unload(&self, name: &str) -> bool {
        self.engine.remove_handler(name)
    }
}

#[cfg(feature = "wasi")]
mod wasm {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Instant;

    use fanfare_engine::{Handler, HandlerSpec, OnFault, TopicPattern};
    use fanfare_wasi_host::{Beat, FileWatch, Runtime, WasmHandler, name_of, read_file};

    use super::{HandlerLoadError, HandlerSource, Handlers};

    /// What comes into being with the first handler.
    #[derive(Default)]
    pub(super) struct Parts {
        runtime: Option<Runtime>,
        watch: Option<FileWatch>,
        beat: Option<Beat>,
        /// Names in use.
        names: BTreeSet<String>,
    }

    impl Handlers {
        /// Loads a handler behind those that are there; its name. One is loaded at a time.
        pub(crate) fn load(
            &self,
            topics: &str,
            source: HandlerSource<'_>,
        ) -> Result<String, HandlerLoadError> {
            if topics.is_empty() {
                return Err(source.error("it is given no topic"));
            }
            let mut parts = self.wasm.lock();
            let start = Instant::now();
            let runtime = match &parts.runtime {
                Some(runtime) => runtime.clone(),
                None => parts.runtime.insert(Runtime::new().map_err(|error| source.error(error))?).clone(),
            };
            let (name, bytes) = match source {
                HandlerSource::File(file) => {
                    let bytes = read_file(file, self.config.file_bytes);
                    (
                        name_of(file),
                        bytes.map_err(|error| source.error(format_args!("cannot read it: {error}")))?,
                    )
                }
                HandlerSource::Bytes { name, bytes } => (name.to_owned(), bytes.to_vec()),
            };
            let name = parts.free(&name);
            let handler = WasmHandler::new(&runtime, &name, &bytes, &self.config);
            let handler = Arc::new(handler.map_err(|error| source.error(error))?);
            let no_thread = |error| source.error(format_args!("cannot start a thread: {error}"));
            if parts.beat.is_none() && (handler.ticks() || self.config.reload) {
                let clock = self.clock;
                let beat = Beat::start(self.engine.clone(), move || clock.now());
                parts.beat = Some(beat.map_err(no_thread)?);
            }
            if let (HandlerSource::File(file), true) = (source, self.config.reload) {
                if parts.watch.is_none() {
                    parts.watch = Some(FileWatch::start().map_err(no_thread)?);
                }
                if let Some(watch) = &parts.watch {
                    watch.add(file, bytes, self.config.file_bytes, &handler);
                }
            }
            self.engine.add_handler(HandlerSpec {
                name: name.clone().into(),
                topics: TopicPattern::parse(topics),
                on_fault: OnFault::Closed,
                handler: Arc::clone(&handler) as Arc<dyn Handler>,
            });
            if let Some(beat) = &parts.beat {
                beat.add(&name, &handler, self.config.tick);
            }
            parts.names.insert(name.clone());
            tracing::info!(handler = name, topics, took = ?start.elapsed(), "handler loaded");
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
            let numbered = (2..).map(|number| format!("{name}-{number}"));
            let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
            candidates.find(|candidate| !self.names.contains(candidate)).unwrap_or_default()
        }
    }
}
