//! The servers under test: how each is started, and the form of event that it takes.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// The `fanfare` binary.
    Fanfare,
    /// A bare non-blocking `send` loop over prepared frames.
    Floor,
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
}

/// Where the parts of the bench are.
pub(crate) struct Places {
    /// The binaries `fanfare` and `fanfare-peer-axum`.
    pub(crate) bin: PathBuf,
    /// The sources of the peers, with what `cargo xtask bench` has installed for them.
    pub(crate) peers: PathBuf,
    /// The Python interpreter that has the peers' packages.
    pub(crate) python: PathBuf,
}

/// A server that is about to start.
pub(crate) struct Start {
    pub(crate) command: Command,
    /// Where it will listen; `None` when it says so itself on its standard output.
    pub(crate) address: Option<SocketAddr>,
    /// Files of this one start, removed at its end.
    pub(crate) scratch: Option<PathBuf>,
}

impl Server {
    /// Events that it takes in one publish of a burst. A broadcast channel must be able to hold them; nchan takes a body for one event.
    pub(crate) fn burst_body(self) -> usize {
        if self == Server::Nchan { 1 } else { 100 }
    }

    /// One event of these data as it takes it.
    pub(crate) fn line(self, data: &str) -> String {
        match self {
            Server::Fanfare => format!("{{\"data\":\"{data}\"}}\n"),
            Server::Nchan => data.to_owned(),
            _ => format!("{data}\n"),
        }
    }

    /// How it is started.
    pub(crate) fn start(self, places: &Places) -> Result<Start> {
        let says = |command: Command| Start { command, address: None, scratch: None };
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
            Server::Fanfare => {
                let mut command = Command::new(places.bin.join("fanfare"));
                command.args(["serve", "--listen", "127.0.0.1:0"]);
                // All subscribers come from one address, and more of them than a small machine would allow.
                command.args(["--set", "limits.connections=20000", "--set", "log=warn"]);
                Ok(says(command))
            }
            Server::Floor => {
                let mut command = Command::new(env::current_exe()?);
                command.arg("floor");
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

/// nginx does not take port 0: a port that was free a moment ago is put into its configuration.
fn nchan(template: &Path) -> Result<Start> {
    let text = fs::read_to_string(template).with_context(|| format!("cannot read {}", template.display()))?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let scratch = env::temp_dir().join(format!("fanfare-nchan-{}", address.port()));
    fs::create_dir_all(&scratch)?;
    let config = scratch.join("nginx.conf");
    let folder = scratch.to_string_lossy();
    let modules = "/usr/lib/nginx/modules";
    let text = text
        .replace("PREFIX", &folder)
        .replace("PORT", &address.port().to_string())
        .replace("load_module modules", &format!("load_module {modules}"));
    fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&scratch).arg("-c").arg(&config);
    command.arg("-e").arg(scratch.join("error.log"));
    Ok(Start { command, address: Some(address), scratch: Some(scratch) })
}
