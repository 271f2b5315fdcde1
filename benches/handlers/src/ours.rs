//! Our handlers, called as the engine calls them.

use anyhow::{Result, bail};
use fanfare_engine::{Draft, Handler as _, Timestamp, Turn, Verdict};
use fanfare_wasi_host::{Config, Runtime, WasmHandler};

use crate::{Answer, Event, Host};

pub struct Ours(WasmHandler);

impl Ours {
    /// With the limits that a handler has if nobody says otherwise; of what `fanfare compile` has made.
    pub fn new(compiled: &[u8]) -> Result<Self> {
        let config = Config { precompiled: true, ..Config::default() };
        Ok(Self(WasmHandler::new(&Runtime::new()?, "bench", compiled, &config)?))
    }
}

impl Host for Ours {
    fn call(&mut self, event: &Event) -> Result<Answer> {
        let draft = Draft {
            event: event.kind.map(Into::into),
            id: event.id.map(Into::into),
            ..Draft::new(event.topic, event.data.as_str())
        };
        Ok(match self.0.handle(&draft, Timestamp(0), &mut Turn::default()) {
            Ok(Verdict::Pass) => Answer::Pass,
            Ok(Verdict::Replace(made)) => Answer::Data(made.data.into_owned()),
            Ok(Verdict::Refuse(reason)) => Answer::Refused(reason.to_string()),
            other => bail!("{other:?}"),
        })
    }
}
