//! The HTTP side of Fanfare: Server-Sent Events over HTTP/1.1 lanes, HTTP/2 and TLS.
//!
//! # The life of a request
//!
//! A listener accepts (`accept`) within the connection limits (`shared`). One deadline covers everything from there to the
//! first complete request: TLS handshake, the guess at the protocol version, the HTTP/2 preface, the header (`connection`,
//! `watch`). hyper parses; `route` checks the host, decides by method and path, and answers every refusal as JSON with a
//! stable code (`reply`).
//!
//! The host may want to decide about requests to subscribe, publish and close ([`authorize`]): it is asked (`ask`) after all
//! that, and before anything is opened, read or changed.
//!
//! A publish (`publish`, `ndjson`) becomes a draft and goes to the engine; nothing of it happens before all of it has been
//! checked.
//!
//! A subscription (`subscribe`) takes one of two ways. A plain HTTP/1 socket leaves hyper and joins a lane (`handoff`,
//! `lane`): one thread that writes the same bytes to thousands of sockets. TLS and HTTP/2 streams stay with hyper as a body
//! that pulls batches from its own cursor (`body`). Both say the same bytes (`stream`).
//!
//! # Embedding
//!
//! An application with a web server of its own gives its sockets away ([`Server::adopt`], [`embed`]): they enter a lane by the
//! same door. Where it cannot, it writes the bytes itself ([`Server::open_stream`]): the same cursor and bytes as in a body
//! (`pull`), with timers that need no runtime (`alarm`).
//!
//! # Stopping
//!
//! [`Server::stop`] closes the listeners and idle connections at once, lets requests in service finish, ends open streams
//! spread over a part of the time it is given, each between two events, and cuts what is left at its end. It never waits longer.
//!
//! # Layers
//!
//! Modules are declared in layer order: a module imports only from modules above it.
#![forbid(unsafe_code)]

mod clock;
pub use clock::Clock;

mod named;

pub mod authorize;

#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

mod config;
pub use config::{Config, Page};

mod shared;

mod handoff;

mod stream;

mod lane;

mod patience;

mod settle;

mod watch;

mod pull;

mod alarm;

mod body;

mod reply;

mod query;

mod host;

mod cors;

mod io;

mod limit;

mod ndjson;

mod pages;

mod app;

mod ask;

mod publish;

mod stats;

mod metrics;

mod greeting;

mod subscribe;

pub mod embed;

mod route;

#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "no_http2.rs"]
mod http2;

mod connection;

mod accept;

mod server;
pub use server::{Server, StartError, StopReport};
