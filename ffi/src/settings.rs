//! Options as they are collected for a start.

use ::fanfare_hub::engine::Code;
use ::fanfare_hub::{HubConfig, LoadError, Loader};
use parking_lot::Mutex;

use crate::failure::Failure;

/// What a config handle names.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) settings: Mutex<Settings>,
}

/// The options so far.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) loader: Loader,
    /// `FANFARE_ACTION_*` that the host decides.
    pub(crate) authorize: u32,
}

impl Settings {
    /// The options, checked as a whole.
    pub(crate) fn finish(self) -> Result<HubConfig, Failure> {
        self.loader.finish().map_err(refused)
    }
}

pub(crate) fn refused(error: LoadError) -> Failure {
    Failure::new(Code::InvalidConfig, error)
}
