//! `fanfare_pass` as a plugin of Extism's.

use extism_pdk::*;
use fanfare_handlers_bench_guests::{PASS, REJECT, answer, unpack};

#[plugin_fn]
pub fn transform(input: Vec<u8>) -> FnResult<Vec<u8>> {
    Ok(match unpack(&input) {
        Some((_, _, _, data)) if !data.is_empty() => vec![PASS],
        _ => answer(REJECT, "empty"),
    })
}
