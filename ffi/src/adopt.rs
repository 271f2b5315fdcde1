//! Socket hand-off: the host's route authenticates, the hub writes.

use std::ffi::c_int;
use std::net::TcpStream;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use ::fanfare_hub::embed::{EmbedError, Head, Reader};
use ::fanfare_hub::engine::Code;

use crate::abi::{Extensible, list, read};
use crate::failure::Failure;
use crate::greeting::greeting;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::{Handed, Target};
use crate::item::fanfare_header;
use crate::status::{FANFARE_OK, fanfare_error, fanfare_status};
use crate::subscribe::fanfare_subscribe_options;

/// The host has sent the head of its answer, the empty line included.
pub const FANFARE_HEAD_SENT: u32 = 1;
/// With `FANFARE_HEAD_SENT`: the head announced `Transfer-Encoding: chunked`.
pub const FANFARE_CHUNKED: u32 = 2;
/// Without `FANFARE_HEAD_SENT`: the request was of HTTP/1.0, which knows no chunks.
pub const FANFARE_HTTP10: u32 = 4;
/// Put a `FANFARE_ITEM_END` into the queue when the stream is over. A host that asks for it drains the queue.
pub const FANFARE_NOTIFY_END: u32 = 8;

/// How a socket is adopted. All zero: the hub writes the head of an HTTP/1.1 answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_adopt_options {
    /// `sizeof(fanfare_adopt_options)`.
    pub size: usize,
    /// Headers of the host's own for the head, such as CORS and cookies; none that the stream sets itself (type, caching,
    /// framing, connection, date).
    pub headers: *const fanfare_header,
    /// How many.
    pub headers_len: usize,
    /// `FANFARE_HEAD_SENT`, `FANFARE_CHUNKED`, `FANFARE_HTTP10`, `FANFARE_NOTIFY_END`.
    pub flags: u32,
    /// Leave 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_adopt_options {
    const NAME: &'static str = "fanfare_adopt_options";
}

/// Gives a connected HTTP/1 socket, whose request the host has read to its end, to the hub, which writes the stream from now on and
/// closes the connection when it is over. The socket is TCP or Unix-domain, without TLS of the host's own. *Borrows* `fd`: the hub works on a
/// duplicate. After `FANFARE_OK` take your descriptor out of your poller, then close it *without* `shutdown`; after an error it
/// is all yours, nothing has been written, and frames that you write yourself (`fanfare_open_stream`) are the other way.
///
/// `subscribe` says what the reader gets. `options` may be NULL. `*stream` (may be NULL) names the stream for `fanfare_close_stream` and in its
/// `FANFARE_ITEM_END`.
///
/// Errors: `UNSUPPORTED` with the reason for a socket that cannot be adopted; `INVALID_PARAMETER` names a header; those of
/// `fanfare_subscribe`, of which `TOPIC_CLOSED` is best answered by 204; `INVALID_EVENT`, `INVALID_DATA`, `INVALID_RETRY`, `TOO_LARGE` for a greeting.
///
/// # Safety
/// `subscribe` and `options` are NULL or as their structures say, with readable views; `stream` is NULL or writable; `err` is
/// NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_adopt(
    hub: *mut fanfare_hub,
    fd: c_int,
    subscribe: *const fanfare_subscribe_options,
    options: *const fanfare_adopt_options,
    stream: *mut u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if subscribe.is_null() {
            return Err(Failure::null("subscribe"));
        }
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let (user, wanted, greeting, options) = unsafe {
            let subscribe = read(subscribe)?;
            (subscribe.user, subscribe.wanted(&hub, 0)?, greeting(&subscribe, &hub)?, read(options)?)
        };
        let reader = Reader { options: &wanted, greeting: &greeting };
        // SAFETY: by contract.
        let headers = unsafe { headers(&options) }?;
        let head = head(&options, &headers)?;
        let socket = duplicate(fd)?;
        let notify = options.flags & FANFARE_NOTIFY_END != 0;
        let handed = Arc::new(Handed { lane: OnceLock::new(), user, notify });
        let id = hub.ids.insert_with(|id| (Target::Adopted(Arc::clone(&handed)), id));
        let ended = {
            let (hub, handed) = (Arc::downgrade(&hub), Arc::downgrade(&handed));
            Box::new(move |why: Option<Code>| {
                let (Some(hub), Some(handed)) = (hub.upgrade(), handed.upgrade()) else { return };
                hub.handed_over(id, &handed, why);
            })
        };
        let given =
            hub.with_hub(|running| running.adopt(socket, reader, &head, Some(ended)).map_err(embed_failed));
        match given {
            Ok(handle) => {
                // Nobody else sets it.
                let _ = handed.lane.set(handle);
            }
            Err(failure) => {
                drop(hub.ids.remove(id));
                return Err(failure);
            }
        }
        if !stream.is_null() {
            // SAFETY: writable by contract.
            unsafe { stream.write_unaligned(id) };
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

pub(crate) fn embed_failed(error: EmbedError) -> Failure {
    let errno = match &error {
        EmbedError::Socket(error) => error.raw_os_error().unwrap_or(0),
        _ => 0,
    };
    Failure::new(error.code(), error).os(errno)
}

/// # Safety
/// The list and its views are readable while the result lives.
unsafe fn headers<'a>(options: &fanfare_adopt_options) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    // SAFETY: by contract.
    let headers = unsafe { list(options.headers, options.headers_len, "headers") }?;
    let text = |header: &fanfare_header| {
        // SAFETY: by contract.
        unsafe {
            Ok((
                header.name.required("a header's name", Code::InvalidParameter)?,
                header.value.text("a header's value", Code::InvalidParameter)?.unwrap_or(""),
            ))
        }
    };
    headers.iter().map(text).collect()
}

fn head<'a>(options: &fanfare_adopt_options, headers: &'a [(&'a str, &'a str)]) -> Result<Head<'a>, Failure> {
    let known = FANFARE_HEAD_SENT | FANFARE_CHUNKED | FANFARE_HTTP10 | FANFARE_NOTIFY_END;
    let refused = |text: &'static str| Err(Failure::new(Code::InvalidParameter, text));
    let has = |flag: u32| options.flags & flag != 0;
    if options.flags & !known != 0 || options.reserved != 0 {
        return Err(Failure::new(
            Code::TooNew,
            "fanfare_adopt_options has flags that this version does not know",
        ));
    }
    if has(FANFARE_HEAD_SENT) {
        if has(FANFARE_HTTP10) {
            return refused(
                "FANFARE_HTTP10 has no meaning with FANFARE_HEAD_SENT: leave FANFARE_CHUNKED out",
            );
        }
        if !headers.is_empty() {
            return refused("headers have no place any more with FANFARE_HEAD_SENT");
        }
        return Ok(Head::Sent { chunked: has(FANFARE_CHUNKED) });
    }
    if has(FANFARE_CHUNKED) {
        return refused("FANFARE_CHUNKED says how a head was sent: it needs FANFARE_HEAD_SENT");
    }
    Ok(Head::Write { http10: has(FANFARE_HTTP10), headers })
}

/// A descriptor of our own for the caller's socket.
fn duplicate(fd: c_int) -> Result<TcpStream, Failure> {
    // SAFETY: any number may be asked about.
    let own = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if own < 0 {
        let error = std::io::Error::last_os_error();
        let errno = error.raw_os_error().unwrap_or(0);
        return Err(
            Failure::new(Code::Unsupported, format!("fd {fd} cannot be duplicated: {error}")).os(errno)
        );
    }
    // SAFETY: just opened, and nobody else's.
    Ok(TcpStream::from(unsafe { OwnedFd::from_raw_fd(own) }))
}

/// Ends a stream that was adopted or opened, at the next boundary between events. One that is over already is `STALE_HANDLE`. A
/// host-written stream is forgotten at once, and gives no `FANFARE_ITEM_END`. Any thread; never blocks.
///
/// Errors: `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_close_stream(
    hub: *mut fanfare_hub,
    stream: u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        match hub.target(stream)? {
            Target::Adopted(handed) => {
                if let Some(adopted) = handed.lane.get() {
                    adopted.end();
                }
            }
            Target::Written(_) => hub.forget(stream)?,
            Target::Reader(_) | Target::Request(_) => {
                return Err(Failure::new(Code::InvalidParameter, "this id is not a stream's"));
            }
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
