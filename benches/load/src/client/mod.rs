//! Subscribers and publishers, spending as little as they can.
//!
//! A server may be asked in several ways ([`Transport`](crate::server::Transport)): plain HTTP/1.1 sockets are read by one
//! epoll loop, in which only one reader's bytes are looked at and the others' are counted by the kernel; TLS and HTTP/2 need
//! every byte, and are tasks of one thread.

pub(crate) mod tally;

mod stream;

mod connect;

mod plain;
mod tasks;

pub(crate) mod publisher;
pub(crate) mod stuck;

pub(crate) mod log;

pub(crate) mod subscribers;

use std::time::Duration;

/// A run that makes no progress for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections that are opened and not yet answered at a time, below every server's accept backlog.
const OPENING: usize = 100;
