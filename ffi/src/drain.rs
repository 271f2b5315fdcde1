//! The queue as the host sees it: a descriptor, a wake-up, waiting, draining, and pulling on demand.

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::fanfare_hub::engine::Code;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::{Target, stopped};
use crate::item::{Items, fanfare_item};
use crate::process;
use crate::queue::{Waited, Wakeup};
use crate::reader::{Looked, Patience};
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};
use crate::table::Kind;

/// Wait for ever.
pub const FANFARE_FOREVER: u64 = u64::MAX;

/// Items and the memory of their views. A handle: give it to `fanfare_batch_items` and `fanfare_batch_free` only.
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_batch {
    _private: [u8; 0],
}

/// Gives the items to the caller; NULL if there are none.
///
/// # Safety
/// `batch` is writable.
pub(crate) unsafe fn give(items: Items, batch: *mut *mut fanfare_batch) -> Result<(), Failure> {
    let handle = if items.is_empty() {
        std::ptr::null_mut()
    } else {
        process::tables().batches.insert(Arc::new(Batch::new(items)))?
    };
    // SAFETY: by contract.
    unsafe { batch.write(handle) };
    Ok(())
}

/// The items of a batch: `*items` points to `*count` structures of `item_size` bytes each, in order. Pass
/// `sizeof(fanfare_item)`. *Returns borrowed*, valid until the batch is freed. The batch belongs to one thread at a time.
///
/// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`; `TOO_NEW` when `item_size` is larger than this library's; `INVALID_PARAMETER`
/// when it is no size that the structure ever had.
///
/// # Safety
/// `items` and `count` are NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_batch_items(
    batch: *const fanfare_batch,
    item_size: usize,
    items: *mut *const fanfare_item,
    count: *mut usize,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if items.is_null() {
            return Err(Failure::null("items"));
        }
        if count.is_null() {
            return Err(Failure::null("count"));
        }
        let batch = process::find(batch, |process| &process.batches, Kind::Batch)?;
        let first = batch.first(item_size)?;
        // SAFETY: not NULL, and writable by contract. The batch stays in its table, and so do the items.
        unsafe {
            items.write_unaligned(first);
            count.write_unaligned(batch.len());
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Frees a batch and sets `*batch` to NULL; every view into it ends. *Takes* it. NULL, and a batch that is freed already, are fine.
/// Any thread; never fails.
///
/// # Safety
/// `batch` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_batch_free(batch: *mut *mut fanfare_batch) {
    if batch.is_null() {
        return;
    }
    // SAFETY: writable by contract.
    let handle = unsafe { batch.read_unaligned() };
    let body = || {
        if !handle.is_null() {
            process::remove(handle, |process| &process.batches, Kind::Batch)?;
        }
        Ok(FANFARE_OK)
    };
    // A stale handle has been freed before, which is all that is wanted.
    // SAFETY: NULL is allowed.
    if unsafe { call(std::ptr::null_mut(), body) } != Code::Deadlock.number() {
        // SAFETY: writable by contract.
        unsafe { batch.write_unaligned(std::ptr::null_mut()) };
    }
}

/// A descriptor that polls readable while the hub's queue has something to drain: for poll, epoll, kqueue, asyncio, libuv, GLib.
/// Level-triggered. Never read, write or close it; it lives until `fanfare_free`. Opened at the first call.
///
/// Errors: `INTERNAL` with `os_errno` when the system gives no descriptor; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `fd` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_poll_fd(
    hub: *mut fanfare_hub,
    fd: *mut c_int,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if fd.is_null() {
            return Err(Failure::null("fd"));
        }
        let hub = find(hub)?;
        let opened = hub.queue.fd().map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            Failure::new(Code::Internal, format!("no descriptor for the queue: {error}")).os(errno)
        })?;
        // SAFETY: not NULL, and writable by contract.
        unsafe { fd.write_unaligned(opened) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Called when the hub's queue becomes non-empty, with the `user` pointer. It runs on whichever thread filled the queue, which may be one of yours inside
/// `fanfare_publish`; it must not block, throw or call into libfanfare (every call is answered with `DEADLOCK`). Note it and return.
#[allow(non_camel_case_types, reason = "the C name")]
pub type fanfare_wakeup = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// Sets the wake-up, for loops that cannot watch a descriptor. It is called once when the queue becomes non-empty (at once if it
/// is now), and not again before a drain has said `FANFARE_AGAIN`. NULL takes it away: when this returns, the one before is not running and
/// never will.
///
/// `drop` (may be NULL) is called exactly once with `user`, when the wake-up will not be called any more: replaced, the hub stopped, or this call failed.
///
/// Errors: `STOPPING`, `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `wakeup` and `drop` may be called with `user` from any thread; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_set_wakeup(
    hub: *mut fanfare_hub,
    wakeup: fanfare_wakeup,
    user: *mut c_void,
    drop: fanfare_wakeup,
    err: *mut fanfare_error,
) -> fanfare_status {
    unsafe extern "C" fn nothing(_: *mut c_void) {}
    // Whatever happens, it drops `user`.
    // SAFETY: by contract.
    let given = unsafe { Wakeup::new(wakeup.unwrap_or(nothing), user, drop) };
    let body = || {
        let hub = find(hub)?;
        hub.running()?;
        if wakeup.is_some() {
            hub.queue.set_wakeup(Some(given));
            if hub.running().is_err() {
                // The stop may have taken the wake-up away before this one was there.
                hub.queue.set_wakeup(None);
            }
        } else {
            hub.queue.set_wakeup(None);
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// `None` is for ever.
fn deadline(timeout_ms: u64) -> Option<Instant> {
    if timeout_ms == FANFARE_FOREVER {
        return None;
    }
    // A time that the clock cannot show is as good as for ever.
    Instant::now().checked_add(Duration::from_millis(timeout_ms))
}

/// Blocks until the queue has something to drain, for a plain loop without a poller. `FANFARE_AGAIN` when `timeout_ms` milliseconds are
/// over; `FANFARE_FOREVER` waits for ever. Any thread; several may wait.
///
/// Errors: `STOPPING` when the hub has stopped and everything is drained; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_wait(
    hub: *mut fanfare_hub,
    timeout_ms: u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || match find(hub)?.queue.wait(deadline(timeout_ms)) {
        Waited::Filled => Ok(FANFARE_OK),
        Waited::TimedOut => Ok(FANFARE_AGAIN),
        Waited::Closed => Err(stopped()),
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Takes what the queue has, at most a few thousand items. *Returns owned*: free `*batch` with `fanfare_batch_free`. It is NULL when there
/// was nothing. `FANFARE_OK`: there is more, drain again. `FANFARE_AGAIN`: that was all; a wake-up or the descriptor tells when there is
/// more. Never blocks. Any thread: each item is given to one of them.
///
/// Events of one subscription come in order. Two threads that drain at once get different ones, so order across them is yours to keep.
///
/// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `batch` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_drain(
    hub: *mut fanfare_hub,
    batch: *mut *mut fanfare_batch,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if batch.is_null() {
            return Err(Failure::null("batch"));
        }
        let hub = find(hub)?;
        let mut items = Items::default();
        let more = hub.drain(&mut items);
        // SAFETY: not NULL, and writable by contract.
        unsafe { give(items, batch) }?;
        Ok(if more { FANFARE_OK } else { FANFARE_AGAIN })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Reads a subscription of the kind `FANFARE_ON_DEMAND`, or a host-written stream: what is new, about 64 KiB at most. With nothing new it waits up to
/// `timeout_ms` milliseconds (0: not at all; `FANFARE_FOREVER`). *Returns owned*: free `*batch` with `fanfare_batch_free`. It is NULL when
/// there was nothing.
///
/// `FANFARE_OK`: there may be more, pull again. `FANFARE_AGAIN`: that was all; a `FANFARE_ITEM_READY` comes into the queue when there is more. A
/// `FANFARE_ITEM_END` is the last item, and the id is stale after it. Any thread, one at a time for each id.
///
/// Errors: `INVALID_PARAMETER` for an id of another kind; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `batch` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_pull(
    hub: *mut fanfare_hub,
    id: u64,
    timeout_ms: u64,
    batch: *mut *mut fanfare_batch,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if batch.is_null() {
            return Err(Failure::null("batch"));
        }
        let hub = find(hub)?;
        let patience = if timeout_ms == 0 { Patience::None } else { Patience::Until(deadline(timeout_ms)) };
        let mut items = Items::default();
        let looked = match hub.target(id)? {
            Target::Reader(reader) if reader.on_demand => reader.look(id, patience, &mut items)?,
            Target::Written(stream) => stream.look(id, patience, &mut items)?,
            Target::Adopted(_) | Target::Request(_) => {
                return Err(Failure::new(Code::InvalidParameter, "this id has nothing to pull"));
            }
            Target::Reader(_) => {
                let message =
                    "this subscription is read by fanfare_drain: open it with FANFARE_ON_DEMAND to pull";
                return Err(Failure::new(Code::InvalidParameter, message));
            }
        };
        if looked == Looked::Over {
            drop(hub.ids.remove(id));
        }
        // SAFETY: not NULL, and writable by contract.
        unsafe { give(items, batch) }?;
        Ok(if looked == Looked::Idle { FANFARE_AGAIN } else { FANFARE_OK })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
