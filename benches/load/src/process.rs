//! Servers under test as child processes, and what `/proc` says of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::subscribers::Target;
use crate::server::{Places, Scratch, Server, Transport};

/// Kernel clock ticks a second (`USER_HZ`), fixed at 100 on every Linux that user space sees.
const TICKS_PER_SECOND: f64 = 100.0;
/// A server that does not listen or end by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server with its workers; ended when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Where it takes publishes, and subscribers without TLS.
    pub(crate) address: SocketAddr,
    /// Where it takes subscribers with TLS.
    tls_address: Option<SocketAddr>,
    certificate: Option<PathBuf>,
    transport: Transport,
    /// Its files, which go when it has ended: fields are dropped after the process.
    _scratch: Option<Scratch>,
}

impl Process {
    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(server: Server, places: &Places) -> Result<Self> {
        let mut start = server.start(places)?;
        let command = start.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {command:?}; `cargo xtask bench` builds and installs all")
        })?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let stdin = child.stdin.take().filter(|_| server.is_embedded());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self {
            child,
            stdin,
            stdout,
            address: start.address.unwrap_or(any),
            tls_address: None,
            certificate: start.certificate,
            transport: server.transport(),
            _scratch: start.scratch,
        };
        if start.address.is_some() {
            process.wait_until_it_accepts()?;
            return Ok(process);
        }
        loop {
            let line = process.line()?;
            if line.is_empty() {
                bail!("{server:?} ended before it listened");
            }
            let line = line.trim_end();
            let address = |scheme| match line.split_once(scheme) {
                None => Ok(None),
                Some((_, address)) => {
                    address.trim_end_matches('/').parse().map(Some).context("the server prints its address")
                }
            };
            if let Some(address) = address("http://")? {
                process.address = address;
            }
            process.tls_address = process.tls_address.or(address("https://")?);
            if process.address != any && (process.tls_address.is_some() || !process.transport.is_tls()) {
                return Ok(process);
            }
        }
    }

    /// The answer of one that takes commands.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String> {
        let stdin = self.stdin.as_mut().context("it takes no commands")?;
        stdin.write_all(format!("{command}\n").as_bytes()).context("it takes no commands any more")?;
        self.line()
    }

    /// The next line that it prints; empty at the end.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("what it prints")?;
        Ok(line)
    }

    /// Where subscribers go.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            transport: self.transport,
            address: self.tls_address.unwrap_or(self.address),
            certificate: self.certificate.as_deref(),
            own_topics: false,
        }
    }

    fn wait_until_it_accepts(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it listened: {status}");
            }
            if Instant::now() > end {
                bail!("the server does not listen on {}", self.address);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The process and all below it, such as nginx' workers.
    fn all(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut next = 0;
        while let Some(&id) = all.get(next) {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            next += 1;
        }
        all
    }

    /// CPU seconds used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.all().into_iter().map(cpu).sum()
    }

    /// Anonymous resident memory in bytes: what the processes themselves have allocated and touched. What nginx' workers share counts once.
    pub(crate) fn memory(&self) -> Result<u64> {
        let all = self.all();
        let shared = memory(all[0], "RssShmem:")?;
        Ok(shared + all.into_iter().map(|id| memory(id, "RssAnon:")).sum::<Result<u64>>()?)
    }
}

fn cpu(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Fields 14 and 15; the name in field 2 may hold spaces, so count from its closing parenthesis.
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("format of stat")?.1.split_ascii_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("format of stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn memory(id: u32, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .with_context(|| format!("{what} in status"))?;
    Ok(kib * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, so that a master ends its workers. It may be gone already; then there is nothing to do.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
