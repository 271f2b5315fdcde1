//! The instances of one piece of code.
//!
//! An instance serves one event at a time. Whoever has an event takes an idle instance, the most recently used first, makes
//! one when there is none and the limit allows it, or waits. So there are as many instances as events were ever
//! under way at once, and under steady load the same few stay warm.
//!
//! An instance ends, and the next event gets a new one, when it has failed in any way (nothing of a failed call is
//! seen by a later one), has served its number of events, or holds most of the memory that it may.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::config::Isolation;
use crate::fault::{FaultKind, WasmFault};
use crate::host::Shared;
use crate::instance::{Instance, Limits};
use crate::load::Module;
use crate::meter::Meter;
use crate::runtime::Runtime;

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

#[derive(Debug, Default)]
struct Instances {
    idle: Vec<Instance>,
    /// Idle ones and those in use.
    all: usize,
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
        limits: Limits,
    ) -> Self {
        let limits = limits.for_code(module.about.script);
        Self { runtime, module, shared, meter, limits, instances: Mutex::default(), returned: Condvar::new() }
    }

    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    pub(crate) fn shared_module(&self) -> Arc<Module> {
        Arc::clone(&self.module)
    }

    /// Takes an instance in that was made of this code, for this pool, before there was one.
    pub(crate) fn put(&self, instance: Instance) {
        let mut instances = self.instances.lock();
        instances.all += 1;
        instances.idle.push(instance);
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Calls an instance. `has_kv`: the caller has opened the key-value store; before it waits here for an instance, for those
    /// who wait for the store must not hold all of them.
    pub(crate) fn with<T>(
        &self,
        has_kv: bool,
        call: impl FnOnce(&mut Instance, &Limits) -> Result<T, WasmFault>,
    ) -> Result<T, WasmFault> {
        let (instance, permit) = self.take()?;
        // From here on the clock of deadlines runs, for making an instance runs code too.
        let _running = self.runtime.running();
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.make(has_kv)?,
        };
        instance.with_kv(has_kv);
        match call(&mut instance, &self.limits) {
            Ok(outcome) if instance.is_good(&self.limits) => {
                std::mem::forget(permit);
                self.instances.lock().idle.push(instance);
                self.returned.notify_one();
                Ok(outcome)
            }
            outcome => {
                self.meter.memory(instance.memory());
                if self.limits.isolation == Isolation::Shared {
                    self.meter.recycled();
                }
                drop(instance);
                drop(permit);
                outcome
            }
        }
    }

    /// Sees that an instance starts; one that there is already has.
    pub(crate) fn start(&self) -> Result<(), WasmFault> {
        if !self.instances.lock().idle.is_empty() {
            return Ok(());
        }
        let _running = self.runtime.running();
        self.make(true).map(drop)
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

    fn make(&self, has_kv: bool) -> Result<Instance, WasmFault> {
        Instance::new(&self.runtime, &self.module, &self.shared, &self.meter, &self.limits, has_kv)
    }
}
