//! Starting and stopping.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use ::fanfare_hub::engine::Code;
use ::fanfare_hub::{Hub, StartError};

use crate::abi::{Extensible, write};
use crate::config::{fanfare_config, settings};
use crate::failure::Failure;
#[cfg(feature = "http")]
use crate::gate::Gate;
use crate::guard::call;
use crate::instance::Instance;
use crate::process;
use crate::queue::Queue;
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};
use crate::table::Kind;

/// A running hub. A handle: any thread may use it at any time, also while it stops.
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_hub {
    _private: [u8; 0],
}

/// The hub that a handle names.
pub(crate) fn find(hub: *const fanfare_hub) -> Result<Arc<Instance>, Failure> {
    process::find(hub, |process| &process.hubs, Kind::Hub)
}

/// Starts a hub: its threads run and its sockets accept when this returns. *Borrows* `config`; NULL is all defaults, which listen
/// on http://127.0.0.1:4780. *Returns owned*: free it with `fanfare_free`.
///
/// The hub's threads block every signal, and nothing of the process is changed: no handler, no logger, no environment.
///
/// Errors: `INVALID_CONFIG` names the option; `START_FAILED` says which address is taken or which file does not load;
/// `NULL_POINTER`, `STALE_HANDLE`, `FORKED`. Nothing is left running then.
///
/// # Safety
/// `hub` is NULL or writable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_start(
    config: *const fanfare_config,
    hub: *mut *mut fanfare_hub,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if hub.is_null() {
            return Err(Failure::null("hub"));
        }
        let settings = settings(config)?;
        #[cfg(feature = "http")]
        let gate = Gate::new(settings.authorize);
        #[allow(unused_mut, reason = "without HTTP there are no requests to decide about")]
        let mut config = settings.finish()?;
        #[cfg(feature = "http")]
        gate.install(&mut config);
        let (lag, queue) = (config.lag(), Arc::new(Queue::default()));
        let started = {
            // Threads inherit the mask of the thread that starts them.
            let _blocked = BlockedSignals::new();
            Hub::start(config)
        };
        let started = started.map_err(start_failed)?;
        let instance = Arc::new(Instance::new(started, lag, queue));
        #[cfg(feature = "http")]
        gate.serve(&instance);
        let handle = process::tables().hubs.insert(instance)?;
        // SAFETY: not NULL, and writable by contract.
        unsafe { hub.write_unaligned(handle) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

fn start_failed(error: StartError) -> Failure {
    match error {
        StartError::Config(error) => Failure::new(Code::InvalidConfig, error),
        StartError::Handler(error) => Failure::new(error.code(), error),
        error => {
            let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            let mut errno = 0;
            while let Some(cause) = source {
                if let Some(code) =
                    cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
                {
                    errno = code;
                }
                source = cause.source();
            }
            Failure::new(Code::StartFailed, error).os(errno)
        }
    }
}

/// Every signal blocked on this thread, until it is dropped.
pub(crate) struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    pub(crate) fn new() -> BlockedSignals {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are writable; the calls cannot fail with these arguments, and fill them.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            BlockedSignals { before: before.assume_init() }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: a set that the system gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// What stopping met.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_stop_report {
    /// `sizeof(fanfare_stop_report)`, set by the caller.
    pub size: usize,
    /// Streams that were open when it began.
    pub streams: u64,
    /// Connections that were still open at the deadline and were cut.
    pub cut: u64,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_stop_report {
    const NAME: &'static str = "fanfare_stop_report";
}

/// Use the option `timeouts.stop` as deadline.
pub const FANFARE_STOP_DEFAULT: u64 = u64::MAX;

/// Stops: takes no more connections, ends every stream so that its reader resumes elsewhere, spread over `deadline_ms`
/// milliseconds, and cuts what is left then. Blocks until threads and sockets are gone. Every subscription and
/// host-written stream then has a `FANFARE_ITEM_END` in the queue, which can still be drained; the wake-up is called for them and
/// never again after this returns. The handle stays valid until `fanfare_free`. A call while another one stops waits for that to be
/// done, for its own deadline at most: `FANFARE_AGAIN` if it is not then. A call after it does nothing. Only the call that stops fills `report`.
///
/// `deadline_ms`: 0 cuts at once; `FANFARE_STOP_DEFAULT` is the option `timeouts.stop`. `report` may be NULL.
///
/// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`; `DEADLOCK` from inside the wake-up.
///
/// # Safety
/// `report` is NULL or as `fanfare_stop_report` says; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_stop(
    hub: *mut fanfare_hub,
    deadline_ms: u64,
    report: *mut fanfare_stop_report,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        if !report.is_null() {
            // Before anything is done: is the caller's structure one?
            // SAFETY: by contract.
            unsafe { write(report, &fanfare_stop_report { size: 0, streams: 0, cut: 0 }) }?;
        }
        let deadline = (deadline_ms != FANFARE_STOP_DEFAULT).then(|| Duration::from_millis(deadline_ms));
        let done = hub.stop(deadline.map(|deadline| deadline.min(LONGEST_STOP)));
        let Some(done) = done else { return Ok(FANFARE_AGAIN) };
        if !report.is_null() {
            // SAFETY: by contract.
            unsafe { write(report, &fanfare_stop_report { size: 0, streams: done.streams, cut: done.cut }) }?;
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// As long as `timeouts.stop` may be.
const LONGEST_STOP: Duration = Duration::from_secs(3_600);

/// Frees a hub and sets `*hub` to NULL. *Takes* it: stops it at once if it runs. Every id and descriptor of it is invalid
/// then; calls that are under way in other threads end safely. NULL, and a hub that is freed already, are fine. In a forked child it only forgets the
/// handle. Never fails.
///
/// # Safety
/// `hub` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_free(hub: *mut *mut fanfare_hub) {
    if hub.is_null() {
        return;
    }
    // SAFETY: writable by contract.
    let handle = unsafe { hub.read_unaligned() };
    let body = || {
        if !handle.is_null() {
            process::remove(handle, |process| &process.hubs, Kind::Hub)?.stop(Some(Duration::ZERO));
        }
        Ok(FANFARE_OK)
    };
    // A stale handle has been freed before, which is all that is wanted.
    // SAFETY: NULL is allowed.
    let status = unsafe { call(std::ptr::null_mut(), body) };
    if status != Code::Deadlock.number() {
        // SAFETY: writable by contract.
        unsafe { hub.write_unaligned(std::ptr::null_mut()) };
    }
}

/// Where the hub listens, for a client on this machine: `http://127.0.0.1:4780`. The empty text for a handle that names nothing. *Returns
/// borrowed*, valid until `fanfare_free`.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_url(hub: *const fanfare_hub) -> *const c_char {
    // The hub's table keeps it alive.
    find(hub).map_or(c"".as_ptr(), |hub| hub.url.as_ptr())
}

/// Every URL that the hub listens on, plain ones first, a line each. Otherwise as `fanfare_url`.
#[unsafe(no_mangle)]
pub extern "C" fn fanfare_urls(hub: *const fanfare_hub) -> *const c_char {
    find(hub).map_or(c"".as_ptr(), |hub| hub.urls.as_ptr())
}
