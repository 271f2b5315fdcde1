//! `fanfare_enrich` as a plugin of Extism's, as its guide writes plugins.

use extism_pdk::*;
use fanfare_handlers_bench_guests::{Answer, Event};
use serde_json::Value;

#[plugin_fn]
pub fn transform(Json(event): Json<Event>) -> FnResult<Json<Answer>> {
    Ok(Json(match serde_json::from_str(&event.data) {
        Ok(Value::Object(mut object)) => {
            object.insert("via".into(), Value::String(event.topic));
            Answer::Replace(Value::Object(object).to_string())
        }
        _ => Answer::Reject("not a JSON object"),
    }))
}
