//! Publishers: one kept-alive connection each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use memchr::memmem;

use super::PATIENCE;

/// A publisher.
pub(crate) struct Publisher {
    socket: TcpStream,
    address: SocketAddr,
    answer: Vec<u8>,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address).context("cannot connect to publish")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, address, answer: Vec::new() })
    }

    /// Publishes a body: as [`Server::body`](crate::server::Server::body) writes its events.
    pub(crate) fn publish(&mut self, body: &str) -> Result<()> {
        self.send(body)?;
        self.read_answer()
    }

    /// The first half of [`publish`](Self::publish).
    pub(crate) fn send(&mut self, body: &str) -> Result<()> {
        let head = format!(
            "POST /events/bench HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        Ok(self.socket.write_all(&[head.as_bytes(), body.as_bytes()].concat())?)
    }

    /// The second half of [`publish`](Self::publish).
    pub(crate) fn read_answer(&mut self) -> Result<()> {
        self.answer.clear();
        let mut buffer = [0; 16 << 10];
        loop {
            let n = self.socket.read(&mut buffer).context("no answer to a publish")?;
            if n == 0 {
                bail!("the server closed while it answered a publish");
            }
            self.answer.extend_from_slice(&buffer[..n]);
            let Some(end) = memmem::find(&self.answer, b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
            if !head.starts_with("http/1.1 2") {
                bail!("publish was refused: {}", String::from_utf8_lossy(&self.answer));
            }
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|length| length.trim().parse::<usize>().ok())
                .context("an answer without Content-Length")?;
            if self.answer.len() >= end + 4 + length {
                return Ok(());
            }
        }
    }
}
