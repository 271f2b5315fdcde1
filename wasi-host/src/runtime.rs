//! What all handlers of a hub share: compiler, allocator, linker and the clock of time limits.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "wasm-jit")]
use std::sync::OnceLock;

use parking_lot::Mutex;
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config as EngineConfig, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::artifact::Bytes32;
#[cfg(feature = "wasm-jit")]
use crate::cache::{self, Cache};
use crate::config::Config;
#[cfg(feature = "wasm-jit")]
use crate::error::LoadError;
use crate::host::{self, State};
use crate::ticker::{Running, Ticker};

/// Instances that the pool holds at most, tried in this order: each reserves 4 GiB of addresses, which not every machine
/// has. Without any, memory is mapped for each instance.
const POOL_SIZES: [u32; 3] = [256, 64, 16];

/// The largest memory of a pooled instance; the range of `handler.memory` ends here.
const POOLED_MEMORY: usize = 1 << 30;

/// How much of a used memory stays mapped for the next instance.
const KEEP_RESIDENT: usize = 1 << 20;

/// Stack for the handler's code on the thread of its caller.
const STACK: usize = 512 << 10;

/// The machinery that runs handlers. Clones are the same one; it ends, with its one thread, with the last of them.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    ticker: Ticker,
    pooled: bool,
    #[cfg(feature = "wasm-jit")]
    cache: Option<Cache>,
    /// The engine of JavaScript files, from the first such file on, and whether it is from the cache.
    #[cfg(feature = "wasm-jit")]
    script_engine: OnceLock<Result<(Component, bool), LoadError>>,
    /// The engine of scripts that were compiled already, and the hash of its code: they all bring the same.
    compiled_engine: Mutex<Option<(Bytes32, Component)>>,
}

/// The machine cannot run handlers; says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeError(pub String);

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run handlers: {}", self.0)
    }
}

impl std::error::Error for RuntimeError {}

impl Runtime {
    /// Prepares to run handlers, without a cache of compiled code.
    ///
    /// # Errors
    /// [`RuntimeError`] when the processor is not supported, or the system gives no memory or thread.
    pub fn new() -> Result<Self, RuntimeError> {
        Self::build(
            #[cfg(feature = "wasm-jit")]
            None,
        )
    }

    /// The same with the cache that `config` names; of the other options it takes no notice.
    ///
    /// A build that does not compile has no cache. Where none is configured and the user's folder cannot be used, there is none, and a
    /// line in the log.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when `handler.cache_dir` names a folder that cannot be used.
    pub fn configured(config: &Config) -> Result<Self, RuntimeError> {
        #[cfg(not(feature = "wasm-jit"))]
        let _ = config;
        Self::build(
            #[cfg(feature = "wasm-jit")]
            cache_of(config)?,
        )
    }

    fn build(#[cfg(feature = "wasm-jit")] cache: Option<Cache>) -> Result<Self, RuntimeError> {
        let error = |error: wasmtime::Error| RuntimeError(format!("{error:#}"));
        let (engine, pooled) = engine().map_err(error)?;
        let mut linker = Linker::new(&engine);
        host::provide(&mut linker).map_err(error)?;
        let ticking = engine.clone();
        let ticker = Ticker::start(move || ticking.increment_epoch())
            .map_err(|error| RuntimeError(format!("cannot start a thread: {error}")))?;
        Ok(Self(Arc::new(Inner {
            engine,
            linker,
            ticker,
            pooled,
            #[cfg(feature = "wasm-jit")]
            cache,
            #[cfg(feature = "wasm-jit")]
            script_engine: OnceLock::new(),
            compiled_engine: Mutex::default(),
        })))
    }

    /// Whether instances come from a pool; false on machines with few addresses, where a new one costs more.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.0.linker
    }

    #[cfg(feature = "wasm-jit")]
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    #[cfg(feature = "wasm-jit")]
    pub(crate) fn script_engine(&self) -> &OnceLock<Result<(Component, bool), LoadError>> {
        &self.0.script_engine
    }

    pub(crate) fn compiled_engine(&self) -> &Mutex<Option<(Bytes32, Component)>> {
        &self.0.compiled_engine
    }

    /// Marks a call as under way; deadlines pass until this is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.0.ticker.running()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("pooled", &self.0.pooled).finish_non_exhaustive()
    }
}

#[cfg(feature = "wasm-jit")]
fn cache_of(config: &Config) -> Result<Option<Cache>, RuntimeError> {
    if config.cache_bytes == 0 {
        return Ok(None);
    }
    if let Some(folder) = &config.cache_dir {
        let wrong = |why| RuntimeError(format!("handler.cache_dir {}: {why}", folder.display()));
        return Cache::open(folder, config.cache_bytes).map(Some).map_err(wrong);
    }
    let Some(folder) = cache::default_folder() else {
        tracing::info!("compiled handlers are not kept: no HOME, XDG_CACHE_HOME or handler.cache_dir");
        return Ok(None);
    };
    let opened = Cache::open(&folder, config.cache_bytes);
    let unused =
        |why: &String| tracing::warn!(folder = %folder.display(), "compiled handlers are not kept: {why}");
    Ok(opened.inspect_err(unused).ok())
}

fn engine() -> wasmtime::Result<(Engine, bool)> {
    for size in POOL_SIZES {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(size)));
        match Engine::new(&config) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => tracing::debug!(size, "no pool of instances: {error:#}"),
        }
    }
    Engine::new(&config()).map(|engine| (engine, false))
}

fn config() -> EngineConfig {
    let mut config = EngineConfig::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .relaxed_simd_deterministic(true)
        // Signal handlers belong to the process, which may be anybody's: checks in the code find what a signal would.
        .signals_based_traps(SIGNALS);
    config
}

/// See [`config`].
const SIGNALS: bool = false;

fn pool(size: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(size)
        .total_core_instances(size * 4)
        .total_memories(size)
        .total_tables(size * 2)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .max_memory_size(POOLED_MEMORY)
        .table_elements(100_000)
        .max_unused_warm_slots(16)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}
