//! A handler of WebAssembly, as the engine sees it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fanfare_engine::{
    Draft, Fault, Handler, HandlerStats, OpenState, Timestamp, Turn, Verdict, Visitor, Welcome,
};
use parking_lot::RwLock;

use crate::answer::{drafts, greeting, verdict};
use crate::config::{Config, Policy};
use crate::contract::{KV, Outcome, WelcomeOut, interface};
use crate::error::LoadError;
use crate::fault::{Breaker, FaultKind, WasmFault};
use crate::host::Shared;
use crate::instance::{Instance, Limits};
use crate::kv::{MAX_NAME_BYTES, OpenKv};
use crate::load::{self, About, Module};
use crate::meter::{Answer, Meter};
use crate::pool::Pool;
use crate::runtime::Runtime;
use crate::states::States;

/// The type of events that [`Policy::DeadLetter`] makes.
const DEAD_LETTER: &str = "dead-letter";

/// A loaded handler. Its code can be exchanged while it works; its state and its counters stay.
///
/// It applies its fault policy itself: of the faults only those with [`Policy::Reject`] reach the engine, so the engine's own
/// policy for it should be [`OnFault::Closed`](fanfare_engine::OnFault::Closed).
pub struct WasmHandler {
    runtime: Runtime,
    config: Config,
    shared: Arc<Shared>,
    meter: Arc<Meter>,
    breaker: Breaker,
    /// The code in use. A call holds on to what it has found here: an event is handled by the old code or by the new.
    current: RwLock<Arc<Pool>>,
}

impl WasmHandler {
    /// Loads a handler from the bytes of a file, and tries it with an event. `name` is what statistics and the log
    /// call it; `config` gives the limits, values and fault policy. Its key-value store ends with it.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left behind.
    pub fn new(runtime: &Runtime, name: &str, bytes: &[u8], config: &Config) -> Result<Self, LoadError> {
        Self::of(runtime, name, bytes, config, None)
    }

    /// As [`new`](Self::new), with a key-value store that is kept in `states` under the handler's name, 1 to 255 bytes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn keeping(
        runtime: &Runtime,
        name: &str,
        bytes: &[u8],
        config: &Config,
        states: &States,
    ) -> Result<Self, LoadError> {
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
            let text =
                format!("its name has {} bytes, and state is kept under 1 to {MAX_NAME_BYTES}", name.len());
            return Err(LoadError::Start(text));
        }
        Self::of(runtime, name, bytes, config, Some(states))
    }

    fn of(
        runtime: &Runtime,
        name: &str,
        bytes: &[u8],
        config: &Config,
        states: Option<&States>,
    ) -> Result<Self, LoadError> {
        let values = config.values().map_err(|error| LoadError::Start(error.to_string()))?;
        let shared = Shared::new(name, values, config.state_bytes, config.log_bytes);
        let shared = Arc::new(match states {
            Some(states) => shared.keeping(states.of(name, config.state_bytes)),
            None => shared,
        });
        let meter = Arc::new(Meter::default());
        let module = ready(runtime, name, bytes, config, AtWork::No)?;
        want_kv(&shared, &module);
        let pool =
            Pool::new(runtime.clone(), module, Arc::clone(&shared), Arc::clone(&meter), Limits::of(config));
        Ok(Self {
            runtime: runtime.clone(),
            config: config.clone(),
            shared,
            meter,
            breaker: Breaker::default(),
            current: RwLock::new(Arc::new(pool)),
        })
    }

    /// Exchanges the code. Events under way finish with the old code; when this returns, new ones meet the new code.
    /// State in the key-value store stays.
    ///
    /// # Errors
    /// [`LoadError`]; the old code goes on.
    pub fn reload(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let module = ready(&self.runtime, &self.shared.name, bytes, &self.config, AtWork::Yes)
            .inspect_err(|_| self.meter.reload(false))?;
        want_kv(&self.shared, &module);
        let (shared, meter) = (Arc::clone(&self.shared), Arc::clone(&self.meter));
        let pool = Pool::new(self.runtime.clone(), module, shared, meter, Limits::of(&self.config));
        let old = std::mem::replace(&mut *self.current.write(), Arc::new(pool));
        self.breaker.reset();
        self.meter.reload(true);
        // Outside the lock: it may be the last that holds the old instances.
        drop(old);
        Ok(())
    }

    /// The same for what a file holds now, if it may be loaded by the file's name.
    pub(crate) fn reload_from(&self, file: &Path, bytes: &[u8]) -> Result<(), LoadError> {
        load::check_name(file, bytes).inspect_err(|_| self.meter.reload(false))?;
        self.reload(bytes)
    }

    /// What the code in use is made of.
    #[must_use]
    pub fn about(&self) -> About {
        self.current.read().module().about.clone()
    }

    /// The code in use.
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.current.read())
    }

    /// Calls an instance about `events` and counts it. The key-value store is opened before, and stays open for the rest of the
    /// turn, if any call has ever wanted it: handlers that do without run side by side, also those that could have it.
    fn call<T>(
        &self,
        events: usize,
        turn: &mut Turn,
        call: impl Fn(&mut Instance, &Limits) -> Result<T, WasmFault>,
    ) -> Result<T, WasmFault> {
        let (pool, kv) = (self.pool(), &self.shared.kv);
        loop {
            let has_kv = kv.is_wanted();
            if has_kv {
                let _ = turn.get_or_open(|| kv.open());
            }
            let start = Instant::now();
            let answer = pool.with(has_kv, &call);
            if answer.is_err() && !has_kv && kv.is_wanted() {
                continue;
            }
            self.meter.call(events as u64, start.elapsed());
            return answer;
        }
    }

    fn decide(&self, event: &Draft<'_>, turn: &mut Turn) -> Result<Verdict, WasmFault> {
        let outcome = self.call(1, turn, |instance, limits| instance.transform(event, limits))?;
        self.judge(event, outcome)
    }

    fn decide_batch(&self, events: &[&Draft<'_>], turn: &mut Turn) -> Result<Vec<Verdict>, WasmFault> {
        let outcomes =
            self.call(events.len(), turn, |instance, limits| instance.transform_batch(events, limits))?;
        events.iter().zip(outcomes).map(|(event, outcome)| self.judge(event, outcome)).collect()
    }

    fn judge(&self, event: &Draft<'_>, outcome: Outcome) -> Result<Verdict, WasmFault> {
        let (answer, verdict) = verdict(event, outcome)?;
        self.meter.answer(answer);
        Ok(verdict)
    }

    fn decide_welcome(&self, visitor: &Visitor<'_>, turn: &mut Turn) -> Result<Welcome, WasmFault> {
        let said = self.call(1, turn, |instance, limits| instance.welcome(visitor, limits))?;
        let (answer, welcome) = match said {
            WelcomeOut::Admit => (Answer::Admit, Welcome::Admit),
            WelcomeOut::Refuse(reason) => (Answer::Refuse, Welcome::Refuse(reason)),
            WelcomeOut::Greet(events) => (Answer::Greet, Welcome::Greet(greeting(visitor, events)?)),
        };
        self.meter.answer(answer);
        Ok(welcome)
    }

    fn decide_tick(&self, turn: &mut Turn) -> Result<Vec<Draft<'static>>, WasmFault> {
        let events = self.call(1, turn, Instance::tick)?;
        let drafts = drafts(events)?;
        self.meter.answer(Answer::Tick);
        Ok(drafts)
    }

    /// Runs one decision by the rules of the breaker; the fault's text when there is none, and then no state has changed.
    /// `about` goes to the log.
    fn guarded<T>(
        &self,
        about: &str,
        now: Timestamp,
        turn: &mut Turn,
        decide: impl FnOnce(&mut Turn) -> Result<T, WasmFault>,
    ) -> Result<T, String> {
        if !self.breaker.allows(now) {
            self.meter.rested();
            return Err("it rests after many faults in a row".to_owned());
        }
        let decided = decide(turn);
        if let Some(kv) = turn.get::<OpenKv>() {
            kv.end_call(decided.is_ok());
        }
        match decided {
            Ok(decision) => {
                self.breaker.success();
                Ok(decision)
            }
            Err(fault) => {
                self.meter.fault(fault.kind);
                let handler = self.shared.name.as_str();
                tracing::debug!(handler, about, "handler failed: {fault}");
                if let Some(pause_ms) = self.breaker.fault(now) {
                    tracing::warn!(
                        handler,
                        pause_ms,
                        "handler rests after many faults in a row, the last: {fault}"
                    );
                }
                Err(fault.text)
            }
        }
    }

    /// How many of `events`, at least one, go into a batch: together they are no larger than an answer may be, so that
    /// they find room in the memory of an instance.
    fn as_many_as_fit(&self, events: &[&Draft<'_>]) -> usize {
        let mut bytes = 0;
        let fits = |event: &&&Draft<'_>| {
            bytes += event.data.len() as u64;
            bytes <= self.config.output_bytes
        };
        events.iter().take_while(fits).count().max(1)
    }

    /// Whether its code wants to be told that time has passed.
    #[must_use]
    pub fn ticks(&self) -> bool {
        self.current.read().module().tick.is_some()
    }

    fn failed(&self, event: &Draft<'_>, fault: &str) -> Result<Verdict, Fault> {
        match self.config.on_fault {
            Policy::Reject => Err(Fault(fault.to_owned())),
            Policy::Pass => Ok(Verdict::Pass),
            Policy::Drop => Ok(Verdict::Drop),
            Policy::DeadLetter => Ok(Verdict::Emit(vec![self.dead_letter(event, fault)])),
        }
    }

    fn dead_letter(&self, event: &Draft<'_>, fault: &str) -> Draft<'static> {
        let letter = serde_json::json!({
            "topic": event.topic, "event": event.event, "id": event.id, "data": event.data,
            "handler": self.shared.name, "fault": fault,
        });
        Draft::new(self.config.dead_letter.clone(), letter.to_string()).with_event(DEAD_LETTER)
    }
}

impl Handler for WasmHandler {
    fn handle(&self, event: &Draft<'_>, now: Timestamp, turn: &mut Turn) -> Result<Verdict, Fault> {
        let decided = self.guarded(&event.topic, now, turn, |turn| self.decide(event, turn));
        decided.or_else(|fault| self.failed(event, &fault))
    }

    fn batches(&self) -> bool {
        self.current.read().module().transform_batch.is_some()
    }

    fn handle_batch(
        &self,
        mut events: &[&Draft<'_>],
        now: Timestamp,
        turn: &mut Turn,
    ) -> Vec<Result<Verdict, Fault>> {
        let mut answers = Vec::with_capacity(events.len());
        while let Some(first) = events.first() {
            let (now_these, later) = events.split_at(self.as_many_as_fit(events));
            events = later;
            match self.guarded(&first.topic, now, turn, |turn| self.decide_batch(now_these, turn)) {
                Ok(verdicts) => answers.extend(verdicts.into_iter().map(Ok)),
                Err(fault) => answers.extend(now_these.iter().map(|event| self.failed(event, &fault))),
            }
        }
        answers
    }

    fn welcomes(&self) -> bool {
        self.current.read().module().on_subscribe.is_some()
    }

    /// A handler that decides who may read, and fails, admits nobody, unless its policy is to be as if it were not there.
    fn welcome(&self, visitor: &Visitor<'_>, now: Timestamp, turn: &mut Turn) -> Result<Welcome, Fault> {
        let topic = visitor.topics.first().copied().unwrap_or_default();
        let decided = self.guarded(topic, now, turn, |turn| self.decide_welcome(visitor, turn));
        decided.or_else(|fault| match self.config.on_fault {
            Policy::Pass => Ok(Welcome::Admit),
            Policy::Reject | Policy::Drop | Policy::DeadLetter => Err(Fault(fault)),
        })
    }

    fn tick(&self, now: Timestamp, turn: &mut Turn) -> Result<Vec<Draft<'static>>, Fault> {
        self.guarded("tick", now, turn, |turn| self.decide_tick(turn)).map_err(Fault)
    }

    fn stats(&self) -> Option<HandlerStats> {
        Some(self.meter.snapshot(self.shared.kv.bytes()))
    }
}

impl fmt::Debug for WasmHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmHandler").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// A handler on a workbench: loaded like any other, with state of its own, and called by hand.
#[derive(Debug)]
pub struct Trial(Pool);

impl Trial {
    /// Loads a handler from the bytes of a file, without trying it. `name` is what messages call a script.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn new(runtime: &Runtime, name: &str, bytes: &[u8], config: &Config) -> Result<Self, LoadError> {
        let values = config.values().map_err(|error| LoadError::Start(error.to_string()))?;
        loaded(runtime, name, bytes, values, config, config.log_bytes, AtWork::No)
    }

    /// What it answers to one event.
    ///
    /// # Errors
    /// [`WasmFault`] when it fails.
    pub fn call(&self, event: &Draft<'_>) -> Result<Verdict, WasmFault> {
        self.with(|instance, limits| {
            let outcome = instance.transform(event, limits)?;
            verdict(event, outcome).map(|(_, verdict)| verdict)
        })
    }

    /// What it says to a reader.
    ///
    /// # Errors
    /// [`WasmFault`] when it fails.
    pub fn welcome(&self, visitor: &Visitor<'_>) -> Result<Welcome, WasmFault> {
        self.with(|instance, limits| {
            Ok(match instance.welcome(visitor, limits)? {
                WelcomeOut::Admit => Welcome::Admit,
                WelcomeOut::Refuse(reason) => Welcome::Refuse(reason),
                WelcomeOut::Greet(events) => Welcome::Greet(greeting(visitor, events)?),
            })
        })
    }

    /// Calls an instance; what it has changed in its state stays if it has not failed.
    fn with<T>(
        &self,
        call: impl FnOnce(&mut Instance, &Limits) -> Result<T, WasmFault>,
    ) -> Result<T, WasmFault> {
        let kv = self.0.shared().kv.open();
        let answer = self.0.with(true, call)?;
        Box::new(kv).commit();
        Ok(answer)
    }

    /// Whether an instance of it starts, and its `transform` has the type that the contract says.
    ///
    /// # Errors
    /// [`WasmFault`] when not.
    pub fn start(&self) -> Result<(), WasmFault> {
        self.0.start()
    }

    /// What it is made of.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.0.module().about
    }

    /// The bytes of a file with its compiled code, for builds that do not compile; taken with `handler.precompiled`.
    ///
    /// # Errors
    /// [`LoadError::Compile`] when it is too long for a file.
    #[cfg(feature = "wasm-jit")]
    pub fn compiled(&self) -> Result<Vec<u8>, LoadError> {
        self.0.module().artifact()
    }
}

/// The name that a file gives its handler: `tally` of `handlers/tally.wasm`.
#[must_use]
pub fn name_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| "handler".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Whether events wait for this code, or go on with the code that there is.
#[derive(Clone, Copy)]
enum AtWork {
    No,
    Yes,
}

impl AtWork {
    fn compile(
        self,
        compile: impl FnOnce() -> Result<Module, LoadError> + Send,
    ) -> Result<Module, LoadError> {
        match self {
            #[cfg(feature = "wasm-jit")]
            Self::Yes => crate::apart::apart(compile),
            _ => compile(),
        }
    }
}

/// Loads code onto a workbench of its own. What a script exports is known when it has run once: the instance that has shown it is
/// there for the first call.
fn loaded(
    runtime: &Runtime,
    name: &str,
    bytes: &[u8],
    values: Vec<(String, String)>,
    config: &Config,
    log_bytes: u64,
    at_work: AtWork,
) -> Result<Trial, LoadError> {
    let mut module = at_work.compile(|| load::load(runtime, name, bytes, config))?;
    let shared = Arc::new(Shared::new("trial", values, config.state_bytes, log_bytes));
    let (meter, limits) = (Arc::default(), Limits::of(config));
    let mut first = None;
    if module.about.script {
        let limits = limits.clone().for_code(true);
        let kv = shared.kv.open();
        let _running = runtime.running();
        let mut instance = Instance::new(runtime, &module, &shared, &meter, &limits, true)
            .map_err(|fault| LoadError::Start(fault.text))?;
        Box::new(kv).commit();
        module.keep(instance.keep_found());
        first = Some(instance);
    }
    let pool = Pool::new(runtime.clone(), Arc::new(module), shared, meter, limits);
    if let Some(first) = first {
        pool.put(first);
    }
    Ok(Trial(pool))
}

/// Loads code and sees it through a first event, so that what cannot work at all is found before real events meet it.
/// What it answers does not matter, and neither does a trap: it may rightly want another kind of event.
fn ready(
    runtime: &Runtime,
    name: &str,
    bytes: &[u8],
    config: &Config,
    at_work: AtWork,
) -> Result<Arc<Module>, LoadError> {
    let values = config.values().map_err(|error| LoadError::Start(error.to_string()))?;
    let trial = loaded(runtime, name, bytes, values, config, 0, at_work)?;
    let event = Draft::new("trial", "{}");
    let reader = Visitor { topics: vec!["trial"], ..Visitor::default() };
    let calls: [&dyn Fn() -> Result<(), WasmFault>; 4] = [
        &|| trial.call(&event).map(drop),
        &|| trial.with(|instance, limits| instance.transform_batch(&[&event, &event], limits)).map(drop),
        &|| trial.welcome(&reader).map(drop),
        &|| drafts(trial.with(Instance::tick)?).map(drop),
    ];
    for call in calls {
        match call() {
            Err(fault) if fault.kind == FaultKind::Answer => return Err(LoadError::Contract(fault.text)),
            Err(fault) if matches!(fault.kind, FaultKind::Start | FaultKind::Timeout | FaultKind::Stack) => {
                return Err(LoadError::Start(fault.text));
            }
            _ => {}
        }
    }
    Ok(trial.0.shared_module())
}

/// Notes that code wants the key-value store, where it says so: all scripts can have it, and few want it.
fn want_kv(shared: &Shared, module: &Module) {
    let About { script, imports, .. } = &module.about;
    if !script && imports.contains(&interface(KV)) {
        shared.kv.want();
    }
}
