//! The instances of one piece of code.
//!
//! An instance serves one event at a time. Whoever has an event takes an idle instance, the most recently used first, makes
//! one when there is none and the limit allows it, or waits. So there are as many instances as events were ever
//! under way at once, and under steady load the same few stay warm.
//!
//! An instance ends, and the next event gets a new one, when it has failed in any way (nothing of a failed call is
//! seen by a later one), has served its number of events, or holds most of the memory that it may.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::component::{Func, TypedFunc};
use wasmtime::{Store, Trap};

use fanfare_engine::Draft;

use crate::config::{Config, Isolation};
use crate::contract::{EventIn, EventOut, INIT, Outcome, ScriptFailed, TRANSFORM, TRANSFORM_TYPE};
use crate::fault::{FaultKind, WasmFault};
use crate::host::{Shared, State};
use crate::load::{Module, plain};
use crate::meter::Meter;
use crate::runtime::Runtime;

/// How long a new instance may take to get ready.
const INIT_TIME: Duration = Duration::from_secs(1);

/// How long an event waits for an instance, in units of the time limit of a call.
const PATIENCE: u32 = 20;

/// Component handles that an instance may hold; the contract needs none.
const MAX_HANDLES: usize = 1_000;

/// Code, its instances, and what they may take.
#[derive(Debug)]
pub(crate) struct Pool {
    runtime: Runtime,
    module: Arc<Module>,
    shared: Arc<Shared>,
    meter: Arc<Meter>,
    limits: Limits,
    instances: Mutex<Instances>,
    returned: Condvar,
}

/// The part of the configuration that an instance is held to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    time: Duration,
    patience: Duration,
    memory_bytes: u64,
    /// The same for one that runs JavaScript.
    script_memory_bytes: u64,
    /// What a call may answer, in events and in bytes.
    events_out: usize,
    output_bytes: usize,
    isolation: Isolation,
    recycle: u64,
    max_instances: usize,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            time: config.time,
            patience: config.time * PATIENCE,
            memory_bytes: config.memory_bytes,
            script_memory_bytes: config.script_memory_bytes,
            events_out: config.events_out,
            output_bytes: usize::try_from(config.output_bytes).unwrap_or(usize::MAX),
            isolation: config.isolation,
            recycle: config.recycle,
            max_instances: std::thread::available_parallelism().map_or(4, usize::from).max(4),
        }
    }

    /// What the host may allocate for an answer before it looks at it.
    fn answer_bytes(&self) -> usize {
        self.output_bytes.saturating_add(self.events_out.saturating_mul(size_of::<EventOut>()))
    }
}

#[derive(Debug, Default)]
struct Instances {
    idle: Vec<Instance>,
    /// Idle ones and those in use.
    all: usize,
}

/// One instance with its memory.
struct Instance {
    store: Store<State>,
    transform: Func,
    /// Memory that it held when it was new.
    initial: usize,
    calls: u64,
    meter: Arc<Meter>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.meter.instance_gone();
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// The right to one instance; given back when dropped.
struct Permit<'p>(&'p Pool);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.instances.lock().all -= 1;
        self.0.returned.notify_one();
    }
}

impl Pool {
    pub(crate) fn new(
        runtime: Runtime,
        module: Arc<Module>,
        shared: Arc<Shared>,
        meter: Arc<Meter>,
        mut limits: Limits,
    ) -> Self {
        if module.about.script {
            limits.memory_bytes = limits.script_memory_bytes;
        }
        Self { runtime, module, shared, meter, limits, instances: Mutex::default(), returned: Condvar::new() }
    }

    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    /// Sends one event through an instance.
    pub(crate) fn call(&self, event: &Draft<'_>) -> Result<Outcome, WasmFault> {
        let (instance, permit) = self.take()?;
        // From here on the clock of deadlines runs, for making an instance runs code too.
        let _running = self.runtime.running();
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.make()?,
        };
        let outcome = instance.call(event, &self.limits);
        match outcome {
            Ok(outcome) if self.keeps(&instance) => {
                std::mem::forget(permit);
                self.instances.lock().idle.push(instance);
                self.returned.notify_one();
                Ok(outcome)
            }
            outcome => {
                self.meter.memory(instance.store.data().memory.used);
                if self.limits.isolation == Isolation::Shared {
                    self.meter.recycled();
                }
                drop(instance);
                drop(permit);
                outcome
            }
        }
    }

    /// Makes an instance and lets it go.
    pub(crate) fn start(&self) -> Result<(), WasmFault> {
        let _running = self.runtime.running();
        self.make().map(drop)
    }

    fn take(&self) -> Result<(Option<Instance>, Permit<'_>), WasmFault> {
        let mut instances = self.instances.lock();
        loop {
            if let Some(instance) = instances.idle.pop() {
                return Ok((Some(instance), Permit(self)));
            }
            if instances.all < self.limits.max_instances {
                instances.all += 1;
                return Ok((None, Permit(self)));
            }
            if self.returned.wait_for(&mut instances, self.limits.patience).timed_out() {
                let text = format!("its {} instances are all in use", self.limits.max_instances);
                return Err(WasmFault::new(FaultKind::Busy, text));
            }
        }
    }

    fn keeps(&self, instance: &Instance) -> bool {
        let used = instance.store.data().memory.used;
        let much = used > instance.initial && used as u64 > self.limits.memory_bytes / 4 * 3;
        self.limits.isolation == Isolation::Shared && instance.calls < self.limits.recycle && !much
    }

    fn make(&self) -> Result<Instance, WasmFault> {
        let state = State::new(Arc::clone(&self.shared), self.limits.memory_bytes, INIT_TIME);
        let mut store = Store::new(self.runtime.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(store.data().budget.ticks());
        store.epoch_deadline_callback(|mut store| store.data_mut().budget.expired());
        store.set_hostcall_fuel(self.limits.answer_bytes());
        store.set_max_component_handles(MAX_HANDLES);
        let started = self.module.pre.instantiate(&mut store);
        let instance = started.map_err(|error| {
            let why = match store.data().memory.refused {
                true => "it begins with more memory than handler.memory".to_owned(),
                false => fault(&error, &store).text,
            };
            WasmFault::new(FaultKind::Start, format!("it did not start: {why}"))
        })?;
        let transform = instance.get_func(&mut store, self.module.transform).ok_or_else(|| {
            WasmFault::new(FaultKind::Answer, format!("its export \"{TRANSFORM}\" is no function"))
        })?;
        transform.typed::<(EventIn<'_>,), (Outcome,)>(&store).map_err(|error| {
            let text = format!("its export \"{TRANSFORM}\" is not {TRANSFORM_TYPE}: {}", plain(&error));
            WasmFault::new(FaultKind::Answer, text)
        })?;
        if let Some(index) = self.module.init {
            let init = instance.get_typed_func::<(), (Result<(), String>,)>(&mut store, index);
            let answer = init.and_then(|init| init.call(&mut store, ()));
            let start = |text: String| WasmFault::new(FaultKind::Start, text);
            let (answer,) = answer.map_err(|error| match fault(&error, &store).text {
                // It says where in the script.
                text if self.module.about.script => start(text),
                text => start(format!("its {INIT:?} failed: {text}")),
            })?;
            answer.map_err(|reason| start(format!("its {INIT:?} refused to start: {reason}")))?;
        }
        self.meter.instance_made();
        let initial = store.data().memory.used;
        self.meter.memory(initial);
        Ok(Instance { store, transform, initial, calls: 0, meter: Arc::clone(&self.meter) })
    }
}

impl Instance {
    fn call(&mut self, event: &Draft<'_>, limits: &Limits) -> Result<Outcome, WasmFault> {
        self.calls += 1;
        self.store.data_mut().begin(limits.time);
        self.store.set_epoch_deadline(self.store.data().budget.ticks());
        #[expect(unsafe_code, reason = "the type has been checked once, not for each event")]
        // SAFETY: `Pool::make` has checked this function against this type, up to the lifetime of the parameter, which
        // is no part of a component's type.
        let transform = unsafe { TypedFunc::<(EventIn<'_>,), (Outcome,)>::new_unchecked(self.transform) };
        match transform.call(&mut self.store, (EventIn::of(event),)) {
            Ok((outcome,)) => within(outcome, limits),
            Err(error) => Err(fault(&error, &self.store)),
        }
    }
}

/// Checks an answer against the limits.
fn within(outcome: Outcome, limits: &Limits) -> Result<Outcome, WasmFault> {
    let (events, bytes) = match &outcome {
        Outcome::Pass | Outcome::Drop => return Ok(outcome),
        Outcome::Replace(text) | Outcome::Reject(text) => (1, text.len()),
        Outcome::Emit(events) => (events.len(), events.iter().map(EventOut::bytes).sum()),
    };
    let much = |what: String| Err(WasmFault::new(FaultKind::Output, what));
    if events > limits.events_out {
        return much(format!(
            "it answered {events} events, more than {} (handler.events)",
            limits.events_out
        ));
    }
    if bytes > limits.output_bytes {
        return much(format!(
            "it answered {bytes} bytes, more than {} (handler.output_bytes)",
            limits.output_bytes
        ));
    }
    Ok(outcome)
}

/// What a failed call means.
fn fault(error: &wasmtime::Error, store: &Store<State>) -> WasmFault {
    let refused = store.data().memory.refused;
    if let Some(failed) = error.downcast_ref::<ScriptFailed>() {
        let kind = if refused { FaultKind::Memory } else { failed.kind };
        return WasmFault::new(kind, failed.text.clone());
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        let text = plain(error);
        // The one way to tell, for wasmtime has no type for it: see `HOSTCALL_FUEL` and its test.
        return if text.contains(HOSTCALL_FUEL) {
            WasmFault::new(FaultKind::Output, "it passed more bytes than handler.output_bytes to the hub")
        } else {
            WasmFault::new(FaultKind::Answer, format!("it broke the contract: {text}"))
        };
    };
    match trap {
        Trap::Interrupt => WasmFault::new(FaultKind::Timeout, "it took too long (handler.time)"),
        Trap::StackOverflow => WasmFault::new(FaultKind::Stack, "it called itself too deeply"),
        // What allocators do when they get no memory.
        Trap::UnreachableCodeReached if refused => {
            WasmFault::new(FaultKind::Memory, "it needs more memory than it may have (handler.memory)")
        }
        trap => WasmFault::new(FaultKind::Trap, format!("it stopped itself: {trap}")),
    }
}

/// What wasmtime's message says when a guest hands over more than `Store::set_hostcall_fuel` allows.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";
