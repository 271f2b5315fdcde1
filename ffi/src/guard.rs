//! The edge of every exported function: no panic leaves it, and nobody calls from inside a wake-up.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::fanfare_hub::engine::{Code, failpoint};

use crate::failure::Failure;
use crate::status::{fanfare_error, fanfare_status, report};

thread_local! {
    /// Whether this thread is inside the host's wake-up callback.
    static IN_WAKEUP: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of an exported function; its failure goes to `err`.
///
/// # Safety
/// `err` is NULL or writable for the number of bytes that its first field says.
pub(crate) unsafe fn call(
    err: *mut fanfare_error,
    body: impl FnOnce() -> Result<fanfare_status, Failure>,
) -> fanfare_status {
    let failure = if IN_WAKEUP.get() {
        Failure::new(
            Code::Deadlock,
            "a wake-up callback must not call into libfanfare: it notes the wake-up and returns",
        )
    } else {
        let body = || {
            failpoint::reach("ffi.call");
            body()
        };
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(status)) => return status,
            Ok(Err(failure)) => failure,
            Err(panic) => panicked(&*panic),
        }
    };
    // SAFETY: the same contract.
    unsafe { report(err, &failure) }
}

/// Runs the host's callback.
pub(crate) fn in_wakeup(callback: impl FnOnce()) {
    // One may run inside another: a call that it makes is refused, and drops the wake-up that the call was given.
    let _outer = Outer(IN_WAKEUP.replace(true));
    callback();
}

/// Says again what was said before, also when the callback does not return.
struct Outer(bool);

impl Drop for Outer {
    fn drop(&mut self) {
        IN_WAKEUP.set(self.0);
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&'static str>().copied()).unwrap_or("no message");
    Failure::new(Code::Panicked, format!("a fault inside libfanfare, please report it: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        // SAFETY: no room for an error.
        let status = unsafe { call(std::ptr::null_mut(), || panic!("boom")) };
        assert_eq!(status, Code::Panicked.number());
    }

    #[test]
    fn calls_from_a_wakeup_are_refused() {
        let mut status = 0;
        in_wakeup(|| {
            in_wakeup(|| {});
            // SAFETY: no room for an error.
            status = unsafe { call(std::ptr::null_mut(), || Ok(0)) };
        });
        assert_eq!(status, Code::Deadlock.number());
        // SAFETY: no room for an error.
        assert_eq!(unsafe { call(std::ptr::null_mut(), || Ok(0)) }, 0);
    }
}
