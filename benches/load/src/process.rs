//! Servers under test as child processes, and what `/proc` says of them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::Server;

/// Kernel clock ticks a second (`USER_HZ`), fixed at 100 on every Linux that user space sees.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(server: Server, bin: Option<&Path>) -> Result<Self> {
        let own = env::current_exe()?;
        let bin = bin.or(own.parent()).context("no folder with binaries")?;
        let mut command = match server {
            Server::Fanfare => {
                let mut command = Command::new(bin.join("fanfare"));
                command.args(["serve", "--listen", "127.0.0.1:0"]);
                // All subscribers come from one address, and more of them than a small machine would allow.
                command.args(["--set", "limits.connections=20000", "--set", "log=warn"]);
                command
            }
            Server::Floor => {
                let mut command = Command::new(&own);
                command.arg("floor");
                command
            }
            Server::Axum => Command::new(bin.join("fanfare-peer-axum")),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}; build it first (see --help)"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        for line in BufReader::new(stdout).lines() {
            if let Some((_, address)) = line?.split_once("http://") {
                let address =
                    address.trim_end_matches('/').parse().context("the server prints its address")?;
                return Ok(Self { child, address });
            }
        }
        bail!("{server:?} ended before it listened")
    }

    /// CPU seconds used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Fields 14 and 15; the name in field 2 may hold spaces, so count from its closing parenthesis.
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("format of stat")?.1.split_ascii_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("format of stat");
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Anonymous resident memory in bytes: what the process itself has allocated and touched.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .context("RssAnon in status")?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
