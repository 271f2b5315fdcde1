//! What a hub has done and holds.

use crate::abi::{Extensible, write};
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::status::{FANFARE_OK, fanfare_error, fanfare_status};

/// Counters since the start, and what there is now. The HTTP side has more under `/stats` and `/metrics`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_stats {
    /// `sizeof(fanfare_stats)`, set by the caller.
    pub size: usize,
    /// Events published.
    pub published: u64,
    /// Bytes of their frames.
    pub published_bytes: u64,
    /// Events refused, for whatever reason.
    pub refused: u64,
    /// Events that a handler dropped.
    pub dropped: u64,
    /// Gap notices given to readers.
    pub gaps: u64,
    /// Readers that fell out of history and were ended for it.
    pub lapped: u64,
    /// Events retained now.
    pub history_events: u64,
    /// Bytes retained now, bookkeeping included.
    pub history_bytes: u64,
    /// Topics now.
    pub topics: u64,
    /// Cursors now: subscriptions of this process, streams that read alone, and groups of streams.
    pub subscriptions: u64,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_stats {
    const NAME: &'static str = "fanfare_stats";
}

/// Writes a snapshot. Set `stats->size` first. Any thread; also after a stop.
///
/// Errors: `INVALID_PARAMETER` for a size that is none; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `stats` is NULL or as `fanfare_stats` says; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_get_stats(
    hub: *const fanfare_hub,
    stats: *mut fanfare_stats,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if stats.is_null() {
            return Err(Failure::null("stats"));
        }
        let now = find(hub)?.engine.stats();
        let value = fanfare_stats {
            size: 0,
            published: now.published,
            published_bytes: now.published_bytes,
            refused: now.refused,
            dropped: now.dropped,
            gaps: now.gaps,
            lapped: now.lapped,
            history_events: now.history_events,
            history_bytes: now.history_bytes,
            topics: now.topics as u64,
            subscriptions: now.subscriptions as u64,
        };
        // SAFETY: not NULL, and as the structure says by contract.
        unsafe { write(stats, &value) }?;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
