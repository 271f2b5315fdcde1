//! What belongs to this process alone: the tables of handles, and the proof that it has not been forked.
//!
//! Threads do not survive a fork, locks may be held by threads that are gone, and sockets are shared: nothing of a hub works
//! in a child. So the tables hang on one page of memory that the kernel hands to a child empty (`MADV_WIPEONFORK`, Linux 4.14). A child finds no
//! tables, knows every handle for its parent's before it touches a lock, and can start hubs of its own. Checking costs one load. Where there is no such page
//! the process number is compared instead.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::batch::Batch;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::settings::Config;
use crate::table::{self, Kind, Table};

/// The handles of one process.
pub(crate) struct Process {
    pub(crate) hubs: Table<Instance>,
    pub(crate) configs: Table<Config>,
    pub(crate) batches: Table<Batch>,
    pid: u32,
    /// Those of the parent, which are never freed either.
    _parents: *mut Process,
}

// SAFETY: nobody follows the pointer, and everything else may be shared.
unsafe impl Send for Process {}
// SAFETY: as above.
unsafe impl Sync for Process {}

/// Where the tables hang: a page of its own that a child gets empty.
struct Page {
    process: AtomicPtr<Process>,
}

/// The page; null before the first call.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
/// Whether the page stays filled in a child, so that the process number has to be looked at.
static COMPARE_PID: AtomicBool = AtomicBool::new(false);
/// The tables again, for leak checkers: they do not look into a page that nobody allocated.
static KEPT: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
/// How many processes in this line of forks have had tables: the part of a handle that tells them apart.
static EPOCHS: AtomicU32 = AtomicU32::new(0);

/// The tables of this process; `None` before the first, which in a forked child is before the first of its own.
fn existing() -> Option<&'static Process> {
    // Acquire pairs with the Release of whoever put page or tables there: what they point to is complete.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: a page is never unmapped once it hangs there.
    let process = unsafe { page.as_ref() }?.process.load(Ordering::Acquire);
    // SAFETY: tables are never freed once they hang there.
    let process = unsafe { process.as_ref() }?;
    // Relaxed: set before the page hangs there.
    let ours = !COMPARE_PID.load(Ordering::Relaxed) || process.pid == std::process::id();
    ours.then_some(process)
}

/// The tables of this process, made if need be.
pub(crate) fn tables() -> &'static Process {
    if let Some(process) = existing() {
        return process;
    }
    let page = page();
    // Relaxed: only has to be another number for each process in the line.
    let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed) + 1;
    let made = Box::into_raw(Box::new(Process {
        hubs: Table::new(Kind::Hub, epoch),
        configs: Table::new(Kind::Config, epoch),
        batches: Table::new(Kind::Batch, epoch),
        pid: std::process::id(),
        // Relaxed, here and below: it is only kept.
        _parents: KEPT.load(Ordering::Relaxed),
    }));
    // A child without a wiped page finds its parent's tables and replaces them; they stay where they are, like every lock in them.
    let found = page.process.load(Ordering::Acquire);
    // SAFETY: tables are never freed once they hang there.
    let stale = unsafe { found.as_ref() }
        .map_or(found, |process| if process.pid == std::process::id() { ptr::null_mut() } else { found });
    // AcqRel: publishes the tables, and sees those of a faster thread.
    match page.process.compare_exchange(stale, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            KEPT.store(made, Ordering::Relaxed);
            // SAFETY: just made, and never freed from now on.
            unsafe { &*made }
        }
        Err(other) => {
            // SAFETY: made above and given to nobody.
            drop(unsafe { Box::from_raw(made) });
            // SAFETY: tables are never freed once they hang there, and somebody's do: only they replace what was expected.
            unsafe { &*other }
        }
    }
}

/// Whether any process in this line of forks has had tables: a handle may then be a parent's.
fn had_tables() -> bool {
    EPOCHS.load(Ordering::Relaxed) > 0
}

fn page() -> &'static Page {
    let known = PAGE.load(Ordering::Acquire);
    // SAFETY: a page is never unmapped once it hangs there.
    if let Some(page) = unsafe { known.as_ref() } {
        return page;
    }
    let made = map_page();
    // AcqRel: publishes the page, and sees that of a faster thread. The loser's page stays unused: it happens once at most.
    match PAGE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: valid, and never unmapped.
        Ok(_) => unsafe { &*made },
        // SAFETY: as above.
        Err(other) => unsafe { &*other },
    }
}

/// A page that a child gets empty, or, where there is none, memory and the order to compare process numbers.
fn map_page() -> *mut Page {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let bytes = page_bytes();
        // SAFETY: a new private mapping, which replaces nothing.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page != libc::MAP_FAILED {
            // SAFETY: a mapping of that length, made above.
            if unsafe { libc::madvise(page, bytes, libc::MADV_WIPEONFORK) } == 0 {
                // Zero bytes are a null pointer, and a page is aligned for it.
                return page.cast::<Page>();
            }
            // SAFETY: made above and given to nobody.
            unsafe { libc::munmap(page, bytes) };
        }
    }
    COMPARE_PID.store(true, Ordering::Relaxed);
    Box::into_raw(Box::new(Page { process: AtomicPtr::new(ptr::null_mut()) }))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn page_bytes() -> usize {
    // SAFETY: no arguments of ours are looked at.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Looks a handle up in this process' tables. `table` says in which.
pub(crate) fn find<T, H>(
    handle: *const H,
    table: fn(&'static Process) -> &'static Table<T>,
    kind: Kind,
) -> Result<Arc<T>, Failure> {
    match existing() {
        Some(process) => table(process).find(handle),
        None => Err(without_tables(handle.is_null(), kind)),
    }
}

/// Takes a handle out of this process' tables.
pub(crate) fn remove<T, H>(
    handle: *const H,
    table: fn(&'static Process) -> &'static Table<T>,
    kind: Kind,
) -> Result<Arc<T>, Failure> {
    match existing() {
        Some(process) => table(process).remove(handle),
        None => Err(without_tables(handle.is_null(), kind)),
    }
}

fn without_tables(null: bool, kind: Kind) -> Failure {
    match (null, had_tables()) {
        (true, _) => Failure::null(kind.name()),
        (false, true) => table::forked(kind),
        (false, false) => table::stale(kind),
    }
}
