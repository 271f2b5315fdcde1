//! `fanfare_pass` as a plugin of Extism's, as its guide writes plugins.

use extism_pdk::*;
use fanfare_handlers_bench_guests::{Answer, Event};

#[plugin_fn]
pub fn transform(Json(event): Json<Event>) -> FnResult<Json<Answer>> {
    Ok(Json(if event.data.is_empty() { Answer::Reject("empty") } else { Answer::Pass }))
}
