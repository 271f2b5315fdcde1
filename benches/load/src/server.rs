//! The servers under test: how each is started, and the form of event that it takes.

mod brokers;

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// Digits of an event's number, with which its data starts.
pub(crate) const DIGITS: usize = 10;

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// The `fanfare` binary, over plain HTTP/1.1.
    Fanfare,
    /// The same, whose lanes send by io_uring.
    FanfareUring,
    /// The `fanfare` binary, over HTTP/2 in clear.
    FanfareH2,
    /// The `fanfare` binary, over HTTP/1.1 in TLS.
    FanfareTls,
    /// The `fanfare` binary, over HTTP/2 in TLS, as browsers come.
    FanfareH2Tls,
    /// The `fanfare` binary with history on disk, durability as it comes.
    FanfareStore,
    /// The same, where a publish is answered when it is on disk.
    FanfareAlways,
    /// An application that Fanfare is inside of, with history on disk, durability as it comes: its own threads publish.
    Embedded,
    /// The same, where a publish returns when it is on disk.
    EmbeddedAlways,
    /// The same with history in memory alone: subscribers over plain HTTP/1.1, the publisher in the process.
    EmbeddedMemory,
    /// The same, whose lanes send by io_uring.
    EmbeddedUring,
    /// A bare non-blocking `send` loop over prepared frames.
    Floor,
    /// The same sends by io_uring.
    FloorUring,
    /// axum's `Sse` over `tokio::sync::broadcast`.
    Axum,
    /// nginx with nchan, one worker.
    Nchan,
    /// Express with `clients.forEach(res.write)`.
    Express,
    /// better-sse's channel on Express.
    BetterSse,
    /// Starlette with sse-starlette on uvicorn.
    Starlette,
    /// Express whose route hands its sockets to Fanfare.
    ExpressFanfare,
    /// Starlette whose route hands its sockets to Fanfare.
    StarletteFanfare,
    /// A stream of Redis, with its append-only file synced as it comes: once a second.
    Redis,
    /// The same, synced before each answer.
    RedisAlways,
    /// A stream of NATS JetStream in files, synced as it comes: every two minutes.
    Nats,
    /// The same, synced before each answer.
    NatsAlways,
}

/// How subscribers come to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP/1.1 in clear.
    Plain,
    /// HTTP/1.1 in TLS.
    Tls,
    /// HTTP/2 in clear, with prior knowledge.
    H2,
    /// HTTP/2 in TLS.
    H2Tls,
}

impl Transport {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::H2Tls)
    }
}

/// Where the parts of the bench are.
pub(crate) struct Places {
    /// The binaries `fanfare`, `fanfare-embedded`, `fanfare-floor` and `fanfare-peer-axum`.
    pub(crate) bin: PathBuf,
    /// The sources of the peers, with what `cargo xtask bench` has installed for them.
    pub(crate) peers: PathBuf,
    /// The Python interpreter that has the peers' packages.
    pub(crate) python: PathBuf,
    /// The program `nats-server`.
    pub(crate) nats: PathBuf,
}

/// A server that is about to start.
pub(crate) struct Start {
    pub(crate) command: Command,
    /// Where it will listen; `None` when it says so itself on its standard output.
    pub(crate) address: Option<SocketAddr>,
    /// Files of this one start, removed at its end.
    pub(crate) scratch: Option<Scratch>,
    /// What clients of TLS have to trust.
    pub(crate) certificate: Option<PathBuf>,
}

/// A folder that is removed when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let folder = env::temp_dir().join(format!("fanfare-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Server {
    /// Whether it is Fanfare's own binary, in whatever transport.
    pub(crate) fn is_fanfare(self) -> bool {
        self.is_stored_fanfare()
            || matches!(
                self,
                Self::Fanfare | Self::FanfareUring | Self::FanfareH2 | Self::FanfareTls | Self::FanfareH2Tls
            )
    }

    /// Whether it is Fanfare with history on disk.
    fn is_stored_fanfare(self) -> bool {
        matches!(self, Self::FanfareStore | Self::FanfareAlways)
    }

    /// Whether it takes publishes in a protocol of its own, and nobody subscribes to it here.
    pub(crate) fn is_broker(self) -> bool {
        matches!(self, Self::Redis | Self::RedisAlways | Self::Nats | Self::NatsAlways)
    }

    /// Whether its publishers are threads of its own.
    pub(crate) fn is_embedded(self) -> bool {
        matches!(self, Self::EmbeddedMemory | Self::EmbeddedUring) || self.is_stored_embedded()
    }

    /// Whether its publishers are threads of its own, and nobody subscribes to it here.
    pub(crate) fn is_stored_embedded(self) -> bool {
        matches!(self, Self::Embedded | Self::EmbeddedAlways)
    }

    /// Whether it keeps what is published on disk.
    pub(crate) fn stores(self) -> bool {
        self.is_stored_fanfare() || self.is_stored_embedded() || self.is_broker()
    }

    /// Whether its readers may miss events: with a peer that is a result, with us and with the floors a fault.
    pub(crate) fn may_lose(self) -> bool {
        matches!(self, Self::Axum | Self::Nchan | Self::Express | Self::BetterSse | Self::Starlette)
    }

    /// Whether it takes one connection at a time, its subscribers first, and sends to all or to none.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::Floor | Self::FloorUring)
    }

    /// Whether a reader that comes back with `Last-Event-ID` gets what it missed.
    pub(crate) fn resumes(self) -> bool {
        self.is_fanfare() || matches!(self, Self::Nchan | Self::ExpressFanfare | Self::StarletteFanfare)
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::FanfareH2 => Transport::H2,
            Self::FanfareTls => Transport::Tls,
            Self::FanfareH2Tls => Transport::H2Tls,
            _ => Transport::Plain,
        }
    }

    /// Its name as the command line takes it and reports show it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(|| format!("{self:?}"), |value| value.get_name().to_owned())
    }

    /// Events that it takes in one publish of a burst. A broadcast channel must be able to hold them; nchan takes a body for one event.
    pub(crate) fn burst_body(self) -> usize {
        if self == Server::Nchan { 1 } else { 100 }
    }

    /// Events with these numbers as it takes them, each with `size` bytes of data.
    pub(crate) fn body(self, numbers: Range<usize>, size: usize) -> String {
        let line = |number: usize| {
            let data = format!("{number:010}{}", "x".repeat(size.saturating_sub(DIGITS)));
            match self {
                _ if self.is_fanfare() || self.is_embedded() => format!("{{\"data\":\"{data}\"}}\n"),
                Server::Nchan => data,
                _ => format!("{data}\n"),
            }
        };
        numbers.map(line).collect()
    }

    /// How it is started.
    pub(crate) fn start(self, places: &Places) -> Result<Start> {
        let says = |command: Command| Start { command, address: None, scratch: None, certificate: None };
        let script = |program: &Path, script: PathBuf| -> Result<Start> {
            if !script.is_file() {
                bail!(
                    "{} is not there; run from the project's folder, or name it with --peers",
                    script.display()
                );
            }
            let mut command = Command::new(program);
            command.arg(script);
            Ok(says(command))
        };
        let node = |name: &str| script(Path::new("node"), places.peers.join("node").join(name));
        let python = |name: &str| script(&places.python, places.peers.join("python").join(name));
        match self {
            Server::Fanfare | Server::FanfareH2 | Server::FanfareTls | Server::FanfareH2Tls => {
                let mut command = Command::new(places.bin.join("fanfare"));
                command.args(["serve", "--listen", "127.0.0.1:0"]);
                // More subscribers than a small machine would allow.
                command.args(["--set", "limits.connections=20000", "--set", "log=warn"]);
                let mut start = says(command);
                if self.transport().is_tls() {
                    add_tls(&mut start)?;
                }
                Ok(start)
            }
            Server::FanfareUring => {
                let mut start = Server::Fanfare.start(places)?;
                start.command.args(["--set", "lanes.io_uring=true"]);
                Ok(start)
            }
            Server::FanfareStore | Server::FanfareAlways => {
                let mut start = Server::Fanfare.start(places)?;
                let scratch = Scratch::new("store")?;
                start.command.arg("--data").arg(scratch.0.join("data"));
                if self == Server::FanfareAlways {
                    start.command.args(["--set", "history.durability=always"]);
                }
                start.scratch = Some(scratch);
                Ok(start)
            }
            Server::Embedded | Server::EmbeddedAlways => {
                let scratch = Scratch::new("embedded")?;
                let mut start = says(Command::new(places.bin.join("fanfare-embedded")));
                let durability = if self == Server::Embedded { "interval" } else { "always" };
                start.command.arg(scratch.0.join("data")).arg(durability);
                start.scratch = Some(scratch);
                Ok(start)
            }
            Server::EmbeddedMemory => Ok(says(Command::new(places.bin.join("fanfare-embedded")))),
            Server::EmbeddedUring => {
                let mut start = Server::EmbeddedMemory.start(places)?;
                start.command.arg("--io-uring");
                Ok(start)
            }
            Server::Redis => brokers::redis("everysec"),
            Server::RedisAlways => brokers::redis("always"),
            Server::Nats => brokers::nats(&places.nats, None),
            Server::NatsAlways => brokers::nats(&places.nats, Some("always")),
            Server::Floor => Ok(says(Command::new(places.bin.join("fanfare-floor")))),
            Server::FloorUring => {
                let mut command = Command::new(places.bin.join("fanfare-floor"));
                command.arg("--uring");
                Ok(says(command))
            }
            Server::Axum => Ok(says(Command::new(places.bin.join("fanfare-peer-axum")))),
            Server::Nchan => nchan(&places.peers.join("nchan/nginx.conf")),
            Server::Express => node("express.mjs"),
            Server::BetterSse => node("better-sse.mjs"),
            Server::ExpressFanfare => node("express-fanfare.mjs"),
            Server::Starlette => python("starlette_peer.py"),
            Server::StarletteFanfare => python("starlette_fanfare.py"),
        }
    }
}

/// A certificate of this one start.
fn add_tls(start: &mut Start) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let scratch = Scratch::new("tls")?;
    let (certificate, key) = (scratch.0.join("cert.pem"), scratch.0.join("key.pem"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    start.command.args(["--tls-listen", "127.0.0.1:0", "--tls-cert"]).arg(&certificate);
    start.command.arg("--tls-key").arg(&key);
    start.scratch = Some(scratch);
    start.certificate = Some(certificate);
    Ok(())
}

/// nginx does not take port 0: a port that was free a moment ago is put into its configuration.
fn nchan(template: &Path) -> Result<Start> {
    let text = fs::read_to_string(template).with_context(|| format!("cannot read {}", template.display()))?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let scratch = Scratch::new("nchan")?;
    let config = scratch.0.join("nginx.conf");
    let folder = scratch.0.to_string_lossy();
    let modules = "/usr/lib/nginx/modules";
    let text = text
        .replace("PREFIX", &folder)
        .replace("PORT", &address.port().to_string())
        .replace("load_module modules", &format!("load_module {modules}"));
    fs::write(&config, text)?;
    // Debian puts it where only root's PATH looks.
    let usual = Path::new("/usr/sbin/nginx");
    let mut command = Command::new(if usual.is_file() { usual } else { Path::new("nginx") });
    command.arg("-p").arg(&scratch.0).arg("-c").arg(&config);
    command.arg("-e").arg(scratch.0.join("error.log"));
    Ok(Start { command, address: Some(address), scratch: Some(scratch), certificate: None })
}
