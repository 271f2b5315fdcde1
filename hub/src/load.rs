//! Loading a configuration in layers: defaults, then a file, then the environment, then flags.
//!
//! A later layer wins over an earlier one; within one layer an option may be set once. The first thing that is wrong
//! ends the loading with one [`LoadError`], which names the option, the place, what was expected and, for an unknown
//! name, the nearest one. Nothing has been started by then.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use fanfare_engine::options::OptionError;

use crate::config::HubConfig;
use crate::file;
use crate::keys::{self, Key};

/// Variables that begin like options but belong to the command line's clients.
const CLIENT_VARIABLES: &[&str] = &["FANFARE_URL"];

/// Builds a configuration layer by layer. Call the layers in their order: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    config: HubConfig,
    /// Where each option got its value, over all layers.
    places: BTreeMap<&'static str, Place>,
    /// The same for the current layer, to find an option that is set twice.
    layer: BTreeMap<&'static str, Place>,
}

impl Loader {
    /// All options at their defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or says something that an option refuses.
    pub fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        let place = |line| Place::File { path: path.to_owned(), line };
        let text = std::fs::read_to_string(path)
            .map_err(|error| LoadError::new(place(None), Problem::Unreadable(error.to_string())))?;
        self.toml(&text, &|line| place(Some(line)))
    }

    /// Reads TOML that is in memory already; messages call it `name`.
    ///
    /// # Errors
    /// When it is not TOML, or says something that an option refuses.
    pub fn text(&mut self, name: &str, text: &str) -> Result<(), LoadError> {
        self.toml(text, &|line| Place::File { path: name.into(), line: Some(line) })
    }

    fn toml(&mut self, text: &str, place: &dyn Fn(usize) -> Place) -> Result<(), LoadError> {
        self.layer.clear();
        let entries = file::entries(text)
            .map_err(|error| LoadError::new(place(error.line), Problem::Syntax(error.message)))?;
        for entry in entries {
            let (at, place) = (place, place(entry.line));
            if entry.found == file::Found::EmptyTable && is_section(&entry.key) {
                continue;
            }
            let Some(key) = keys::find(&entry.key) else {
                return Err(LoadError::new(place, Problem::unknown(&entry.key)));
            };
            if let file::Found::Handlers(listed) = &entry.found {
                let text = listed.as_ref().map_err(|wrong| {
                    let expected = "a file, a table with a file and its settings, or a list of them";
                    let error = OptionError::new(key.name(), &wrong.value, wrong.reason, expected);
                    LoadError::new(at(wrong.line), Problem::Refused(error))
                })?;
                self.set(place, key, text)?;
                continue;
            }
            let text = entry.found.text_for(key.kind()).map_err(|reason| {
                let error = OptionError::new(key.name(), &entry.found.shown(), reason, key.kind().expected());
                LoadError::new(place.clone(), Problem::Refused(error))
            })?;
            self.set(place, key, &text)?;
        }
        Ok(())
    }

    /// Reads environment variables that begin with `FANFARE_`; pass `std::env::vars_os()`.
    ///
    /// # Errors
    /// When such a variable names no option, or has a value that the option refuses.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), LoadError> {
        self.layer.clear();
        let ours = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter_map(ours)
            .filter(|(name, _)| {
                name.starts_with(keys::ENVIRONMENT_PREFIX) && !CLIENT_VARIABLES.contains(&name.as_str())
            })
            .collect();
        // The environment has no order; the same mistake gets the same message every time.
        variables.sort();
        for (name, value) in variables {
            let place = Place::Environment(name.clone());
            let Some(key) = keys::find_variable(&name) else {
                let nearest = keys::nearest_variable(&name).map(Key::variable);
                return Err(LoadError::new(place, Problem::Unknown { name, nearest }));
            };
            let text = value.into_string().map_err(|value| {
                let error = OptionError::new(
                    key.name(),
                    &value.to_string_lossy(),
                    "is not UTF-8",
                    key.kind().expected(),
                );
                LoadError::new(place.clone(), Problem::Refused(error))
            })?;
            self.set(place, key, &text)?;
        }
        Ok(())
    }

    /// Begins the layer of flags: what is set by [`Loader::flag`] from here on wins over all before.
    pub fn begin_flags(&mut self) {
        self.layer.clear();
    }

    /// Sets the option `name` on behalf of the flag `flag`, for example `--set` or `--listen`.
    ///
    /// # Errors
    /// When there is no such option, a flag has set it already, or it refuses the value.
    pub fn flag(&mut self, flag: &str, name: &str, text: &str) -> Result<(), LoadError> {
        let place = Place::Flag(flag.to_owned());
        let Some(key) = keys::find(name) else {
            return Err(LoadError::new(place, Problem::unknown(name)));
        };
        self.set(place, key, text)
    }

    /// Where the option's value comes from.
    pub fn place(&self, key: Key) -> Place {
        self.places.get(key.name()).cloned().unwrap_or(Place::Default)
    }

    /// The configuration so far, without the checks of [`Loader::finish`].
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Checks options against each other and hands the configuration out.
    ///
    /// # Errors
    /// When options contradict each other; the error names the one to change and where it was set.
    pub fn finish(self) -> Result<HubConfig, LoadError> {
        self.check()?;
        Ok(self.config)
    }

    /// The checks of [`Loader::finish`].
    ///
    /// # Errors
    /// As [`Loader::finish`].
    pub fn check(&self) -> Result<(), LoadError> {
        self.config.validate().map_err(|error| {
            let place = self.places.get(error.key.as_str()).cloned().unwrap_or(Place::Default);
            LoadError::new(place, Problem::Refused(error))
        })
    }

    fn set(&mut self, place: Place, key: Key, text: &str) -> Result<(), LoadError> {
        if let Some(first) = self.layer.get(key.name()) {
            let problem = Problem::Duplicate { key: key.name(), first: first.clone() };
            return Err(LoadError::new(place, problem));
        }
        key.set(&mut self.config, text)
            .map_err(|error| LoadError::new(place.clone(), Problem::Refused(error)))?;
        self.layer.insert(key.name(), place.clone());
        self.places.insert(key.name(), place);
        Ok(())
    }
}

/// Whether options nest below this name, so that an empty table of that name is harmless.
fn is_section(name: &str) -> bool {
    let inner = format!("{name}.");
    keys::all().any(|key| key.name().starts_with(&inner))
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The table of options.
    Default,
    /// A configuration file; the line counts from 1 and is absent when the file as a whole is meant.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Environment(String),
    /// This flag of the command line.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("configuration"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why a configuration was refused: one place, one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// Where the problem is.
    pub place: Place,
    /// What it is.
    pub problem: Box<Problem>,
}

impl LoadError {
    fn new(place: Place, problem: Problem) -> Self {
        Self { place, problem: Box::new(problem) }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for LoadError {}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// One layer sets the option twice.
    Duplicate {
        /// The option.
        key: &'static str,
        /// Where it was set before.
        first: Place,
    },
    /// The option does not take this value.
    Refused(OptionError),
    /// The file is not TOML.
    Syntax(String),
    /// There is no option of that name.
    Unknown {
        /// The name, as given.
        name: String,
        /// The name that was probably meant, in the same spelling.
        nearest: Option<String>,
    },
    /// The file cannot be read.
    Unreadable(String),
}

impl Problem {
    fn unknown(name: &str) -> Self {
        Self::Unknown { name: name.to_owned(), nearest: keys::nearest(name).map(|key| key.name().to_owned()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { key, first } => write!(f, "{key} is set twice, first at {first}"),
            Self::Refused(error) => error.fmt(f),
            Self::Syntax(message) => f.write_str(message),
            Self::Unknown { name, nearest } => {
                let name: String = name.chars().take(80).flat_map(char::escape_debug).collect();
                write!(f, "there is no option {name}")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest}?"),
                    None => f.write_str("; `fanfare config` lists them all"),
                }
            }
            Self::Unreadable(reason) => write!(f, "cannot read the configuration file: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), text).expect("write");
        file
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn later_layers_win_and_places_are_known() {
        let file = written("lanes = 1\n[history]\nevents = 1\nage = 60\n[retry]\njitter = \"5s\"\n");
        let mut loader = Loader::new();
        loader.file(file.path()).expect("file");
        loader
            .environment(variables(&[
                ("FANFARE_HISTORY_EVENTS", "2"),
                ("FANFARE_LANES", "2"),
                ("HOME", "/"),
                ("FANFARE_URL", "x"),
            ]))
            .expect("environment");
        loader.begin_flags();
        loader.flag("--set", "lanes", "3").expect("flag");
        let place = |name| loader.place(keys::find(name).expect("key")).to_string();
        assert_eq!(place("lanes"), "--set");
        assert_eq!(place("history.events"), "environment variable FANFARE_HISTORY_EVENTS");
        assert_eq!(place("history.age"), format!("{}:4", file.path().display()));
        assert_eq!(loader.place(keys::find("heartbeat").expect("key")), Place::Default);
        let config = loader.finish().expect("sound");
        assert_eq!(
            (config.server.lanes, config.engine.history.events, config.engine.history.age_ms),
            (3, 2, 60_000)
        );
        assert_eq!(config.server.retry_jitter.as_secs(), 5);
    }

    #[test]
    fn contradictions_name_the_place_of_the_option_to_change() {
        let file = written("\n[heartbeat]\nevent = true\n");
        let mut loader = Loader::new();
        loader.file(file.path()).expect("fine so far");
        loader.begin_flags();
        loader.flag("--heartbeat", "heartbeat", "0").expect("fine so far");
        let error = loader.finish().expect_err("nothing to send").to_string();
        assert!(error.starts_with(&format!("{}:3: heartbeat.event", file.path().display())), "{error}");
    }

    #[test]
    fn empty_sections_are_harmless_and_unknown_ones_are_not() {
        assert_eq!(Loader::new().file(written("[history]\n[limits]\n").path()), Ok(()));
        let error = Loader::new().file(written("\n[histori]\n").path()).expect_err("unknown").to_string();
        assert!(
            error.ends_with(":2: there is no option histori; `fanfare config` lists them all"),
            "{error}"
        );
    }
}
