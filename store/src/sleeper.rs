//! A thread that sleeps until a waker wakes it.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Sleeper(thread::current())));
}

/// What wakes this thread.
pub(crate) fn waker() -> Waker {
    // A thread that ends has no such variable any more, but may still wait.
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| Waker::from(Arc::new(Sleeper(thread::current()))))
}

/// Sleeps until there is something. Others may wake the thread for reasons of theirs.
pub(crate) fn until<R>(mut something: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(result) = something() {
            return result;
        }
        thread::park();
    }
}
