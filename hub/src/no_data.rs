//! A hub without a store: history is in memory. The other variant of this module is `data`.

use std::convert::Infallible;
use std::time::Duration;

use fanfare_engine::options::{OptionError, OptionSpec};
use fanfare_engine::{Config as EngineConfig, ConfigError, Engine};

/// No folder can be opened.
pub type OpenError = Infallible;

/// Nothing can be set.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {}

impl Config {
    /// There are no options.
    pub const OPTIONS: &'static [OptionSpec<Config>] = &[];
}

/// Nothing can be set.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreConfig {}

impl StoreConfig {
    /// There are no options.
    pub const OPTIONS: &'static [OptionSpec<StoreConfig>] = &[];

    /// Nothing can be wrong.
    pub fn validate(&self) -> Result<(), OptionError> {
        Ok(())
    }
}

/// None exists.
#[derive(Debug)]
pub(crate) struct Data(Infallible);

impl Data {
    pub(crate) fn engine(&self, _: EngineConfig) -> Result<Engine, ConfigError> {
        match self.0 {}
    }

    pub(crate) fn close(&self) {
        match self.0 {}
    }
}

/// Opens nothing.
pub(crate) fn open(_: &Config, _: StoreConfig, _: Duration) -> Result<Option<Data>, OpenError> {
    Ok(None)
}
