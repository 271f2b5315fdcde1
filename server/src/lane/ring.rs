//! A lane's ring: sends to many sockets by one system call.

use std::io;
use std::os::fd::AsFd;

use mio::net::TcpStream;

/// Belongs to the lane's thread, which makes it.
pub(super) struct Ring(fanfare_uring::Ring);

impl Ring {
    /// # Errors
    /// Where the kernel has no io_uring or forbids it.
    pub(super) fn open() -> io::Result<Ring> {
        fanfare_uring::Ring::new().map(Ring)
    }

    /// Sends each socket its bytes, and returns how many of them each has taken.
    /// Fewer than all does not tell why: [`send_on`](super::write::send_on) finds out.
    pub(super) fn send<'s>(&mut self, sends: impl Iterator<Item = (&'s TcpStream, &'s [u8])>) -> &[usize] {
        self.0.send(sends.map(|(socket, bytes)| (socket.as_fd(), bytes)))
    }

    /// The kernel has failed it: it sends nothing any more.
    pub(super) fn is_broken(&self) -> bool {
        self.0.is_broken()
    }
}
