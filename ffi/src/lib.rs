//! libfanfare: the C ABI of the Fanfare event engine.
//!
//! The contract is `include/fanfare.h`, which is generated from this crate; its front page has the rules for threads, ownership,
//! errors and forks. Here is how they are kept:
//!
//! * A handle is a number that is looked up, never a pointer that is followed (`table`, `ids`): what is freed, forged or of another process is an error.
//! * Every function runs inside `guard`, which turns a panic into a status, and refuses calls from inside the host's wake-up.
//! * What comes in is copied or encoded before the call returns (`abi`); what goes out lives in a batch (`item`, `batch`).
//! * The host is told by one queue (`queue`): a descriptor, a wake-up, or waiting. No thread of ours runs the host's logic.
//! * Tables hang on memory that a forked child gets empty (`process`), so a child is refused before it touches a lock.
//!
//! # Layers
//!
//! Modules are declared in layer order: a module imports only from modules above it.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "what streams and requests of HTTP need"))]

#[cfg(panic = "abort")]
compile_error!("libfanfare turns panics into error codes, which needs panic = \"unwind\"");

mod failure;
mod text;

mod abi;
mod status;
mod version;

mod guard;
mod item;
mod signal;

mod batch;
mod queue;

mod bell;
mod ids;
mod reader;
mod written;

mod settings;

mod instance;

#[cfg(feature = "http")]
mod gate;
mod table;

mod process;

mod config;

mod hub;

mod handlers;
mod publish;
mod stats;
mod subscribe;

#[cfg(feature = "http")]
mod greeting;

#[cfg(feature = "http")]
mod adopt;
#[cfg(feature = "http")]
mod authorize;
#[cfg(feature = "http")]
mod open_stream;
#[cfg(not(feature = "http"))]
mod without_http;

mod drain;

#[cfg(feature = "failpoints")]
mod failpoint;

pub use abi::fanfare_str;
#[cfg(feature = "http")]
pub use adopt::{
    FANFARE_CHUNKED, FANFARE_HEAD_SENT, FANFARE_HTTP10, FANFARE_NOTIFY_END, fanfare_adopt,
    fanfare_adopt_options, fanfare_close_stream,
};
#[cfg(feature = "http")]
pub use authorize::{fanfare_accept, fanfare_grant, fanfare_reject};
pub use config::*;
pub use drain::*;
pub use handlers::{
    FANFARE_HANDLER_NAME_BYTES, fanfare_get_handlers, fanfare_handler, fanfare_handler_info,
    fanfare_load_handler, fanfare_unload_handler,
};
pub use hub::{
    FANFARE_STOP_DEFAULT, fanfare_free, fanfare_hub, fanfare_start, fanfare_stop, fanfare_stop_report,
    fanfare_url, fanfare_urls,
};
pub use item::{
    FANFARE_ACTION_CLOSE, FANFARE_ACTION_PUBLISH, FANFARE_ACTION_SUBSCRIBE, FANFARE_ITEM_BYTES,
    FANFARE_ITEM_END, FANFARE_ITEM_EVENT, FANFARE_ITEM_GAP, FANFARE_ITEM_READY, FANFARE_ITEM_REQUEST,
    fanfare_header, fanfare_item, fanfare_request,
};
#[cfg(feature = "http")]
pub use open_stream::{fanfare_open_stream, fanfare_revoke};
pub use publish::{
    FANFARE_EVENT_RETRY, FANFARE_ID_BYTES, fanfare_close_topic, fanfare_delete_history, fanfare_event,
    fanfare_publish, fanfare_publish_batch, fanfare_published,
};
pub use stats::{fanfare_get_stats, fanfare_stats};
pub use status::{
    FANFARE_AGAIN, FANFARE_ERROR_MESSAGE_BYTES, FANFARE_OK, fanfare_code_name, fanfare_code_number,
    fanfare_error, fanfare_status, fanfare_strerror,
};
pub use subscribe::{
    FANFARE_LAG_CONFLATE, FANFARE_LAG_DEFAULT, FANFARE_LAG_DISCONNECT, FANFARE_LAG_SKIP, FANFARE_ON_DEMAND,
    FANFARE_REPLAY_ALL, fanfare_add_topic, fanfare_remove_topic, fanfare_subscribe,
    fanfare_subscribe_options, fanfare_unsubscribe,
};
pub use version::{FANFARE_ABI_VERSION, fanfare_abi_version, fanfare_version};
#[cfg(not(feature = "http"))]
pub use without_http::*;
