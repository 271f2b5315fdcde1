//! `fanfare config`: the configuration in effect, or its documentation.

use clap::Args;
use fanfare_hub::reference;

use crate::exit::Failure;
use crate::output::Output;
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  fanfare config > fanfare.toml                every option with its value: a file to start from
  fanfare config --config fanfare.toml         what that file, the environment and the defaults give
  fanfare config --set history.events=50000    is this a valid setting?
  fanfare config --markdown                    what every option means";

/// Print the configuration in effect, as TOML, with the place each value comes from
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Config {
    #[command(flatten)]
    settings: Settings,

    /// Print the documentation of all options instead
    #[arg(long)]
    markdown: bool,
}

/// Prints it.
pub(crate) fn run(config: &Config) -> Result<(), Failure> {
    let text = if config.markdown {
        reference::markdown()
    } else {
        let loader = config.settings.load()?;
        loader.check().map_err(Failure::usage)?;
        reference::effective(&loader)
    };
    let mut output = Output::new();
    output.text(&text)?;
    output.flush()
}
