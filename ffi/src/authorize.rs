//! The host's decisions about requests to the hub's own listener.

use ::fanfare_hub::authorize::{Answer, Grant};
use ::fanfare_hub::engine::{Code, check_client};

use crate::abi::{Extensible, fanfare_str, read};
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::{Instance, Target, stale};
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};
use crate::subscribe::invalid;

/// What an accepted request may do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_grant {
    /// `sizeof(fanfare_grant)`.
    pub size: usize,
    /// Who a subscriber is, as the host has found out, in place of the name that it claims; absent leaves it at that.
    pub client: fanfare_str,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_grant {
    const NAME: &'static str = "fanfare_grant";
}

/// The request's answer, to be given once.
fn take(hub: &Instance, request: u64) -> Result<Answer, Failure> {
    let Target::Request(_) = hub.target(request)? else {
        return Err(Failure::new(Code::InvalidParameter, "this id is not a request's"));
    };
    // Another thread may have been faster in between.
    let Some(Target::Request(waiting)) = hub.ids.remove(request) else { return Err(stale(request)) };
    let answer = waiting.answer.lock().take();
    answer.ok_or_else(|| stale(request))
}

/// Lets a request go on. `grant` may be NULL. `FANFARE_AGAIN` when its time was over and it has
/// been refused already. *Borrows* everything. Any thread.
///
/// Errors: `INVALID_CLIENT` (the request still waits); `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`.
///
/// # Safety
/// `grant` is NULL or as its structure says, with readable views; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_accept(
    hub: *mut fanfare_hub,
    request: u64,
    grant: *const fanfare_grant,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        // SAFETY: by contract.
        let client = unsafe { read(grant)?.client.text("client", Code::InvalidClient) }?;
        if let Some(client) = client {
            check_client(client).map_err(invalid)?;
        }
        let answer = take(&hub, request)?;
        if answer.is_over() {
            return Ok(FANFARE_AGAIN);
        }
        answer.accept(Grant { client: client.map(str::to_owned) });
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Refuses a request with an HTTP status of 400 to 599 and a message for its client (absent: a default). `FANFARE_AGAIN` when its time was over
/// and it has been refused already. *Borrows* the message. Any thread.
///
/// Errors: `INVALID_PARAMETER` for another status (the request still waits) or an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `message` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_reject(
    hub: *mut fanfare_hub,
    request: u64,
    status: u32,
    message: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        // SAFETY: by contract.
        let message = unsafe { message.text("message", Code::InvalidParameter) }?;
        let status =
            u16::try_from(status).ok().filter(|status| (400..=599).contains(status)).ok_or_else(|| {
                Failure::format(Code::InvalidParameter, move |f| {
                    write!(f, "status {status}: expected 400 to 599")
                })
            })?;
        let answer = take(&hub, request)?;
        if answer.is_over() {
            return Ok(FANFARE_AGAIN);
        }
        answer.reject(status, message.unwrap_or("refused"));
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
