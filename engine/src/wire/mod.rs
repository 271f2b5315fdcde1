//! The text format of Server-Sent Events (WHATWG HTML 9.2.5 and 9.2.6): pure functions over bytes.
//!
//! What we promise of every frame: UTF-8; each field on its own line, ended by LF; `id` last; one space after each colon, so that leading spaces of data survive; data
//! split at LF, CRLF and lone CR into one `data` line each; one blank line at the end, and no byte outside.

pub mod encode;
mod frame;
pub mod parse;

pub use frame::{Frame, WeakFrame};
pub(crate) use frame::{Gap, NewFrame};
