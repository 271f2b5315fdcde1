//! A descriptor that is readable while there is something to drain.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An eventfd on Linux, a pipe elsewhere. Whether it is readable is known, so that neither is written or read twice.
pub(crate) struct Signal {
    reader: OwnedFd,
    /// The pipe's other end.
    writer: Option<OwnedFd>,
    set: bool,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Signal> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // SAFETY: no pointer is passed.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just opened, and nobody else's.
            Ok(Signal { reader: unsafe { OwnedFd::from_raw_fd(fd) }, writer: None, set: false })
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let (reader, writer) = io::pipe()?;
            let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
            for fd in [reader.as_raw_fd(), writer.as_raw_fd()] {
                // SAFETY: descriptors of ours.
                if unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(Signal { reader, writer: Some(writer), set: false })
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Makes it readable.
    pub(crate) fn set(&mut self) {
        if std::mem::replace(&mut self.set, true) {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // A pipe takes one byte, an eventfd eight.
        let (fd, len) = match &self.writer {
            Some(writer) => (writer.as_raw_fd(), 1),
            None => (self.fd(), one.len()),
        };
        // SAFETY: `len` bytes are readable. It cannot be full: at most one write is unread.
        unsafe { libc::write(fd, one.as_ptr().cast(), len) };
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&mut self) {
        if !std::mem::replace(&mut self.set, false) {
            return;
        }
        let mut sink = [0u8; 8];
        // SAFETY: eight bytes are writable. If a host has read it against the rules, there is nothing to read, which is what is wanted.
        unsafe { libc::read(self.fd(), sink.as_mut_ptr().cast(), sink.len()) };
    }
}
