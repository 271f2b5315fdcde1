//! One non-blocking `send` per event and socket.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use anyhow::Result;

use crate::serve::Fanout;

/// The loop.
pub(crate) struct SendLoop;

impl Fanout for SendLoop {
    fn prepare(&mut self, subscribers: &[TcpStream]) -> Result<()> {
        for socket in subscribers {
            socket.set_nonblocking(true)?;
        }
        Ok(())
    }

    fn send(&mut self, subscribers: &[TcpStream], frame: &[u8]) -> Result<()> {
        subscribers.iter().try_for_each(|socket| send(socket, frame))
    }
}

/// Sends all of it; a full socket is tried again at once, which the scenarios of the floor do not run into.
fn send(mut socket: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
