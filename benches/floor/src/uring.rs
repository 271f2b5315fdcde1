//! One submission for many sockets: the same sends, asked of the kernel by io_uring.
//!
//! Sockets stand in the ring's table of files, one thread submits and reaps, and the kernel does the work when that thread
//! waits: what io_uring recommends for a loop like this. A kernel or container that forbids io_uring says so at start.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use io_uring::{IoUring, opcode, types};

use crate::serve::Fanout;

/// Sends that are under way at a time.
const ENTRIES: usize = 1024;

/// The ring.
pub(crate) struct Uring {
    ring: IoUring,
    registered: bool,
}

impl Uring {
    pub(crate) fn new() -> Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(u32::try_from(ENTRIES)?)
            .context("this kernel does not permit io_uring, or is older than 6.1")?;
        Ok(Self { ring, registered: false })
    }
}

impl Fanout for Uring {
    fn prepare(&mut self, subscribers: &[TcpStream]) -> Result<()> {
        if std::mem::take(&mut self.registered) {
            self.ring.submitter().unregister_files()?;
        }
        if !subscribers.is_empty() {
            // Blocking sockets: where one is full, the ring waits for it.
            let files: Vec<i32> = subscribers.iter().map(AsRawFd::as_raw_fd).collect();
            self.ring.submitter().register_files(&files).context("cannot register the sockets")?;
            self.registered = true;
        }
        Ok(())
    }

    fn send(&mut self, subscribers: &[TcpStream], frame: &[u8]) -> Result<()> {
        let length = u32::try_from(frame.len())?;
        let mut next = 0;
        while next < subscribers.len() {
            let count = ENTRIES.min(subscribers.len() - next);
            for socket in next..next + count {
                let entry = opcode::Send::new(types::Fixed(u32::try_from(socket)?), frame.as_ptr(), length)
                    .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                    .build();
                // SAFETY: the kernel reads `frame` until the completion of this entry. All completions are reaped below
                // before this function returns, and a failure to wait for them ends the process with the memory intact.
                let pushed = unsafe { self.ring.submission().push(&entry) };
                pushed.context("the ring is full, though it was empty")?;
            }
            self.wait(count, i32::try_from(length)?)?;
            next += count;
        }
        Ok(())
    }
}

impl Uring {
    /// Submits, and reaps `count` completions of `length` bytes each.
    fn wait(&mut self, count: usize, length: i32) -> Result<()> {
        let (mut left, mut wrong) = (count, None);
        while left > 0 {
            if let Err(error) = self.ring.submit_and_wait(left)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                // Buffers are in the kernel's hands: nothing may be freed any more.
                eprintln!("io_uring_enter: {error}");
                std::process::abort();
            }
            for completion in self.ring.completion() {
                left -= 1;
                if completion.result() != length {
                    wrong = Some(completion.result());
                }
            }
        }
        match wrong {
            None => Ok(()),
            Some(result) if result < 0 => {
                bail!("a send failed: {}", std::io::Error::from_raw_os_error(-result))
            }
            Some(result) => bail!("a send took {result} of {length} bytes"),
        }
    }
}
