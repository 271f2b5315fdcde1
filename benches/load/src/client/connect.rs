//! Connections of subscribers, from many addresses.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// Addresses of the loopback network that subscribers come from, so that a storm of reconnects does not run out of ports.
const ADDRESSES: usize = 200;

/// A blocking connection of subscriber `number`.
pub(super) fn connect(
    address: SocketAddr,
    number: usize,
    receive_buffer: Option<usize>,
) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv4() {
        let last = u8::try_from(1 + number % ADDRESSES)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into())?;
    }
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect(&address.into()).context("cannot connect")?;
    Ok(socket.into())
}

/// Asks for the stream over HTTP/1.1.
pub(super) fn subscribe(
    socket: &mut impl Write,
    address: SocketAddr,
    topic: Option<usize>,
    after: Option<&str>,
) -> std::io::Result<()> {
    socket.write_all(request(address, topic, after).as_bytes())
}

/// The request for the stream of the one topic, or of a numbered one, in HTTP/1.1.
pub(super) fn request(address: SocketAddr, topic: Option<usize>, after: Option<&str>) -> String {
    let topic = topic.map_or_else(String::new, |number| number.to_string());
    let after = after.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    format!(
        "GET /events/bench{topic} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{after}\r\n"
    )
}
