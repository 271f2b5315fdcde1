//! Extism's plugins, called by its Rust SDK.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use extism::convert::Json;
use extism::{Manifest, Plugin, Wasm};

use crate::{Answer, Event, Host};

/// Pages of 64 KiB.
const MIB_IN_PAGES: u32 = 16;
/// Longer than our 10 ms, which are time of computing: this one passes while others have the processor, too. A call costs the same
/// whatever it is.
const TIME: Duration = Duration::from_secs(60);

pub struct Peer {
    plugin: Plugin,
    function: &'static str,
    /// The room in which events are packed, as an embedder that counts would keep it.
    packed: Vec<u8>,
}

impl Peer {
    /// With the limits that our handler has: memory and, where it is `timed`, time.
    pub fn new(module: &[u8], function: &'static str, script: Option<&str>, timed: bool) -> Result<Self> {
        let memory = if script.is_some() { 64 } else { 16 } * MIB_IN_PAGES;
        let config = script.map(|script| ("script".to_owned(), script.to_owned()));
        let manifest =
            Manifest::new([Wasm::data(module)]).with_memory_max(memory).with_config(config.into_iter());
        let manifest = if timed { manifest.with_timeout(TIME) } else { manifest };
        let plugin = Plugin::new(manifest, [], false).context("a plugin")?;
        Ok(Self { plugin, function, packed: Vec::new() })
    }
}

impl Host for Peer {
    fn call(&mut self, event: &Event) -> Result<Answer> {
        pack(event, &mut self.packed);
        let output: &[u8] = self.plugin.call(self.function, self.packed.as_slice())?;
        let (tag, text) = output.split_first().context("an answer has a tag")?;
        // What comes out of a sandbox is checked on our side, too.
        let text = std::str::from_utf8(text)?;
        Ok(match tag {
            0 => Answer::Pass,
            2 => Answer::Data(text.to_owned()),
            4 => Answer::Refused(text.to_owned()),
            other => bail!("the answer has the tag {other}"),
        })
    }
}

/// A plugin that gets its events in JSON, and answers in it.
pub struct InJson(Peer);

impl InJson {
    /// With the limits that our handler has.
    pub fn new(module: &[u8], function: &'static str) -> Result<Self> {
        Peer::new(module, function, None, true).map(Self)
    }
}

impl Host for InJson {
    fn call(&mut self, event: &Event) -> Result<Answer> {
        let Json(answer) = self.0.plugin.call(self.0.function, Json(event))?;
        Ok(answer)
    }
}

/// As `guests/lib.rs` reads it.
fn pack(event: &Event, into: &mut Vec<u8>) {
    let fields = [Some(event.topic), event.kind, event.id, Some(event.data.as_str())];
    into.clear();
    for field in fields {
        let length = field.map_or(u32::MAX, |text| text.len() as u32);
        into.extend_from_slice(&length.to_le_bytes());
    }
    fields.iter().flatten().for_each(|text| into.extend_from_slice(text.as_bytes()));
}
