//! Replays the language-neutral cases of `vectors/` and checks the wire format by properties.
//!
//! The JSON is shared with the bindings and with foreign clients; `vectors/README.md` describes it.

// Under loom the engine runs inside a model only.
#![cfg(not(loom))]

#[path = "vectors/rust/case.rs"]
mod case;
#[path = "vectors/rust/encode.rs"]
mod encode;
#[path = "vectors/rust/hub.rs"]
mod hub;
#[path = "vectors/rust/parse.rs"]
mod parse;
#[allow(unreachable_pub, reason = "shared with the fuzz crate, where it is public")]
#[path = "../../fuzz/src/reference.rs"]
mod reference;
#[path = "vectors/rust/resume.rs"]
mod resume;
