//! What crosses the boundary by value: text views and extensible structures.
//!
//! An extensible structure begins with its own size, as the caller's header knew it. What an older caller leaves out is
//! zero, and zero means "default" in every field; what a newer caller adds must be zero, or the call is refused, because this
//! library would not do what was asked (the rule of Linux' `openat2`).

use std::ffi::c_char;
use std::ptr;

use ::fanfare_hub::engine::Code;

use crate::failure::Failure;

/// No structure of ours is near that size: a larger one is memory that nobody has filled in.
const MAX_STRUCT_BYTES: usize = 64 * 1024;

/// A view of text or bytes: not NUL-terminated, any length. `{NULL, 0}` means "absent".
///
/// What goes in is copied before the call returns. What comes out lives as long as its function says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_str {
    /// First byte, or NULL.
    pub ptr: *const c_char,
    /// Number of bytes.
    pub len: usize,
}

impl fanfare_str {
    /// Nothing.
    pub(crate) const NONE: fanfare_str = fanfare_str { ptr: ptr::null(), len: 0 };

    /// A view of `text`. Never NULL, also when it is empty.
    pub(crate) fn of(text: &str) -> fanfare_str {
        fanfare_str::of_bytes(text.as_bytes())
    }

    /// A view of `bytes`. Never NULL, also when there are none.
    pub(crate) fn of_bytes(bytes: &[u8]) -> fanfare_str {
        fanfare_str { ptr: bytes.as_ptr().cast(), len: bytes.len() }
    }

    /// The bytes; `None` when absent.
    ///
    /// # Safety
    /// A non-NULL `ptr` is readable for `len` bytes while the result lives.
    pub(crate) unsafe fn bytes<'a>(self, name: &'static str) -> Result<Option<&'a [u8]>, Failure> {
        if self.ptr.is_null() {
            return match self.len {
                0 => Ok(None),
                len => Err(Failure::format(Code::NullPointer, move |f| {
                    write!(f, "{name} is NULL with a length of {len}")
                })),
            };
        }
        if self.len > isize::MAX as usize {
            return Err(Failure::format(Code::InvalidParameter, move |f| {
                write!(f, "{name} has an impossible length")
            }));
        }
        // SAFETY: not NULL, of a possible length, and readable by this function's contract.
        Ok(Some(unsafe { std::slice::from_raw_parts(self.ptr.cast(), self.len) }))
    }

    /// The text; `None` when absent. Text that is not UTF-8 is refused with `code`.
    ///
    /// # Safety
    /// As [`bytes`](Self::bytes).
    #[inline]
    pub(crate) unsafe fn text<'a>(self, name: &'static str, code: Code) -> Result<Option<&'a str>, Failure> {
        // Most texts of most calls are absent.
        if self.ptr.is_null() && self.len == 0 {
            return Ok(None);
        }
        // SAFETY: the same contract.
        unsafe { self.present_text(name, code) }
    }

    /// # Safety
    /// As [`bytes`](Self::bytes).
    unsafe fn present_text<'a>(self, name: &'static str, code: Code) -> Result<Option<&'a str>, Failure> {
        // SAFETY: the same contract.
        let Some(bytes) = (unsafe { self.bytes(name) })? else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let at = error.valid_up_to();
                Err(Failure::format(code, move |f| write!(f, "{name} is not UTF-8 (at byte {at})")))
            }
        }
    }

    /// The text; absent is refused.
    ///
    /// # Safety
    /// As [`bytes`](Self::bytes).
    pub(crate) unsafe fn required<'a>(self, name: &'static str, code: Code) -> Result<&'a str, Failure> {
        // SAFETY: the same contract.
        unsafe { self.text(name, code) }?
            .ok_or_else(|| Failure::format(Code::NullPointer, move |f| write!(f, "{name} is missing")))
    }
}

/// A list of views.
///
/// # Safety
/// `items` is NULL or readable for `len` views.
pub(crate) unsafe fn list<'a, T: Copy>(
    items: *const T,
    len: usize,
    name: &'static str,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if items.is_null() {
        return Err(Failure::format(Code::NullPointer, move |f| {
            write!(f, "{name} is NULL with a length of {len}")
        }));
    }
    if len > isize::MAX as usize / size_of::<T>() || !items.is_aligned() {
        return Err(Failure::format(Code::InvalidParameter, move |f| write!(f, "{name} is not a list")));
    }
    // SAFETY: not NULL, aligned, of a possible length, and readable by this function's contract.
    Ok(unsafe { std::slice::from_raw_parts(items, len) })
}

/// A structure that begins with `size_t size` and in which zero is the default of every other field.
///
/// # Safety
/// `repr(C)`, its first field is `size: usize`, and it is made of numbers and pointers, for which any bytes are a valid value.
pub(crate) unsafe trait Extensible: Copy {
    /// Its C name, for messages.
    const NAME: &'static str;
}

/// All zero.
pub(crate) fn zeroed<T: Extensible>() -> T {
    // SAFETY: all zero bytes are a valid value of an extensible structure.
    unsafe { std::mem::zeroed() }
}

/// Copies a caller's structure. NULL gives all defaults.
///
/// # Safety
/// `from` is NULL, or readable for the number of bytes that its first field says.
pub(crate) unsafe fn read<T: Extensible>(from: *const T) -> Result<T, Failure> {
    if from.is_null() {
        return Ok(zeroed::<T>());
    }
    // SAFETY: at least the size is readable.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size == size_of::<T>() {
        // SAFETY: readable for its whole size, and every value of its bytes is one of a structure of numbers and pointers.
        return Ok(unsafe { from.read_unaligned() });
    }
    check_size::<T>(size)?;
    let mut value = zeroed::<T>();
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are readable there and writable here; the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast::<u8>(), known) };
    // SAFETY: `size` bytes are readable from `from` on.
    let unknown = unsafe { std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known) };
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(Failure::format(Code::TooNew, |f| {
            write!(f, "{} has fields that this version of libfanfare does not know", T::NAME)
        }));
    }
    Ok(value)
}

/// Writes `value` to a caller's structure, as much of it as the caller knows; its `size` stays the caller's.
///
/// # Safety
/// `to` is writable for the number of bytes that its first field says.
pub(crate) unsafe fn write<T: Extensible>(to: *mut T, value: &T) -> Result<(), Failure> {
    // SAFETY: at least the size is readable.
    let size = unsafe { to.cast::<usize>().read_unaligned() };
    check_size::<T>(size)?;
    let head = size_of::<usize>();
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are writable there, `known` of them readable here; the two do not overlap.
    unsafe {
        let (to, from) = (to.cast::<u8>(), ptr::from_ref(value).cast::<u8>());
        ptr::copy_nonoverlapping(from.add(head), to.add(head), known - head);
        ptr::write_bytes(to.add(known), 0, size - known);
    }
    Ok(())
}

/// Whether [`write`](fn@write) can write to a caller's structure.
///
/// # Safety
/// The first field of `to` is readable.
pub(crate) unsafe fn check_room<T: Extensible>(to: *const T) -> Result<(), Failure> {
    // SAFETY: by contract.
    check_size::<T>(unsafe { to.cast::<usize>().read_unaligned() })
}

fn check_size<T: Extensible>(size: usize) -> Result<(), Failure> {
    if (size_of::<usize>()..=MAX_STRUCT_BYTES).contains(&size) {
        return Ok(());
    }
    Err(Failure::format(Code::InvalidParameter, move |f| {
        write!(f, "{0}.size is {size}: set it to sizeof({0})", T::NAME)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Old {
        size: usize,
        a: u64,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct New {
        size: usize,
        a: u64,
        b: u64,
    }

    // SAFETY: repr(C), size first, numbers only.
    unsafe impl Extensible for Old {
        const NAME: &'static str = "old";
    }
    // SAFETY: as above.
    unsafe impl Extensible for New {
        const NAME: &'static str = "new";
    }

    #[test]
    fn an_older_caller_gets_defaults() {
        let old = Old { size: 16, a: 7 };
        // SAFETY: it says its own size.
        let read = unsafe { read((&raw const old).cast::<New>()) }.expect("read");
        assert_eq!(read, New { size: 16, a: 7, b: 0 });
    }

    #[test]
    fn a_newer_caller_must_leave_the_rest_zero() {
        let mut new = New { size: 24, a: 7, b: 0 };
        // SAFETY: it says its own size.
        assert_eq!(unsafe { read((&raw const new).cast::<Old>()) }.expect("read"), Old { size: 24, a: 7 });
        new.b = 1;
        // SAFETY: it says its own size.
        let error = unsafe { read((&raw const new).cast::<Old>()) }.expect_err("too new");
        assert_eq!(error.code(), Code::TooNew);
    }

    #[test]
    fn sizes_nobody_means_are_refused() {
        for size in [0, 7, MAX_STRUCT_BYTES + 1, usize::MAX] {
            let old = Old { size, a: 0 };
            // SAFETY: a size out of range is looked at, and nothing behind it.
            assert_eq!(unsafe { read(&raw const old) }.expect_err("refused").code(), Code::InvalidParameter);
        }
    }

    #[test]
    fn results_fill_what_the_caller_knows() {
        let value = New { size: 24, a: 1, b: 2 };
        let mut old = [Old { size: 16, a: 0 }, Old { size: 99, a: 99 }];
        // SAFETY: the first says its own size.
        unsafe { write(old.as_mut_ptr().cast::<New>(), &value) }.expect("written");
        assert_eq!(old, [Old { size: 16, a: 1 }, Old { size: 99, a: 99 }]);
    }
}
