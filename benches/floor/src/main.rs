//! The floor: what the kernel asks for at least. One thread, one send per event and socket over prepared frames; no parser,
//! history, queue or wake-up.
//!
//! Whoever sends a GET becomes a subscriber; a POST sends each line of its body, in one frame a line, to all. There are two
//! ways to send: a bare non-blocking `send` loop, and with `--uring` one submission for all sockets. A socket that is full
//! holds everybody up: scenarios with readers that do not read are not for the floor.

#[cfg(target_os = "linux")]
mod uring;

mod plain;

mod serve;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve::run(&mut plain::SendLoop),
        #[cfg(target_os = "linux")]
        ["--uring"] => serve::run(&mut uring::Uring::new()?),
        #[cfg(not(target_os = "linux"))]
        ["--uring"] => bail!("io_uring is of Linux"),
        _ => bail!("usage: fanfare-floor [--uring]"),
    }
}
