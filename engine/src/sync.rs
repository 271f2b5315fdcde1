//! The only door to locks and atomics, so that loom can stand in for them.
//!
//! Locks do not poison: a panic inside a critical section of this crate is a bug of ours, and no critical
//! section runs foreign code. `Arc` is std's in both builds; loom sees every lock and atomic.

pub(crate) use std::sync::Arc;

#[cfg(not(loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loom)]
pub(crate) use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// loom's mutex with the non-poisoning signature.
#[cfg(loom)]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("loom locks are not poisoned")
    }
}

/// loom's read-write lock with the non-poisoning signature.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

#[cfg(loom)]
impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().expect("loom locks are not poisoned")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().expect("loom locks are not poisoned")
    }
}

/// A waker for models: wakes the loom thread that waits.
#[cfg(all(test, loom))]
#[derive(Debug)]
pub(crate) struct Bell(loom::sync::Notify);

#[cfg(all(test, loom))]
impl Bell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(loom::sync::Notify::new()))
    }

    pub(crate) fn wait(&self) {
        self.0.wait();
    }
}

#[cfg(all(test, loom))]
impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}
