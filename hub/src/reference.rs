//! The configuration as text, generated from the tables of options.

use std::fmt::Write as _;

use fanfare_engine::options::Kind;

use crate::keys::{self, Key};
use crate::load::Loader;

/// Every option's effective value, as a TOML file that says the same; the comments tell where each comes from.
pub fn effective(loader: &Loader) -> String {
    let mut text = String::new();
    for key in keys::all() {
        let line = format!("{} = {}", toml_key(key), toml_value(key.kind(), &key.get(loader.config())));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line:<44} # {}", place(loader, key));
    }
    text
}

fn place(loader: &Loader, key: Key) -> String {
    match loader.place(key) {
        crate::load::Place::Default => "default".to_owned(),
        // A comment ends with its line.
        place => place.to_string().replace(char::is_control, "?"),
    }
}

/// The key as TOML takes it next to all the others: quoted where its name begins with another option's name.
fn toml_key(key: Key) -> String {
    let nested = keys::all()
        .any(|other| key.name().strip_prefix(other.name()).is_some_and(|rest| rest.starts_with('.')));
    if nested { format!("\"{}\"", key.name()) } else { key.name().to_owned() }
}

fn toml_value(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Flag | Kind::Count { .. } => text.to_owned(),
        Kind::TextList | Kind::Addresses => {
            let items: Vec<_> = text.split(',').filter(|item| !item.is_empty()).map(toml_string).collect();
            format!("[{}]", items.join(", "))
        }
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text.to_owned(),
        _ => toml_string(text),
    }
}

/// A basic string; options hold no control characters, so two escapes are enough.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    let titles = [
        ("server", "HTTP side"),
        ("engine", "Events and history"),
        ("store", "History on disk"),
        ("handlers", "Handlers"),
        ("hub", "Hub"),
    ];
    for (part, title) in titles {
        let _ = write!(page, "\n## {title}\n\n| option | default | values | effect |\n|---|---|---|---|\n");
        for key in keys::all().filter(|key| key.part() == part) {
            let default = match key.default_text() {
                "" => "none".to_owned(),
                text => format!("`{text}`"),
            };
            let doc = key.doc().replace('|', "\\|");
            let _ = writeln!(page, "| `{}` | {default} | {} | {doc} |", key.name(), values(key.kind()));
        }
    }
    page
}

fn values(kind: Kind) -> String {
    match (kind.range(), kind) {
        (Some(range), Kind::Flag | Kind::Choice(_)) => {
            range.split(", ").map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        (Some(range), _) => format!("{}, {range}", kind.name()),
        (None, _) => kind.name().to_owned(),
    }
}

const HEAD: &str = "\
# Configuration

This page is generated from the tables of options: `fanfare config --markdown`.

Every option has a default, and may be set in four places. A later one wins:

1. a TOML file, `fanfare serve --config fanfare.toml`, where dots are tables;
2. the environment: `FANFARE_` and the name in capitals with underscores, such as `FANFARE_HISTORY_EVENTS=5000`;
3. flags: `--set history.events=5000`, or the option's own flag where it has one (`--listen`, `--tls-listen`,
   `--tls-cert`, `--tls-key`, `--cors-origin`, `--heartbeat`, `--handler`).

```toml
listen = [\"0.0.0.0:4780\"]
hosts = [\"hub.example\"]
heartbeat = \"15s\"
\"heartbeat.event\" = true     # in quotes, because heartbeat is an option too

[history]
events = 5_000
age = \"2h\"

[limits]
connections = 20_000

[handlers]
votes = \"tally.wasm\"
\"rooms/*\" = [\"mask.wasm\", \"count.wasm\"]

[handlers.orders]                # settings of one handler, see handlers.md
file = \"check.js\"
event = \"order\"
time = \"5ms\"
config = { most = 99 }
```

An unknown name, a value of the wrong kind or out of range, and an option set twice in one place are errors that name
the option and the place; the hub does not start. `fanfare config` prints what is in effect and where it comes from.

Durations are `250ms`, `15s`, `2m`, `1h`, `7d`, or a bare number of seconds. Sizes are `64KiB`, `8MiB`, `1GiB`, `1MB`,
or a bare number of bytes. Lists are TOML arrays in a file and separated by commas elsewhere.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_configuration_reads_back_as_itself() {
        let mut loader = Loader::new();
        loader.begin_flags();
        for (name, text) in [
            ("cors.origins", "https://a.example,https://b.example"),
            ("heartbeat", "0"),
            ("padding", "2048"),
            ("limits.event_bytes", "1000"),
            ("stream.max_age", "90s"),
        ] {
            loader.flag("--set", name, text).expect(name);
        }
        let text = effective(&loader);
        assert!(text.contains("# --set") && text.contains("# default"), "{text}");
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), &text).expect("write");
        let mut again = Loader::new();
        again.file(file.path()).expect("its own output");
        for key in keys::all() {
            assert_eq!(key.get(again.config()), key.get(loader.config()), "{key:?}");
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(toml_value(Kind::Path, r#"C:\a "b""#), r#""C:\\a \"b\"""#);
        assert_eq!(toml_value(Kind::TextList, ""), "[]");
    }

    #[test]
    fn the_documentation_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(path).expect("docs/configuration.md");
        assert!(page == markdown(), "stale: run `cargo run -- config --markdown > docs/configuration.md`");
    }
}
