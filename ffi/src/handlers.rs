//! Event handlers: loading, unloading, and what they have done.

use std::ffi::c_char;
use std::path::Path;

use ::fanfare_hub::engine::{Code, HandlerInfo, HandlerStats};
use ::fanfare_hub::{HANDLERS, HandlerSource};

use crate::abi::{Extensible, fanfare_str, read, write, zeroed};
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{BlockedSignals, fanfare_hub, find};
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};

/// Room for the name of a handler and its NUL.
pub const FANFARE_HANDLER_NAME_BYTES: usize = 288;

/// The longest name that a caller may give, which leaves room for a number behind it. Names of files have at most as many.
const MAX_NAME_BYTES: usize = 255;
/// The longest topic, and a `*`.
const MAX_TOPICS_BYTES: usize = 256;

/// A handler to load: a `file`, or `bytes` with a `name`. The file is watched, and taken into use when it changes, with the option
/// `handler.reload`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_handler {
    /// `sizeof(fanfare_handler)`.
    pub size: usize,
    /// Whose events pass it: a topic, or with a `*` at the end every topic that begins so. 1 to 256 bytes.
    pub topics: fanfare_str,
    /// Path of a component or core module of WebAssembly, up to `handler.file_bytes`.
    pub file: fanfare_str,
    /// The same in memory, copied before the call returns.
    pub bytes: fanfare_str,
    /// What statistics, the log and `fanfare_unload_handler` call it: 1 to 255 bytes without control characters. With `file` leave it
    /// absent: it is the file's name without its ending.
    pub name: fanfare_str,
    /// What is set for this handler alone, as it follows the file in the option `handlers`:
    /// `event=TYPE;time=5ms;config.KEY=VALUE`. Absent: nothing.
    pub settings: fanfare_str,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_handler {
    const NAME: &'static str = "fanfare_handler";
}

/// A handler of a hub, and what it has done since it was loaded. Reloading its file does not reset it.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_handler_info {
    /// `sizeof(fanfare_handler_info)`, set by the caller.
    pub size: usize,
    /// Events it was called for.
    pub calls: u64,
    /// Events that it let pass unchanged.
    pub passed: u64,
    /// Events that it dropped.
    pub dropped: u64,
    /// Events in whose place it put another one.
    pub replaced: u64,
    /// Events of which it made several.
    pub emitted: u64,
    /// Events that it refused.
    pub rejected: u64,
    /// Calls in which it failed, for whatever reason; `handler.on_fault` decided then.
    pub faults: u64,
    /// Events that `handler.on_fault` decided without a call, while it rested after many faults in a row.
    pub rested: u64,
    /// How long the calls took, all together, in nanoseconds.
    pub time_ns: u64,
    /// Instances of its code now.
    pub instances: u64,
    /// The most memory that any one instance has held, in bytes.
    pub memory_bytes: u64,
    /// Bytes of state that it keeps beside its instances.
    pub state_bytes: u64,
    /// How often its code was exchanged because its file changed.
    pub reloads: u64,
    /// How often new code was refused; the old code went on.
    pub failed_reloads: u64,
    /// Bytes of the name, without the NUL.
    pub name_len: u32,
    /// Bytes of the topics, without the NUL.
    pub topics_len: u32,
    /// Its name, with a NUL behind it.
    pub name: [c_char; FANFARE_HANDLER_NAME_BYTES],
    /// Its topics as they were given, with a NUL behind them.
    pub topics: [c_char; FANFARE_HANDLER_NAME_BYTES],
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_handler_info {
    const NAME: &'static str = "fanfare_handler_info";
}

/// Text for C, with a NUL, cut at a character where it does not fit; its length.
fn c_text(text: &str) -> ([c_char; FANFARE_HANDLER_NAME_BYTES], u32) {
    let len = text.floor_char_boundary(FANFARE_HANDLER_NAME_BYTES - 1);
    let mut out = [0; FANFARE_HANDLER_NAME_BYTES];
    for (room, &byte) in out.iter_mut().zip(&text.as_bytes()[..len]) {
        *room = byte as c_char;
    }
    (out, len as u32)
}

fn info(handler: &HandlerInfo) -> fanfare_handler_info {
    let none = HandlerStats::default();
    let stats = handler.stats.as_ref().unwrap_or(&none);
    let of = |name: &str| stats.outcomes.iter().find(|(outcome, _)| *outcome == name).map_or(0, |(_, n)| *n);
    let (name, name_len) = c_text(&handler.name);
    let (topics, topics_len) = c_text(&handler.topics.to_string());
    fanfare_handler_info {
        size: 0,
        calls: stats.calls,
        passed: of("pass"),
        dropped: of("drop"),
        replaced: of("replace"),
        emitted: of("emit"),
        rejected: of("reject"),
        faults: stats.faults.iter().map(|(_, n)| n).sum(),
        rested: stats.rested,
        time_ns: stats.time_ns,
        instances: stats.instances,
        memory_bytes: stats.memory_bytes,
        state_bytes: stats.state_bytes,
        reloads: stats.reloads,
        failed_reloads: stats.failed_reloads,
        name_len,
        topics_len,
        name,
        topics,
    }
}

/// Whether this library can run handlers at all.
fn in_this_build() -> Result<(), Failure> {
    if HANDLERS {
        return Ok(());
    }
    Err(Failure::new(
        Code::Unsupported,
        "this libfanfare is built without event handlers: they come with the feature wasm-jit of the crate ffi, or wasm",
    ))
}

fn invalid(message: &'static str) -> Failure {
    Failure::new(Code::InvalidParameter, message)
}

impl fanfare_handler {
    /// # Safety
    /// Every view is readable while the result lives.
    unsafe fn source<'a>(&self) -> Result<(&'a str, HandlerSource<'a>, &'a str), Failure> {
        // SAFETY: by contract.
        let (topics, file, bytes, name, settings) = unsafe {
            (
                self.topics.required("topics", Code::InvalidTopic)?,
                self.file.text("file", Code::InvalidParameter)?,
                self.bytes.bytes("bytes")?,
                self.name.text("name", Code::InvalidParameter)?,
                self.settings.text("settings", Code::InvalidParameter)?,
            )
        };
        if topics.is_empty() || topics.len() > MAX_TOPICS_BYTES || topics.chars().any(char::is_control) {
            return Err(Failure::new(
                Code::InvalidTopic,
                "topics is a topic, or the beginning of topics and a `*`: 1 to 256 bytes without control characters",
            ));
        }
        let source = match (file, bytes, name) {
            (Some(""), ..) => return Err(invalid("file is empty")),
            (Some(_), _, Some(_)) => {
                return Err(invalid("a handler from a file is named by its file: leave name out"));
            }
            (Some(_), Some(_), _) => {
                return Err(invalid("file and bytes are given: a handler comes from one of them"));
            }
            (None, None, _) => return Err(invalid("neither file nor bytes is given")),
            (None, Some(_), None) => return Err(invalid("a handler from bytes needs a name")),
            (Some(file), None, None) => HandlerSource::File(Path::new(file)),
            (None, Some(bytes), Some(name)) => {
                if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                    return Err(invalid("name has 1 to 255 bytes without control characters"));
                }
                HandlerSource::Bytes { name, bytes }
            }
        };
        Ok((topics, source, settings.unwrap_or_default()))
    }
}

/// Loads an event handler behind those that are there. When this returns, events pass it. *Borrows* everything. `info` (may be NULL)
/// gets its name, which has a number behind it if another handler has it already. Compiling takes up to seconds, in which events go on
/// without it and a stop waits; calls wait for each other. Any thread.
///
/// Errors: `UNSUPPORTED` in a build without handlers, which a default build is; `INVALID_CONFIG` says why the code does not load, and
/// options under `handler.` bound what it may do; `INVALID_TOPIC`, `INVALID_PARAMETER`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`,
/// `FORKED`, `TOO_NEW`. Nothing has changed then.
///
/// # Safety
/// `handler` is NULL or as `fanfare_handler` says, with readable views; `info` is NULL or as `fanfare_handler_info` says; `err`
/// is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_load_handler(
    hub: *mut fanfare_hub,
    handler: *const fanfare_handler,
    info: *mut fanfare_handler_info,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if handler.is_null() {
            return Err(Failure::null("handler"));
        }
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let (topics, source, settings) = unsafe { read(handler)?.source() }?;
        if !info.is_null() {
            // Before anything is done: is the caller's structure one?
            // SAFETY: by contract.
            unsafe { write(info, &zeroed()) }?;
        }
        in_this_build()?;
        let loaded = hub.with_hub(|running| {
            // The first one starts threads, which inherit the mask of this one.
            let _blocked = BlockedSignals::new();
            let name = running
                .load_handler_with(topics, source, settings)
                .map_err(|error| Failure::new(error.code(), error))?;
            Ok(running.handlers().iter().find(|handler| handler.name == name).map(self::info))
        })?;
        if let (false, Some(loaded)) = (info.is_null(), loaded) {
            // SAFETY: by contract.
            unsafe { write(info, &loaded) }?;
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Unloads the handler of that name. With `data` its state stays, for the next of its name; else it goes with it. An event that
/// is in it right now is finished by it. `FANFARE_AGAIN` if there is none of that name. *Borrows* the name. Any thread.
///
/// Errors: `INVALID_PARAMETER` for a name that is no text; `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `name` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_unload_handler(
    hub: *mut fanfare_hub,
    name: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        // SAFETY: by contract.
        let name = unsafe { name.required("name", Code::InvalidParameter) }?;
        let unloaded = hub.with_hub(|running| Ok(running.unload_handler(name)))?;
        Ok(if unloaded { FANFARE_OK } else { FANFARE_AGAIN })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Writes the handlers as they are at one moment, in the order in which events pass them, to the array `infos` of `len` of this
/// header's `fanfare_handler_info`, of which each says its size. `*count` is how many there are, also if that is more than `len`: with `len` 0 only
/// they are counted, and `infos` may be NULL. Any thread; none are left after a stop.
///
/// Errors: `INVALID_PARAMETER` when a size is not that of this library's structure; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `infos` is NULL or an array of `len` structures; `count` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_get_handlers(
    hub: *const fanfare_hub,
    infos: *mut fanfare_handler_info,
    len: usize,
    count: *mut usize,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if count.is_null() {
            return Err(Failure::null("count"));
        }
        if infos.is_null() && len > 0 {
            return Err(Failure::null("infos"));
        }
        let handlers = find(hub)?.engine.handlers();
        let asked = len.min(handlers.len());
        for index in 0..asked {
            // SAFETY: by contract there is a structure whose size is readable. Each before the first is written.
            let size = unsafe { (&raw const (*infos.add(index)).size).read_unaligned() };
            // An array has one stride: a structure of another size would be written askew.
            if size != size_of::<fanfare_handler_info>() {
                return Err(Failure::format(Code::InvalidParameter, move |f| {
                    write!(f, "infos[{index}].size is {size}: set it to sizeof(fanfare_handler_info)")
                }));
            }
        }
        for (index, handler) in handlers.iter().take(asked).enumerate() {
            // SAFETY: looked at above.
            unsafe { write(infos.add(index), &info(handler)) }?;
        }
        // SAFETY: not NULL, and writable by contract.
        unsafe { count.write_unaligned(handlers.len()) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
