//! Versions.

use std::ffi::c_char;

/// Version of this header. It changes when a program has to be compiled again.
pub const FANFARE_ABI_VERSION: u32 = 1;

/// The library's own `FANFARE_ABI_VERSION`; a difference to your header's means that they do not belong together.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_abi_version() -> u32 {
    FANFARE_ABI_VERSION
}

/// The library's version, for example `0.1.0`. *Returns borrowed*, valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    VERSION.as_ptr()
}
