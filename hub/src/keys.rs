//! Options by key, whichever part they belong to.
//!
//! [`all`] is the list that the command line, the documentation and the C ABI read. It is put together from the parts'
//! own tables; nothing is listed here.

use std::fmt;

use fanfare_engine::options::{Kind, OptionError, OptionSpec};

use crate::config::{HubConfig, OwnConfig};
use crate::data;
use crate::http;

/// What environment variables of options begin with.
pub const ENVIRONMENT_PREFIX: &str = "FANFARE_";

/// One option of a hub.
#[derive(Clone, Copy)]
pub struct Key(Table);

#[derive(Clone, Copy)]
enum Table {
    Engine(&'static OptionSpec<fanfare_engine::Config>),
    Server(&'static OptionSpec<http::Config>),
    Handlers(&'static OptionSpec<fanfare_wasi_host::Config>),
    Data(&'static OptionSpec<data::Config>),
    Store(&'static OptionSpec<data::StoreConfig>),
    Own(&'static OptionSpec<OwnConfig>),
}

/// Evaluates an expression with the row of whichever table.
macro_rules! row {
    ($key:expr, $row:ident => $value:expr) => {
        match $key.0 {
            Table::Engine($row) => $value,
            Table::Server($row) => $value,
            Table::Handlers($row) => $value,
            Table::Data($row) => $value,
            Table::Store($row) => $value,
            Table::Own($row) => $value,
        }
    };
}

impl Key {
    /// Dotted name, for example `history.events`.
    pub fn name(self) -> &'static str {
        row!(self, row => row.key)
    }

    /// The environment variable that sets it, for example `FANFARE_HISTORY_EVENTS`.
    pub fn variable(self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name().replace('.', "_").to_ascii_uppercase())
    }

    /// What its values look like, with their range.
    pub fn kind(self) -> Kind {
        row!(self, row => row.kind)
    }

    /// Its default in canonical form.
    pub fn default_text(self) -> &'static str {
        row!(self, row => row.default)
    }

    /// Effect, unit and special values, on one line.
    pub fn doc(self) -> String {
        row!(self, row => row.doc())
    }

    /// Which part it belongs to: `engine`, `server`, `handlers`, `store` or `hub`.
    pub fn part(self) -> &'static str {
        match self.0 {
            Table::Engine(_) => "engine",
            Table::Server(_) => "server",
            Table::Handlers(_) => "handlers",
            Table::Data(_) | Table::Store(_) => "store",
            Table::Own(_) => "hub",
        }
    }

    /// Parses `text` and stores it. On error the configuration is unchanged.
    pub fn set(self, config: &mut HubConfig, text: &str) -> Result<(), OptionError> {
        match self.0 {
            Table::Engine(row) => row.set(&mut config.engine, text),
            Table::Server(row) => row.set(&mut config.server, text),
            Table::Handlers(row) => row.set(&mut config.handlers, text),
            Table::Data(row) => row.set(&mut config.data, text),
            Table::Store(row) => row.set(&mut config.store, text),
            Table::Own(row) => row.set(&mut config.own, text),
        }
    }

    /// The current value in canonical form.
    pub fn get(self, config: &HubConfig) -> String {
        match self.0 {
            Table::Engine(row) => row.get(&config.engine),
            Table::Server(row) => row.get(&config.server),
            Table::Handlers(row) => row.get(&config.handlers),
            Table::Data(row) => row.get(&config.data),
            Table::Store(row) => row.get(&config.store),
            Table::Own(row) => row.get(&config.own),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name()).finish()
    }
}

/// Every option, in the order of the documentation: server, engine, store, handlers, hub.
pub fn all() -> impl Iterator<Item = Key> {
    let server = http::Config::OPTIONS.iter().map(|row| Key(Table::Server(row)));
    let engine = fanfare_engine::Config::OPTIONS.iter().map(|row| Key(Table::Engine(row)));
    let handlers = fanfare_wasi_host::Config::OPTIONS.iter().map(|row| Key(Table::Handlers(row)));
    let data = data::Config::OPTIONS.iter().map(|row| Key(Table::Data(row)));
    let store = data::StoreConfig::OPTIONS.iter().map(|row| Key(Table::Store(row)));
    let own = OwnConfig::OPTIONS.iter().map(|row| Key(Table::Own(row)));
    server.chain(engine).chain(data).chain(store).chain(handlers).chain(own)
}

/// The option of that exact name.
pub fn find(name: &str) -> Option<Key> {
    all().find(|key| key.name() == name)
}

/// The option of that exact environment variable.
pub fn find_variable(variable: &str) -> Option<Key> {
    all().find(|key| key.variable() == variable)
}

/// The option that a misspelt `name` most likely means, if any is near.
pub fn nearest(name: &str) -> Option<Key> {
    nearest_by(name, |key| key.name().to_owned())
}

/// As [`nearest`], for the name of an environment variable.
pub fn nearest_variable(variable: &str) -> Option<Key> {
    nearest_by(variable, Key::variable)
}

fn nearest_by(name: &str, spelling: impl Fn(Key) -> String) -> Option<Key> {
    // Bounded, because the distance takes quadratic time and the name comes from outside.
    let name: String = name.chars().take(64).collect::<String>().to_lowercase();
    // Somebody who leaves the section away means the one option that ends so.
    let mut ending = all().filter(|key| key.name().rsplit_once('.').is_some_and(|(_, last)| last == name));
    if let (Some(key), None) = (ending.next(), ending.next()) {
        return Some(key);
    }
    let distance = |key: Key| strsim::damerau_levenshtein(&name, &spelling(key).to_lowercase());
    let (distance, key) = all().map(|key| (distance(key), key)).min_by_key(|(distance, _)| *distance)?;
    let letters = spelling(key).len()
        - if spelling(key).starts_with(ENVIRONMENT_PREFIX) { ENVIRONMENT_PREFIX.len() } else { 0 };
    (distance <= 2.max(letters / 3)).then_some(key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_variables_are_unique() {
        let names: HashSet<_> = all().map(Key::name).collect();
        let variables: HashSet<_> = all().map(Key::variable).collect();
        assert_eq!(names.len(), all().count());
        assert_eq!(variables.len(), all().count());
        assert!(!variables.contains("FANFARE_URL"), "the client's variable is not an option");
    }

    #[test]
    fn every_option_has_a_doc_and_a_default_that_parses() {
        for key in all() {
            let mut config = HubConfig::default();
            assert_eq!(key.get(&config), key.default_text(), "{key:?}");
            assert_eq!(key.set(&mut config, key.default_text()), Ok(()), "{key:?}");
            assert!(key.doc().len() > 10 && key.doc().ends_with('.'), "{key:?}: {}", key.doc());
        }
    }

    #[test]
    fn misspelt_names_find_the_option() {
        for (wrong, right) in [
            ("history.event", "history.events"),
            ("histroy.events", "history.events"),
            ("History.Events", "history.events"),
            ("heartbeet", "heartbeat"),
            ("cors.origin", "cors.origins"),
            ("limits.connection", "limits.connections"),
            ("connections_per_address", "limits.connections_per_address"),
            ("lane", "lanes"),
        ] {
            assert_eq!(nearest(wrong).map(Key::name), Some(right), "{wrong}");
        }
        for wrong in ["", "x", "completely.different", &"y".repeat(100_000)] {
            assert_eq!(nearest(wrong).map(Key::name), None, "{}", wrong.len());
        }
        assert_eq!(nearest_variable("FANFARE_HISTROY_EVENTS").map(Key::name), Some("history.events"));
        assert_eq!(nearest_variable("FANFARE_history_events").map(Key::name), Some("history.events"));
        assert_eq!(nearest_variable("FANFARE_SOMETHING_ELSE").map(Key::name), None);
    }
}
