//! One instance: made, called, and what its failures mean.

use std::sync::Arc;
use std::time::Duration;

use fanfare_engine::{Draft, Visitor};
use wasmtime::{Store, Trap};

use crate::config::{Config, Isolation};
use crate::contract::{EventIn, EventOut, Found, INIT, Outcome, ScriptFailed, SubscriberIn, WelcomeOut};
use crate::error::plain;
use crate::export::{Export, OnSubscribe, Signature, Tick, Transform, TransformBatch};
use crate::fault::{FaultKind, WasmFault};
use crate::host::{Shared, State};
use crate::load::Module;
use crate::meter::Meter;
use crate::runtime::Runtime;

/// How long a new instance may take to get ready.
const INIT_TIME: Duration = Duration::from_secs(1);

/// How long an event waits for an instance, in units of the time limit of a call.
const PATIENCE: u32 = 20;

/// Component handles that an instance may hold; the contract needs none.
const MAX_HANDLES: usize = 1_000;

/// The part of the configuration that an instance is held to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    time: Duration,
    pub(crate) patience: Duration,
    pub(crate) memory_bytes: u64,
    /// The same for one that runs JavaScript.
    script_memory_bytes: u64,
    /// What a call may answer, in events and in bytes.
    events_out: usize,
    output_bytes: usize,
    greeting_bytes: usize,
    pub(crate) isolation: Isolation,
    recycle: u64,
    pub(crate) max_instances: usize,
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
            greeting_bytes: usize::try_from(config.greeting_bytes).unwrap_or(usize::MAX),
            isolation: config.isolation,
            recycle: config.recycle,
            max_instances: std::thread::available_parallelism().map_or(4, usize::from).max(4),
        }
    }

    /// Those for a script, where it is one.
    pub(crate) fn for_code(self, script: bool) -> Self {
        if script { Self { memory_bytes: self.script_memory_bytes, ..self } } else { self }
    }

    /// What the host may allocate for the answer about `events` before it looks at it.
    fn answer_bytes(&self, events: usize) -> usize {
        let one = self.output_bytes.saturating_add(self.events_out.saturating_mul(size_of::<EventOut>()));
        one.saturating_mul(events)
    }
}

/// One instance with its memory.
pub(crate) struct Instance {
    store: Store<State>,
    transform: Export<Transform>,
    on_subscribe: Option<Export<OnSubscribe>>,
    tick: Option<Export<Tick>>,
    transform_batch: Option<Export<TransformBatch>>,
    /// Memory that it held when it was new.
    initial: usize,
    /// Events that it has served.
    served: u64,
    meter: Arc<Meter>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.meter.instance_gone();
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("served", &self.served).finish_non_exhaustive()
    }
}

impl Instance {
    /// Makes one and gets it ready. The clock of deadlines must run. `has_kv`: the caller has opened the key-value store.
    pub(crate) fn new(
        runtime: &Runtime,
        module: &Module,
        shared: &Arc<Shared>,
        meter: &Arc<Meter>,
        limits: &Limits,
        has_kv: bool,
    ) -> Result<Self, WasmFault> {
        let state = State::new(Arc::clone(shared), has_kv, limits.memory_bytes, INIT_TIME);
        let mut store = Store::new(runtime.engine(), state);
        store.set_hostcall_fuel(limits.answer_bytes(1));
        store.limiter(|state| &mut state.memory);
        store.set_epoch_deadline(store.data().budget.ticks());
        store.epoch_deadline_callback(|mut store| store.data_mut().budget.expired());
        store.set_max_component_handles(MAX_HANDLES);
        let started = module.pre.instantiate(&mut store);
        let instance = started.map_err(|error| {
            let why = match store.data().memory.refused {
                true => "it begins with more memory than handler.memory".to_owned(),
                false => fault(&error, &store).text,
            };
            WasmFault::new(FaultKind::Start, format!("it did not start: {why}"))
        })?;
        let transform = Export::find(&instance, &mut store, module.transform)?;
        let on_subscribe =
            module.on_subscribe.map(|index| Export::find(&instance, &mut store, index)).transpose()?;
        let tick = module.tick.map(|index| Export::find(&instance, &mut store, index)).transpose()?;
        let transform_batch =
            module.transform_batch.map(|index| Export::find(&instance, &mut store, index)).transpose()?;
        if let Some(index) = module.init {
            let init = instance.get_typed_func::<(), (Result<(), String>,)>(&mut store, index);
            let answer = init.and_then(|init| init.call(&mut store, ()));
            let start = |text: String| WasmFault::new(FaultKind::Start, text);
            let (answer,) = answer.map_err(|error| match fault(&error, &store).text {
                // It says where in the script.
                text if module.about.script => start(text),
                text => start(format!("its {INIT:?} failed: {text}")),
            })?;
            answer.map_err(|reason| start(format!("its {INIT:?} refused to start: {reason}")))?;
        }
        meter.instance_made();
        let initial = store.data().memory.used;
        meter.memory(initial);
        let meter = Arc::clone(meter);
        Ok(Self { store, transform, on_subscribe, tick, transform_batch, initial, served: 0, meter })
    }

    /// Whether who calls it next has opened the key-value store.
    pub(crate) fn with_kv(&mut self, has_kv: bool) {
        self.store.data_mut().has_kv = has_kv;
    }

    /// What a script turned out to export. The others, which its engine has for all scripts, are forgotten here.
    pub(crate) fn keep_found(&mut self) -> Found {
        let found = self.store.data().found;
        self.on_subscribe.take_if(|_| !found.on_subscribe);
        self.tick.take_if(|_| !found.tick);
        self.transform_batch.take_if(|_| !found.transform_batch);
        found
    }

    /// Bytes of its memories and tables.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory.used
    }

    /// Whether it may serve more events.
    pub(crate) fn is_good(&self, limits: &Limits) -> bool {
        let used = self.memory();
        let much = used > self.initial && used as u64 > limits.memory_bytes / 4 * 3;
        limits.isolation == Isolation::Shared && self.served < limits.recycle && !much
    }

    /// Sends one event through it.
    pub(crate) fn transform(&mut self, event: &Draft<'_>, limits: &Limits) -> Result<Outcome, WasmFault> {
        self.begin(1, limits);
        match self.transform.call(&mut self.store, (EventIn::of(event),)) {
            Ok((outcome,)) => within(outcome, limits),
            Err(error) => Err(fault(&error, &self.store)),
        }
    }

    /// Sends several events through it. An outcome that is too large is the fault of all.
    pub(crate) fn transform_batch(
        &mut self,
        events: &[&Draft<'_>],
        limits: &Limits,
    ) -> Result<Vec<Outcome>, WasmFault> {
        let Some(export) = &self.transform_batch else {
            return events.iter().map(|event| self.transform(event, limits)).collect();
        };
        let lowered: Vec<_> = events.iter().map(|event| EventIn::of(event)).collect();
        begin(&mut self.store, &mut self.served, events.len(), limits);
        let called = export.call(&mut self.store, (&lowered,));
        let (outcomes,) = called.map_err(|error| named::<TransformBatch>(fault(&error, &self.store)))?;
        if outcomes.len() != events.len() {
            let text = format!("it answered {} outcomes to {} events", outcomes.len(), events.len());
            return Err(named::<TransformBatch>(WasmFault::new(FaultKind::Answer, text)));
        }
        outcomes.into_iter().map(|outcome| within(outcome, limits)).collect()
    }

    /// Asks it about a reader; who is not asked about is admitted.
    pub(crate) fn welcome(
        &mut self,
        visitor: &Visitor<'_>,
        limits: &Limits,
    ) -> Result<WelcomeOut, WasmFault> {
        let Some(export) = &self.on_subscribe else { return Ok(WelcomeOut::Admit) };
        begin(&mut self.store, &mut self.served, 1, limits);
        let called = export.call(&mut self.store, (SubscriberIn::of(visitor),));
        let (welcome,) = called.map_err(|error| named::<OnSubscribe>(fault(&error, &self.store)))?;
        let (events, bytes) = match &welcome {
            WelcomeOut::Admit => (0, 0),
            WelcomeOut::Refuse(reason) => (1, reason.len()),
            WelcomeOut::Greet(events) => (events.len(), events.iter().map(EventOut::bytes).sum()),
        };
        bounded(events, bytes, limits.events_out, (limits.greeting_bytes, "handler.greeting_bytes"))
            .map_err(named::<OnSubscribe>)?;
        Ok(welcome)
    }

    /// Tells it that time has passed.
    pub(crate) fn tick(&mut self, limits: &Limits) -> Result<Vec<EventOut>, WasmFault> {
        let Some(export) = &self.tick else { return Ok(Vec::new()) };
        begin(&mut self.store, &mut self.served, 1, limits);
        let called = export.call(&mut self.store, ());
        let (events,) = called.map_err(|error| named::<Tick>(fault(&error, &self.store)))?;
        let bytes = events.iter().map(EventOut::bytes).sum();
        bounded(events.len(), bytes, limits.events_out, (limits.output_bytes, "handler.output_bytes"))
            .map_err(named::<Tick>)?;
        Ok(events)
    }

    fn begin(&mut self, events: usize, limits: &Limits) {
        begin(&mut self.store, &mut self.served, events, limits);
    }
}

/// Gives the budgets of a call about `events`.
fn begin(store: &mut Store<State>, served: &mut u64, events: usize, limits: &Limits) {
    *served += events as u64;
    store.data_mut().begin(limits.time * u32::try_from(events).unwrap_or(u32::MAX));
    store.set_epoch_deadline(store.data().budget.ticks());
    store.set_hostcall_fuel(limits.answer_bytes(events));
}

/// The fault with the name of the export, for all but `transform`.
fn named<S: Signature>(fault: WasmFault) -> WasmFault {
    WasmFault { text: format!("its \"{}\" failed: {}", S::NAME, fault.text), ..fault }
}

/// Checks an answer against the limits.
fn within(outcome: Outcome, limits: &Limits) -> Result<Outcome, WasmFault> {
    let (events, bytes) = match &outcome {
        Outcome::Pass | Outcome::Drop => return Ok(outcome),
        Outcome::Replace(text) | Outcome::Reject(text) => (1, text.len()),
        Outcome::Emit(events) => (events.len(), events.iter().map(EventOut::bytes).sum()),
    };
    bounded(events, bytes, limits.events_out, (limits.output_bytes, "handler.output_bytes"))?;
    Ok(outcome)
}

/// Checks the size of an answer; `max_bytes` comes with the option that sets it.
fn bounded(
    events: usize,
    bytes: usize,
    max_events: usize,
    (max_bytes, option): (usize, &str),
) -> Result<(), WasmFault> {
    let text = if events > max_events {
        format!("it answered {events} events, more than {max_events} (handler.events)")
    } else if bytes > max_bytes {
        format!("it answered {bytes} bytes, more than {max_bytes} ({option})")
    } else {
        return Ok(());
    };
    Err(WasmFault::new(FaultKind::Output, text))
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
