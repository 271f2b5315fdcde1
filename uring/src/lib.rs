//! Sends to many sockets by one system call: `io_uring` of Linux, used as a `send` that takes a list.
//!
//! [`Ring::send`] asks the kernel for one non-blocking `send` per socket and returns when the kernel has answered all of them. Nothing is under way
//! between two calls, so neither the bytes nor the sockets have to outlive the call, and a ring may be dropped at any time.
//!
//! # What an answer means
//!
//! The number of bytes that a socket took, and **no more than that**: 0 stands for a socket that is full, for one that is broken, for an interruption, for a
//! kernel without memory and for a ring that broke half-way. Whoever gets less than everything goes on with `send`, which says what is the matter. Bytes that are not
//! counted were not sent, so nothing is lost or sent twice.
//!
//! # Who may use it
//!
//! The thread that made it: the kernel refuses others. The descriptor is closed on exec, and the ring's memory is not in a forked child.
//!
//! # Where it is refused
//!
//! [`Ring::new`] says so: before Linux 6.1, where `kernel.io_uring_disabled` or a seccomp filter forbids it, as in Docker, without a free descriptor or memory.
#![cfg(target_os = "linux")]

mod ring;
pub use ring::{MOST, Ring};
