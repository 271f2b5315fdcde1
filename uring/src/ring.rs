//! The ring: all `unsafe` there is.
//!
//! # Why the kernel never reads what is freed
//!
//! An entry carries the address of the caller's bytes. The kernel may read there from the moment at which it takes the entry out of the submission queue, which
//! happens within `io_uring_enter` only (there is no polling thread), until it has put a completion for that entry into the completion queue.
//!
//! 1. [`Ring::send`] borrows the bytes until it returns.
//! 2. It returns only when as many completions have come as entries were taken ([`Ring::settle`]). Errors of `io_uring_enter` are no way out of that loop while
//!    an entry is out, and nothing in between can panic.
//! 3. Entries that were *not* taken when the ring turned out broken stay in the queue, but the ring is never entered again: it is marked, and
//!    `send` returns at once from then on.
//!
//! In practice every send ends within the submission: `MSG_DONTWAIT` makes the kernel answer at once, and the wait finds everything there.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

/// Sockets that one system call serves at most.
pub const MOST: usize = 256;
/// The largest run of bytes asked for at once; the rest is the caller's to send.
const MOST_BYTES: usize = 1 << 30;
/// How often in a row the kernel may refuse to take anything before the ring is given up: it does so when it is out of memory.
const REFUSALS: u32 = 3;
/// Time to the next attempt to wait, after the kernel refused to.
const RETRY: Duration = Duration::from_millis(1);

/// A ring of one thread.
pub struct Ring {
    ring: IoUring,
    /// Socket, address and length of each send; addresses of an earlier call are never looked at.
    sends: Vec<(RawFd, *const u8, u32)>,
    taken: Vec<usize>,
    broken: bool,
    /// Not to be sent to another thread.
    here: PhantomData<*const ()>,
}

impl Ring {
    /// A ring of the calling thread.
    ///
    /// # Errors
    /// What the kernel says where it forbids io_uring, is older than 6.1, or has no descriptor or memory left.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(MOST as u32)?;
        Ok(Self {
            ring,
            sends: Vec::with_capacity(MOST),
            taken: Vec::with_capacity(MOST),
            broken: false,
            here: PhantomData,
        })
    }

    /// Whether the kernel has failed the ring. It sends nothing any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sends each of the first [`MOST`] sockets its bytes, without waiting for any, and returns how many bytes each of them has taken, in order.
    ///
    /// Fewer than all says nothing about the reason: it is for the caller to send the rest and to see.
    pub fn send<'s>(&mut self, sends: impl IntoIterator<Item = (BorrowedFd<'s>, &'s [u8])>) -> &[usize] {
        // All of them before the first entry: an iterator that panics must not leave entries behind.
        self.sends.clear();
        self.sends.extend(
            sends.into_iter().take(MOST).map(|(socket, bytes)| {
                (socket.as_raw_fd(), bytes.as_ptr(), bytes.len().min(MOST_BYTES) as u32)
            }),
        );
        self.taken.clear();
        self.taken.resize(self.sends.len(), 0);
        if self.broken {
            return &self.taken;
        }
        let mut queue = self.ring.submission();
        let mut open = 0;
        for (index, &(socket, bytes, length)) in self.sends.iter().enumerate() {
            if length == 0 {
                continue;
            }
            let entry = opcode::Send::new(types::Fd(socket), bytes, length)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build()
                .user_data(index as u64);
            // SAFETY: `bytes` has `length` bytes at that address and lives until this function returns, which is after the kernel is done with
            // the entry, or will never see it: `settle` below, and the numbered steps above.
            let pushed = unsafe { queue.push(&entry) };
            if pushed.is_err() {
                break;
            }
            open += 1;
        }
        drop(queue);
        self.settle(open);
        &self.taken
    }

    /// Submits, and comes back when the kernel holds none of the `open` entries that were pushed.
    fn settle(&mut self, mut open: usize) {
        let mut refusals = 0;
        while open > 0 {
            let entered = self.ring.submit_and_wait(open);
            for completion in self.ring.completion() {
                open = open.saturating_sub(1);
                if let Some(taken) = self.taken.get_mut(completion.user_data() as usize) {
                    *taken = usize::try_from(completion.result()).unwrap_or(0);
                }
            }
            let Err(error) = entered else { continue };
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            refusals += 1;
            let waiting = self.ring.submission().len();
            if open > waiting {
                // The kernel holds entries and will not let us wait for them: it is asked again for as long as that takes.
                std::thread::sleep(RETRY);
            } else if refusals > REFUSALS {
                self.broken = true;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
