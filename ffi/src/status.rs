//! What every call answers: a number, and a text for those who want it.

use std::ffi::{CStr, c_char};
use std::fmt::{self, Write};
use std::sync::OnceLock;

use ::fanfare_hub::engine::Code;

use crate::failure::Failure;

/// Outcome of a call: 0 is done, positive is done with something to know, negative is refused and nothing has changed.
/// Numbers are frozen: `FANFARE_ERR_*`.
#[allow(non_camel_case_types, reason = "the C name")]
pub type fanfare_status = i32;

/// Done.
pub const FANFARE_OK: fanfare_status = 0;
/// Done, and there is nothing more now; or the time is over and there was nothing.
pub const FANFARE_AGAIN: fanfare_status = 1;

/// Bytes of a message, the NUL at its end included.
pub const FANFARE_ERROR_MESSAGE_BYTES: usize = 496;

/// Room for the reason of a failure: the caller's own memory, written only when a call fails. Set `size` first
/// (`FANFARE_ERROR_INIT`). Every function takes NULL instead.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_error {
    /// `sizeof(fanfare_error)`.
    pub size: usize,
    /// The status that the call returned.
    pub code: fanfare_status,
    /// `errno` of the system call that failed, or 0.
    pub os_errno: i32,
    /// What is wrong and where, for people: UTF-8, NUL-terminated, cut at a character if it is too long.
    pub message: [c_char; FANFARE_ERROR_MESSAGE_BYTES],
}

/// Where the message begins.
const MESSAGE_AT: usize = std::mem::offset_of!(fanfare_error, message);

/// Writes the failure to the caller's memory, as much as fits.
///
/// # Safety
/// `err` is NULL or writable for the number of bytes that its first field says.
pub(crate) unsafe fn report(err: *mut fanfare_error, failure: &Failure) -> fanfare_status {
    let number = failure.code().number();
    if err.is_null() {
        return number;
    }
    // SAFETY: at least the size is readable.
    let size = unsafe { (&raw const (*err).size).read_unaligned() };
    // An unset size leaves nothing that may be written; sizes beyond ours belong to newer callers.
    if !(MESSAGE_AT + 1..=64 * 1024).contains(&size) {
        return number;
    }
    // SAFETY: `size` bytes are writable, which is beyond the two numbers.
    unsafe {
        (&raw mut (*err).code).write_unaligned(number);
        (&raw mut (*err).os_errno).write_unaligned(failure.os_errno());
    }
    let room = size.min(size_of::<fanfare_error>()) - MESSAGE_AT;
    let mut text = Bounded { text: [0; FANFARE_ERROR_MESSAGE_BYTES], len: 0, room: room - 1 };
    // A text that does not fit is cut; it cannot fail otherwise.
    let _ = write!(text, "{failure}");
    // SAFETY: `room` bytes are writable from the message on, and the text with its NUL is not longer.
    unsafe {
        let message = (&raw mut (*err).message).cast::<u8>();
        std::ptr::copy_nonoverlapping(text.text.as_ptr(), message, text.len);
        message.add(text.len).write(0);
    }
    number
}

/// Text up to a number of bytes, cut at a character.
struct Bounded {
    text: [u8; FANFARE_ERROR_MESSAGE_BYTES],
    len: usize,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let mut utf8 = [0; 4];
            // A NUL inside would end the text for C.
            let c = if c == '\0' { '\u{fffd}' } else { c };
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            if self.len + bytes.len() > self.room {
                return Err(fmt::Error);
            }
            self.text[self.len..self.len + bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }
        Ok(())
    }
}

/// The stable name of a status, for example `invalid_topic`: `ok`, `again`, the codes of HTTP answers and of
/// this header, or `unknown`. *Returns borrowed*, valid for ever. Any thread; never fails.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_code_name(status: fanfare_status) -> *const c_char {
    text_of(status).name.as_ptr()
}

/// What a status means, in a sentence. *Returns borrowed*, valid for ever. Any thread; never fails.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_strerror(status: fanfare_status) -> *const c_char {
    text_of(status).meaning.as_ptr()
}

/// The number of a stable name, for bindings: 0 for `ok`, or `FANFARE_ERR_*`; `INT32_MIN` when there is no such name.
/// Any thread; never fails.
///
/// # Safety
/// `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_code_number(name: *const c_char) -> fanfare_status {
    if name.is_null() {
        return i32::MIN;
    }
    // SAFETY: NUL-terminated by contract.
    let name = unsafe { CStr::from_ptr(name) };
    texts().iter().find(|text| text.name == name).map_or(i32::MIN, |text| text.status)
}

struct Text {
    status: fanfare_status,
    name: &'static CStr,
    meaning: &'static CStr,
}

fn text_of(status: fanfare_status) -> &'static Text {
    static UNKNOWN: Text =
        Text { status: i32::MIN, name: c"unknown", meaning: c"A status that this version does not know." };
    texts().iter().find(|text| text.status == status).unwrap_or(&UNKNOWN)
}

/// The engine's table with NUL bytes behind its texts, and the two that are no errors.
fn texts() -> &'static [Text] {
    static TEXTS: OnceLock<Vec<Text>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let mut texts = vec![
            Text { status: FANFARE_OK, name: c"ok", meaning: c"Done." },
            Text { status: FANFARE_AGAIN, name: c"again", meaning: c"Done, and there is nothing more now." },
        ];
        texts.extend(Code::ALL.iter().map(|code| Text {
            status: code.number(),
            name: crate::text::lasting(code.as_str()),
            meaning: crate::text::lasting(code.doc()),
        }));
        texts
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(size: usize) -> fanfare_error {
        fanfare_error { size, code: 77, os_errno: 77, message: [77; FANFARE_ERROR_MESSAGE_BYTES] }
    }

    fn text(error: &fanfare_error) -> String {
        // SAFETY: the message has been written with its NUL.
        unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_failure_fills_the_callers_memory() {
        let mut error = room(size_of::<fanfare_error>());
        // SAFETY: it says its own size.
        let status = unsafe { report(&raw mut error, &Failure::new(Code::InvalidTopic, "no\0thing").os(98)) };
        assert_eq!((status, error.code, error.os_errno), (-1, -1, 98));
        assert_eq!(text(&error), "no\u{fffd}thing");
    }

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        let mut error = room(MESSAGE_AT + 4);
        // SAFETY: it says less than its size.
        unsafe { report(&raw mut error, &Failure::new(Code::InvalidTopic, "aéé")) };
        assert_eq!((text(&error).as_str(), error.message[4]), ("aé", 77));
    }

    #[test]
    fn unset_sizes_are_left_alone() {
        for size in [0, MESSAGE_AT, usize::MAX] {
            let mut error = room(size);
            // SAFETY: such a size keeps everything from being written.
            unsafe { report(&raw mut error, &Failure::new(Code::InvalidTopic, "x")) };
            assert_eq!(error.code, 77);
        }
    }

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for code in Code::ALL {
            // SAFETY: texts are NUL-terminated.
            let (name, number) = unsafe {
                let name = fanfare_code_name(code.number());
                (CStr::from_ptr(name), fanfare_code_number(name))
            };
            assert_eq!((name.to_str(), number), (Ok(code.as_str()), code.number()));
        }
        // SAFETY: NUL-terminated literals.
        unsafe {
            assert_eq!(fanfare_code_number(c"ok".as_ptr()), 0);
            assert_eq!(fanfare_code_number(c"nonsense".as_ptr()), i32::MIN);
            assert_eq!(CStr::from_ptr(fanfare_code_name(4711)), c"unknown");
        }
    }
}
