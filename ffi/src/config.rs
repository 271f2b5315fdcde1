//! Configuration: the hub's own table of options, by key and text.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ::fanfare_hub::engine::Code;
use ::fanfare_hub::{LoadError, Loader, keys};

use crate::abi::{Extensible, fanfare_str, write};
use crate::failure::Failure;
use crate::guard::call;
use crate::item::{FANFARE_ACTION_CLOSE, FANFARE_ACTION_PUBLISH, FANFARE_ACTION_SUBSCRIBE};
use crate::process;
use crate::settings::{Config, Settings, refused};
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};
use crate::table::Kind;
use crate::text::lasting;
use crate::version::FANFARE_ABI_VERSION;

/// Options for `fanfare_start`. A handle. One thread at a time.
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_config {
    _private: [u8; 0],
}

/// The settings of a config handle; NULL is all defaults.
pub(crate) fn settings(config: *const fanfare_config) -> Result<Settings, Failure> {
    if config.is_null() {
        return Ok(Settings::default());
    }
    Ok(find(config)?.settings.lock().clone())
}

fn find(config: *const fanfare_config) -> Result<Arc<Config>, Failure> {
    process::find(config, |process| &process.configs, Kind::Config)
}

/// NUL-terminated UTF-8.
///
/// # Safety
/// `text` is NULL or NUL-terminated.
unsafe fn c_text<'a>(text: *const c_char, name: &'static str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: NUL-terminated by contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::format(Code::InvalidConfig, move |f| write!(f, "{name} is not UTF-8")))
}

/// Makes a configuration with every option at its default. `abi_version` is `FANFARE_ABI_VERSION` of your header.
/// *Returns owned*: free it with `fanfare_config_free`. Any thread.
///
/// Errors: `NULL_POINTER`; `ABI_MISMATCH` when this library cannot serve that header.
///
/// # Safety
/// `config` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_new(
    abi_version: u32,
    config: *mut *mut fanfare_config,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if config.is_null() {
            return Err(Failure::null("config"));
        }
        if abi_version != FANFARE_ABI_VERSION {
            return Err(Failure::format(Code::AbiMismatch, move |f| {
                write!(f, "the header has ABI version {abi_version}, this library {FANFARE_ABI_VERSION}")
            }));
        }
        let handle = process::tables().configs.insert(Arc::new(Config::default()))?;
        // SAFETY: not NULL, and writable by contract.
        unsafe { config.write_unaligned(handle) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Sets one option from text, as in `fanfare --set KEY=VALUE`; docs/configuration.md lists them, and so does
/// `fanfare_config_key`. A later call wins. *Borrows* both texts, NUL-terminated UTF-8.
///
/// Errors: `INVALID_CONFIG` names the key and what is expected, and for an unknown key the nearest one.
///
/// # Safety
/// `key` and `value` are NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_set(
    config: *mut fanfare_config,
    key: *const c_char,
    value: *const c_char,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        // SAFETY: NULL or NUL-terminated by contract.
        let key = unsafe { c_text(key, "key") }?;
        // SAFETY: as above.
        let value = unsafe { c_text(value, "value") }.map_err(|error| {
            let key = key.to_owned();
            Failure::format(error.code(), move |f| write!(f, "{key}: {error}"))
        })?;
        let config = find(config)?;
        let mut settings = config.settings.lock();
        settings.loader.begin_flags();
        settings.loader.flag("fanfare_config_set", key, value).map_err(refused)?;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Sets options from TOML text, as in the file of `fanfare --config`; `name` is what messages call it (NULL: "configuration"). What the
/// text sets wins over what was set before. *Borrows* both. On error nothing of the text is set.
///
/// Errors: `INVALID_CONFIG` with `name:line`.
///
/// # Safety
/// `toml` is readable; `name` is NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_toml(
    config: *mut fanfare_config,
    toml: fanfare_str,
    name: *const c_char,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        // SAFETY: by contract.
        let toml = unsafe { toml.required("toml", Code::InvalidConfig) }?;
        // SAFETY: by contract.
        let name = if name.is_null() { "configuration" } else { unsafe { c_text(name, "name") }? };
        load(config, |loader| loader.text(name, toml))
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Sets options from a TOML file. What the file sets wins over what was set before. *Borrows* the path. On error nothing is set.
///
/// Errors: `INVALID_CONFIG` with `path:line`.
///
/// # Safety
/// `path` is NULL or NUL-terminated; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_file(
    config: *mut fanfare_config,
    path: *const c_char,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        // SAFETY: by contract.
        let path = unsafe { c_text(path, "path") }?;
        load(config, |loader| loader.file(Path::new(path)))
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

fn load(
    config: *mut fanfare_config,
    load: impl FnOnce(&mut Loader) -> Result<(), LoadError>,
) -> Result<fanfare_status, Failure> {
    let config = find(config)?;
    let mut settings = config.settings.lock();
    let mut loader = settings.loader.clone();
    load(&mut loader).map_err(refused)?;
    settings.loader = loader;
    Ok(FANFARE_OK)
}

/// Writes the value of an option to `value` as text with a NUL, cut to `capacity` bytes; `*len` gets its length without
/// the NUL, so that a caller knows whether it was cut. `value` may be NULL when `capacity` is 0.
///
/// Errors: `INVALID_CONFIG` for an unknown key.
///
/// # Safety
/// `key` is NULL or NUL-terminated; `value` is writable for `capacity` bytes; `len` is NULL or writable; `err` is NULL or as
/// `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_get(
    config: *const fanfare_config,
    key: *const c_char,
    value: *mut c_char,
    capacity: usize,
    len: *mut usize,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        // SAFETY: by contract.
        let key = unsafe { c_text(key, "key") }?;
        if value.is_null() && capacity > 0 {
            return Err(Failure::null("value"));
        }
        let config = find(config)?;
        let settings = config.settings.lock();
        let Some(found) = keys::find(key) else {
            // The loader's own words, with the nearest key.
            let error = settings.loader.clone().flag("fanfare_config_get", key, "").err();
            return Err(error.map_or_else(|| Failure::new(Code::Internal, "no such key"), refused));
        };
        let text = found.get(settings.loader.config());
        if let Some(room) = capacity.checked_sub(1) {
            let bytes = &text.as_bytes()[..text.len().min(room)];
            // SAFETY: `capacity` bytes are writable by contract, which is one more than is copied at most.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.cast(), bytes.len());
                value.add(bytes.len()).write(0);
            }
        }
        if !len.is_null() {
            // SAFETY: writable by contract.
            unsafe { len.write_unaligned(text.len()) };
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Lets the host decide about requests to the hub's own listener: `actions` is a sum of `FANFARE_ACTION_*`. Each such request
/// becomes a `FANFARE_ITEM_REQUEST` and waits for `fanfare_accept` or `fanfare_reject`, for `timeouts.authorize` at most: then it is refused
/// with 503, but an `EventSource`, which gives up for ever on that, is given a stream that ends at once and comes back.
///
/// Errors: `INVALID_PARAMETER` for an unknown action.
///
/// # Safety
/// `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_authorize(
    config: *mut fanfare_config,
    actions: u32,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let known = FANFARE_ACTION_SUBSCRIBE | FANFARE_ACTION_PUBLISH | FANFARE_ACTION_CLOSE;
        if actions & !known != 0 {
            let message = move |f: &mut std::fmt::Formatter<'_>| {
                write!(f, "actions {actions:#x}: only FANFARE_ACTION_* ({known:#x}) are known")
            };
            return Err(Failure::format(Code::InvalidParameter, message));
        }
        find(config)?.settings.lock().authorize = actions;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Frees a configuration and sets `*config` to NULL. *Takes* it. NULL, and one that is freed already, are fine. Never fails.
///
/// # Safety
/// `config` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_free(config: *mut *mut fanfare_config) {
    if config.is_null() {
        return;
    }
    // SAFETY: writable by contract.
    let handle = unsafe { config.read_unaligned() };
    let body = || {
        if !handle.is_null() {
            process::remove(handle, |process| &process.configs, Kind::Config)?;
        }
        Ok(FANFARE_OK)
    };
    // A stale handle has been freed before, which is all that is wanted.
    // SAFETY: NULL is allowed.
    if unsafe { call(std::ptr::null_mut(), body) } != Code::Deadlock.number() {
        // SAFETY: writable by contract.
        unsafe { config.write_unaligned(std::ptr::null_mut()) };
    }
}

/// One option, for documentation and for bindings. The texts live for ever.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_key {
    /// `sizeof(fanfare_key)`, set by the caller.
    pub size: usize,
    /// `history.events`
    pub name: *const c_char,
    /// What its values look like, with their range.
    pub expects: *const c_char,
    /// Its default, as text.
    pub default_value: *const c_char,
    /// Effect, unit and special values.
    pub doc: *const c_char,
    /// Which part of the hub it belongs to: `engine`, `server` or `hub`.
    pub part: *const c_char,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_key {
    const NAME: &'static str = "fanfare_key";
}

struct KeyText {
    name: &'static CStr,
    expects: &'static CStr,
    default_value: &'static CStr,
    doc: &'static CStr,
    part: &'static CStr,
}

fn key_texts() -> &'static [KeyText] {
    static KEYS: OnceLock<Vec<KeyText>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let text = |key: keys::Key| KeyText {
            name: lasting(key.name()),
            expects: lasting(&key.kind().expected()),
            default_value: lasting(key.default_text()),
            doc: lasting(&key.doc()),
            part: lasting(key.part()),
        };
        keys::all().map(text).collect()
    })
}

/// Describes the option with this index, from 0 on. `FANFARE_AGAIN` when there are no more. Set `key->size` first. Any thread.
///
/// # Safety
/// `key` is NULL or as `fanfare_key` says; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_config_key(
    index: usize,
    key: *mut fanfare_key,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if key.is_null() {
            return Err(Failure::null("key"));
        }
        let Some(text) = key_texts().get(index) else { return Ok(FANFARE_AGAIN) };
        let value = fanfare_key {
            size: 0,
            name: text.name.as_ptr(),
            expects: text.expects.as_ptr(),
            default_value: text.default_value.as_ptr(),
            doc: text.doc.as_ptr(),
            part: text.part.as_ptr(),
        };
        // SAFETY: not NULL, and as the structure says by contract.
        unsafe { write(key, &value) }?;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
