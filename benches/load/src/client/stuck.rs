//! Readers that never read: they subscribe, take the head of the answer, and are silent.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};

use super::{PATIENCE, connect};

/// Their receive buffer, in bytes; small, so that a run of a few seconds fills it.
const RECEIVE_BUFFER: usize = 4096;

/// Opens `count` of them; dropping the sockets ends them.
pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut stuck = Vec::with_capacity(count);
    for number in 0..count {
        let mut socket = connect::connect(address, number, Some(RECEIVE_BUFFER))?;
        connect::subscribe(&mut socket, address, None, None)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut head = [0; 1];
        socket.read_exact(&mut head).context("no answer to a reader that is going to be stuck")?;
        stuck.push(socket);
    }
    Ok(stuck)
}
