//! Fanfare's event handlers: WebAssembly components between a publisher and history, run by wasmtime.
//!
//! A handler is a file that somebody drops in. It sees an event and passes it, drops it, changes it, makes several of
//! it or refuses it; it cannot reach anything but the four small interfaces of its contract, `wit/handler.wit`. What it may
//! take is bounded ([`Config`]), and whatever it does, its publisher has an answer within the time limit and the
//! hub goes on.
//!
//! ```
//! # #[cfg(feature = "wasm-jit")] {
//! use fanfare_engine::{Draft, Handler, Timestamp, Turn, Verdict};
//! use fanfare_wasi_host::{Config, Runtime, WasmHandler};
//!
//! let runtime = Runtime::new()?;
//! // The smallest handler there is: it answers `pass`, whatever comes.
//! let bytes = wat::parse_str(
//!     r#"(module (memory (export "memory") 1)
//!         (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
//!         (func (export "transform") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))"#,
//! )?;
//! let handler = WasmHandler::new(&runtime, "pass", &bytes, &Config::default())?;
//! let verdict = handler.handle(&Draft::new("votes", "yes"), Timestamp(0), &mut Turn::default());
//! assert_eq!(verdict, Ok(Verdict::Pass));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features: `wasm` runs handlers, `wasm-jit` (default) also compiles them. Without either only [`Config`] is here, and
//! nothing of wasmtime. Modules are declared in layer order: each imports only from those above it.

mod config;
pub use config::{Config, Entry, Isolation, Own, Policy, UnknownWord};

#[cfg(feature = "wasm-jit")]
mod apart;
#[cfg(feature = "wasm")]
mod error;
#[cfg(feature = "wasm")]
mod fault;
#[cfg(feature = "wasm")]
mod kv;
#[cfg(feature = "wasm")]
mod meter;
#[cfg(feature = "wasm")]
mod states;
#[cfg(feature = "wasm")]
mod ticker;

#[cfg(feature = "wasm")]
mod budget;
#[cfg(feature = "wasm")]
mod contract;

#[cfg(feature = "wasm")]
mod answer;

#[cfg(feature = "wasm")]
mod artifact;

#[cfg(feature = "wasm-jit")]
mod cache;

#[cfg(feature = "wasm")]
mod host;

#[cfg(feature = "wasm")]
mod runtime;

#[cfg(feature = "wasm-jit")]
mod core_module;

#[cfg(feature = "wasm-jit")]
mod compiler;

#[cfg(feature = "wasm")]
mod script;

#[cfg(feature = "wasm-jit")]
mod script_engine;

#[cfg(feature = "wasm")]
mod load;

#[cfg(feature = "wasm")]
mod export;

#[cfg(feature = "wasm")]
mod instance;

#[cfg(feature = "wasm")]
mod pool;

#[cfg(feature = "wasm")]
mod handler;

#[cfg(feature = "wasm")]
mod watch;

#[cfg(feature = "wasm")]
mod beat;

#[cfg(feature = "wasm")]
pub use {
    beat::Beat,
    contract::WIT,
    error::LoadError,
    fault::{FaultKind, WasmFault},
    handler::{Trial, WasmHandler, name_of},
    load::{About, Origin, check_name},
    runtime::{Runtime, RuntimeError},
    states::States,
    watch::{FileWatch, read_file},
};
