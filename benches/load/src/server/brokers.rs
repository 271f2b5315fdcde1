//! Brokers that keep what is published: each in a folder of its own, on a port that was free a moment ago.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Scratch, Start};

/// Redis, with an append-only file and nothing else, synced as `appendfsync` says.
pub(super) fn redis(appendfsync: &str) -> Result<Start> {
    let (address, scratch) = (free()?, Scratch::new("redis")?);
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", appendfsync]).arg("--dir").arg(&scratch.0);
    command.args(["--logfile", "log"]);
    Ok(Start { command, address: Some(address), scratch: Some(scratch), certificate: None })
}

/// NATS with JetStream, synced as `sync_interval` says.
pub(super) fn nats(program: &Path, sync_interval: Option<&str>) -> Result<Start> {
    let (address, scratch) = (free()?, Scratch::new("nats")?);
    let sync = sync_interval.map_or_else(String::new, |sync| format!("sync_interval: {sync}\n"));
    let folder = scratch.0.join("jetstream");
    let config = scratch.0.join("nats.conf");
    let text = format!("listen: \"{address}\"\njetstream {{\nstore_dir: {folder:?}\n{sync}}}\n");
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&config).arg("-l").arg(scratch.0.join("log"));
    Ok(Start { command, address: Some(address), scratch: Some(scratch), certificate: None })
}

fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
