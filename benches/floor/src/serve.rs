//! As much HTTP as the bench's own clients need, and no more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, bail};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n";
/// No scenario publishes more at once.
const MAX_BODY_BYTES: usize = 64 << 20;

/// A way to send one frame to all.
pub(crate) trait Fanout {
    /// Called before the first frame, with all subscribers.
    fn prepare(&mut self, subscribers: &[TcpStream]) -> Result<()>;

    /// Returns when every socket has taken the whole frame.
    fn send(&mut self, subscribers: &[TcpStream], frame: &[u8]) -> Result<()>;
}

/// Serves until it is killed. Subscribers come first, then one publisher at a time.
pub(crate) fn run(fanout: &mut dyn Fanout) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut subscribers = Vec::new();
    for socket in listener.incoming() {
        let mut reader = BufReader::new(socket?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.starts_with("GET") {
            let mut socket = reader.into_inner();
            socket.write_all(HEAD)?;
            socket.set_nodelay(true)?;
            subscribers.push(socket);
        } else {
            fanout.prepare(&subscribers)?;
            serve_publisher(reader, &subscribers, fanout)?;
        }
    }
    Ok(())
}

/// Takes publishes on one connection until it closes.
fn serve_publisher(
    mut reader: BufReader<TcpStream>,
    subscribers: &[TcpStream],
    fanout: &mut dyn Fanout,
) -> Result<()> {
    reader.get_ref().set_nodelay(true)?;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        if length > MAX_BODY_BYTES {
            bail!("a body of {length} bytes; the floor takes {MAX_BODY_BYTES}");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).context("a body of UTF-8")?;
        for line in body.lines() {
            let event = format!("id: k3f9x2ab-1000000\ndata: {line}\n\n");
            let frame = format!("{:x}\r\n{event}\r\n", event.len());
            fanout.send(subscribers, frame.as_bytes())?;
        }
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
