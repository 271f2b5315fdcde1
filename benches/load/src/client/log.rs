//! Publishers to what keeps events: each sends one event and reads the answer that says that it is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::PATIENCE;
use super::publisher::Publisher;
use crate::server::Server;

/// A connection that publishes.
pub(crate) enum Log {
    Http { publisher: Publisher, body: String },
    Redis { socket: BufReader<TcpStream>, command: String },
    Nats { socket: BufReader<TcpStream>, command: String },
}

impl Log {
    /// Connects, and makes the stream if this is the first connection (`number` 0).
    pub(crate) fn connect(server: Server, address: SocketAddr, number: usize, size: usize) -> Result<Self> {
        let data = "x".repeat(size);
        Ok(match server {
            Server::Redis | Server::RedisAlways => {
                // The protocol of Redis, RESP2: an array of strings.
                let words = ["XADD", "bench", "*", "data", &data];
                let strings: String =
                    words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
                Self::Redis { socket: open(address)?, command: format!("*{}\r\n{strings}", words.len()) }
            }
            Server::Nats | Server::NatsAlways => {
                let mut socket = open(address)?;
                let hello = format!(
                    "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB _INBOX.{number}.* 1\r\nPING\r\n"
                );
                socket.get_mut().write_all(hello.as_bytes())?;
                while line(&mut socket)? != "PONG" {}
                if number == 0 {
                    let stream = r#"{"name":"bench","subjects":["bench"],"storage":"file"}"#;
                    let create = put("$JS.API.STREAM.CREATE.bench", number, stream);
                    nats(&mut socket, &create).context("no stream was made")?;
                }
                Self::Nats { socket, command: put("bench", number, &data) }
            }
            _ => Self::Http { publisher: Publisher::connect(address)?, body: server.body(0..1, size) },
        })
    }

    /// Publishes one event and waits for the answer.
    pub(crate) fn publish(&mut self) -> Result<()> {
        match self {
            Self::Http { publisher, body } => publisher.publish(body),
            Self::Redis { socket, command } => {
                socket.get_mut().write_all(command.as_bytes())?;
                let length = line(socket)?;
                // A bulk string, the id of the entry; an error begins with a minus.
                let Some(bytes) = length.strip_prefix('$').and_then(|length| length.parse::<usize>().ok())
                else {
                    bail!("redis answered {length}");
                };
                skip(socket, bytes + 2).map(drop)
            }
            Self::Nats { socket, command } => nats(socket, command),
        }
    }
}

fn open(address: SocketAddr) -> Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(address).context("cannot connect to publish")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(socket))
}

/// A publish of NATS with a subject for its answer.
fn put(subject: &str, number: usize, payload: &str) -> String {
    format!("PUB {subject} _INBOX.{number}.a {}\r\n{payload}\r\n", payload.len())
}

/// Sends a request of JetStream and reads its answer.
fn nats(socket: &mut BufReader<TcpStream>, command: &str) -> Result<()> {
    socket.get_mut().write_all(command.as_bytes())?;
    loop {
        let head = line(socket)?;
        if head == "PING" {
            socket.get_mut().write_all(b"PONG\r\n")?;
            continue;
        }
        let length =
            head.strip_prefix("MSG ").and_then(|head| head.rsplit(' ').next()?.parse::<usize>().ok());
        let Some(length) = length else { bail!("nats answered {head}") };
        let answer = String::from_utf8_lossy(&skip(socket, length + 2)?).into_owned();
        if answer.contains("\"error\"") || !answer.contains("bench") {
            bail!("jetstream answered {answer}");
        }
        return Ok(());
    }
}

fn line(socket: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if socket.read_line(&mut line).context("no answer to a publish")? == 0 {
        bail!("the server closed the connection");
    }
    Ok(line.trim_end().to_owned())
}

fn skip(socket: &mut BufReader<TcpStream>, bytes: usize) -> Result<Vec<u8>> {
    let mut skipped = vec![0; bytes];
    socket.read_exact(&mut skipped)?;
    Ok(skipped)
}
