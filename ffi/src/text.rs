//! NUL-terminated text that lives for ever, for tables that are made once.

use std::ffi::{CStr, CString};

/// `text` with a NUL behind it, until the process ends. Only for tables of fixed size: it is never freed.
pub(crate) fn lasting(text: &str) -> &'static CStr {
    let text: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    Box::leak(CString::new(text).unwrap_or_default().into_boxed_c_str())
}
