//! Readers that never read: they subscribe, take the head of the answer, and are silent.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::{PATIENCE, connect};

/// Their receive buffer, in bytes; small, so that what fills them is what the server's kernel holds.
const RECEIVE_BUFFER: usize = 4096;
/// What a server's socket holds at most where the kernel does not say.
const USUAL_SEND_BUFFER: usize = 4 << 20;
/// Their receive buffers, and what is on its way.
const SPARE: usize = 256 << 10;

/// Open sockets of such readers; dropping them ends them.
pub(crate) struct Stuck(Vec<TcpStream>);

impl Stuck {
    /// Opens `count` of them.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut stuck = Vec::with_capacity(count);
        for number in 0..count {
            let mut socket = connect::connect(address, number, Some(RECEIVE_BUFFER))?;
            connect::subscribe(&mut socket, address, None, None)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut head = [0; 1];
            socket.read_exact(&mut head).context("no answer to a reader that is going to be stuck")?;
            stuck.push(socket);
        }
        Ok(Self(stuck))
    }

    /// Bytes in the server's socket of each; none where the server has closed it.
    pub(crate) fn queued(&self) -> Result<Vec<Option<u64>>> {
        let all = fs::read_to_string("/proc/net/tcp")?;
        // Number, local and remote address, state, "bytes to send:bytes to read".
        let queues: HashMap<_, _> = all
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_ascii_whitespace().skip(1);
                let ends = (fields.next()?, fields.next()?);
                let (to_send, _) = fields.nth(1)?.split_once(':')?;
                Some((ends, u64::from_str_radix(to_send, 16).ok()?))
            })
            .collect();
        let one = |socket: &TcpStream| {
            let (server, reader) = (hex(socket.peer_addr()?)?, hex(socket.local_addr()?)?);
            Ok(queues.get(&(server.as_str(), reader.as_str())).copied())
        };
        self.0.iter().map(one).collect()
    }

    /// Fails if the server's sockets have taken anything since they held `before`.
    pub(crate) fn check(&self, before: &[Option<u64>]) -> Result<()> {
        let now = self.queued()?;
        let grown = before.iter().zip(&now).filter(|(before, now)| now > before).count();
        if grown > 0 {
            bail!("{grown} of {} readers were not stuck: their sockets took more", now.len());
        }
        Ok(())
    }
}

/// Bytes that no socket takes whose reader is stuck: the kernel counts more than the payload against its limit.
pub(crate) fn more_than_fits() -> usize {
    let limits = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap_or_default();
    let most = limits.split_ascii_whitespace().nth(2).and_then(|most| most.parse().ok());
    most.unwrap_or(USUAL_SEND_BUFFER) + SPARE
}

/// An address as the kernel's table of sockets has it.
fn hex(address: SocketAddr) -> Result<String> {
    let SocketAddr::V4(address) = address else { bail!("{address} is not IPv4") };
    Ok(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reader_is_stuck_when_so_much_was_sent_and_not_before() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"H").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        let stuck = Stuck::open(address, 1).unwrap();
        let mut socket = server.join().unwrap();
        let empty = stuck.queued().unwrap();
        let mut send = |bytes: usize| {
            let mut left = bytes;
            while left > 0 {
                match socket.write(&vec![b'x'; left.min(64 << 10)]) {
                    Ok(taken) => left -= taken,
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        };
        send(256 << 10);
        assert!(stuck.check(&empty).is_err(), "it took some");

        // A full socket takes some more when the reader's kernel has acknowledged what came.
        let mut full = stuck.queued().unwrap();
        let mut times_stuck = 0;
        for _ in 0..500 {
            send(more_than_fits());
            std::thread::sleep(Duration::from_millis(10));
            times_stuck = if stuck.check(&full).is_ok() { times_stuck + 1 } else { 0 };
            full = stuck.queued().unwrap();
            if times_stuck == 20 {
                break;
            }
        }
        assert_eq!(times_stuck, 20, "it takes more and more: {full:?}");
        assert!(full[0].is_some_and(|bytes| bytes > 256 << 10), "{full:?}");
    }
}
