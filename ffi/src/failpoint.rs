//! The door for tests that want a fault inside: `bindings/c/tests/panics.c`.

use std::ffi::{CStr, c_char};

use ::fanfare_hub::engine::failpoint;

/// The next thread that comes by `place` panics there; the empty name disarms. 1 if a place was still armed.
///
/// # Safety
/// `place` is NUL-terminated.
#[unsafe(export_name = "fanfare_test_fail_at")]
pub(crate) unsafe extern "C" fn fail_at(place: *const c_char) -> i32 {
    // SAFETY: by contract.
    let place = unsafe { CStr::from_ptr(place) };
    i32::from(failpoint::arm(place.to_str().unwrap_or_default()))
}
