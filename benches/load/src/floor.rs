//! The floor: what the kernel asks for at least. One thread, one non-blocking `send` per event and socket over prepared
//! frames; no parser, history, queue or wake-up.
//!
//! Whoever sends a GET becomes a subscriber; a POST sends each line of its body, in one frame a line, to all.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n:\n\r\n";

/// Serves until it is killed. Subscribers come first, then one publisher at a time.
pub(crate) fn run() -> Result<()> {
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
            socket.set_nonblocking(true)?;
            subscribers.push(socket);
        } else {
            serve_publisher(reader, &subscribers)?;
        }
    }
    Ok(())
}

/// Takes publishes on one connection until it closes.
fn serve_publisher(mut reader: BufReader<TcpStream>, subscribers: &[TcpStream]) -> Result<()> {
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
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).context("a body of UTF-8")?;
        for line in body.lines() {
            let event = format!("id: k3f9x2ab-1000000\ndata: {line}\n\n");
            let frame = format!("{:x}\r\n{event}\r\n", event.len());
            for mut socket in subscribers {
                send(&mut socket, frame.as_bytes())?;
            }
        }
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

/// Sends all of it; a full socket is tried again at once, which the scenarios of the floor do not run into.
fn send(socket: &mut &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
