//! Opening host-written streams, and revoking clients.

use std::sync::Arc;

use ::fanfare_hub::embed::Reader;
use ::fanfare_hub::engine::Code;

use crate::abi::{fanfare_str, read};
use crate::adopt::embed_failed;
use crate::bell::Bell;
use crate::failure::Failure;
use crate::greeting::greeting;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::Target;
use crate::status::{FANFARE_OK, fanfare_error, fanfare_status};
use crate::subscribe::{fanfare_subscribe_options, invalid};
use crate::written::Written;

/// Opens a stream whose bytes the host writes to its client: where the connection has TLS, is HTTP/2, or gives no socket. `fanfare_pull` gives
/// `FANFARE_ITEM_BYTES` with the opening comment, `retry:`, events, gap notices and heartbeats; a `FANFARE_ITEM_READY` comes when there are
/// some, first at once. Write them, and pull again when your client has taken them: a slow client then falls behind in history, not in memory.
/// Answer with the headers `Content-Type: text/event-stream`, `Cache-Control: no-cache, no-store, no-transform` and `X-Accel-Buffering: no`.
/// `fanfare_close_stream` when the client is gone. *Borrows* everything. Any thread.
///
/// Errors: those of `fanfare_subscribe`, of which `TOPIC_CLOSED` is best answered by 204; `INVALID_EVENT`, `INVALID_DATA`, `INVALID_RETRY`, `TOO_LARGE` for
/// a greeting.
///
/// # Safety
/// `subscribe` is NULL or as its structure says, with readable views; `stream` is NULL or writable; `err` is NULL or as
/// `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_open_stream(
    hub: *mut fanfare_hub,
    subscribe: *const fanfare_subscribe_options,
    stream: *mut u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if subscribe.is_null() {
            return Err(Failure::null("subscribe"));
        }
        if stream.is_null() {
            return Err(Failure::null("stream"));
        }
        let hub = find(hub)?;
        // SAFETY: by contract.
        let (user, wanted, greeting) = unsafe {
            let subscribe = read(subscribe)?;
            (subscribe.user, subscribe.wanted(&hub, 0)?, greeting(&subscribe, &hub)?)
        };
        let reader = Reader { options: &wanted, greeting: &greeting };
        let opened = hub.with_hub(|running| running.open_stream(reader).map_err(embed_failed))?;
        let bell = Bell::new(&hub.queue);
        let written = Arc::new(Written::new(opened, Arc::clone(&bell), user));
        let name = hub.ids.insert_with(|id| (Target::Written(Arc::clone(&written)), id));
        bell.name(name);
        written.announce();
        if hub.running().is_err() {
            // It came too late for the stop to find it.
            hub.forget(name)?;
            hub.running()?;
        }
        // SAFETY: not NULL, and writable by contract.
        unsafe { stream.write_unaligned(name) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Ends every stream whose client has this name, of whatever kind: at a boundary between events, or at once where its reader takes
/// nothing. Its reader may come back: whoever revokes refuses it then. *Borrows* the name. Any thread; returns when all have been told.
///
/// Errors: `INVALID_CLIENT`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `client` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_revoke(
    hub: *mut fanfare_hub,
    client: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        // SAFETY: by contract.
        let client = unsafe { client.required("client", Code::InvalidClient) }?;
        hub.with_hub(|running| running.revoke(client).map_err(invalid))?;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
