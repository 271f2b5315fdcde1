//! `fanfare_enrich` as a plugin of Extism's.

use extism_pdk::*;
use fanfare_handlers_bench_guests::{REJECT, REPLACE, answer, unpack};
use serde_json::Value;

#[plugin_fn]
pub fn transform(input: Vec<u8>) -> FnResult<Vec<u8>> {
    let Some((topic, _, _, data)) = unpack(&input) else { return Ok(answer(REJECT, "no event")) };
    Ok(match serde_json::from_str(data) {
        Ok(Value::Object(mut object)) => {
            object.insert("via".into(), Value::String(topic.into()));
            answer(REPLACE, &Value::Object(object).to_string())
        }
        _ => answer(REJECT, "not a JSON object"),
    })
}
