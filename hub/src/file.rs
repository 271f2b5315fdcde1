//! The configuration file: TOML, where a nested table is a dotted key.
//!
//! Two option names may nest (`retry` and `retry.jitter`), which TOML cannot say with plain keys once both are set; the
//! longer one is then written in quotes: `"retry.jitter" = "1s"`.

use std::ops::Range;

use fanfare_engine::options::Kind;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// How deep tables may nest before the file is refused; option names have three parts at most.
const MAX_DEPTH: usize = 8;

/// The option that may also be a table: a topic and its file, or files, a line.
pub(crate) const HANDLERS: &str = "handlers";

/// One value of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The dotted key.
    pub(crate) key: String,
    /// Line of the key, from 1.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) found: Found,
}

/// A value, reduced to what options can take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Flag(bool),
    Integer(String),
    Text(String),
    Texts(Vec<String>),
    /// What the table `[handlers]` says, as the text of the option.
    Handlers(Result<String, Wrong>),
    /// A table without a single value in it.
    EmptyTable,
    /// A TOML type that no option takes, as an error message says it.
    Other(&'static str),
}

impl Found {
    /// The text to parse when a value of this type may stand for `kind`; otherwise what is wrong with it.
    pub(crate) fn text_for(&self, kind: Kind) -> Result<String, &'static str> {
        let measure = matches!(kind, Kind::Bytes { .. } | Kind::Duration { .. } | Kind::Percent);
        let list = matches!(kind, Kind::TextList | Kind::Addresses);
        let word = matches!(kind, Kind::Text | Kind::Choice(_) | Kind::Path);
        match self {
            Self::Flag(flag) if kind == Kind::Flag => Ok(flag.to_string()),
            Self::Integer(number) if measure || matches!(kind, Kind::Count { .. }) => Ok(number.clone()),
            Self::Text(text) if measure || list || word => Ok(text.clone()),
            // A comma inside an item would silently make two of it.
            Self::Texts(items) if list && items.iter().any(|item| item.contains(',')) => {
                Err("has an item with a comma")
            }
            Self::Texts(items) if list => Ok(items.join(",")),
            Self::Flag(_) => Err("is a boolean"),
            Self::Integer(_) => Err("is a number"),
            Self::Text(_) => Err("is a string"),
            Self::Texts(_) => Err("is an array"),
            Self::Handlers(_) | Self::EmptyTable => Err("is a table"),
            Self::Other(what) => Err(what),
        }
    }

    /// The value as an error message repeats it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Integer(text) | Self::Text(text) => text.clone(),
            Self::Texts(items) => items.join(","),
            Self::Handlers(_) | Self::EmptyTable | Self::Other(_) => String::new(),
        }
    }
}

/// What is wrong with a line of the table `[handlers]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Line, from 1.
    pub(crate) line: usize,
    /// The value, as an error message repeats it.
    pub(crate) value: String,
    /// The middle of the sentence.
    pub(crate) reason: &'static str,
}

/// The text is not TOML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Line, from 1.
    pub(crate) line: usize,
    /// What the parser says, with the line's own text.
    pub(crate) message: String,
}

/// The values of a file in the order in which they stand there.
pub(crate) fn entries(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let table = DeTable::parse(text).map_err(|error| syntax_error(text, error.message(), error.span()))?;
    let mut found = Vec::new();
    collect(text, table.get_ref(), "", 0, &mut found);
    found.sort_by_key(|(offset, _, _)| *offset);
    let entry = |(offset, key, found)| Entry { key, line: line_of(text, offset), found };
    Ok(found.into_iter().map(entry).collect())
}

/// The text of the option for the table `[handlers]`: a topic a line, and for it a file, a table with a file and what is
/// set for it, or a list of these.
fn handlers(table: &DeTable<'_>, text: &str) -> Result<String, Wrong> {
    let mut listed = Vec::new();
    for (topic, value) in in_order(table) {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let wrong = |value: &str, reason| Wrong {
            line: line_of(text, topic.span().start),
            value: value.to_owned(),
            reason,
        };
        for item in items {
            let entry = match item.get_ref() {
                DeValue::String(file) => vec![format!("{}={file}", topic.get_ref())],
                DeValue::Table(table) => {
                    handler(topic.get_ref(), table).map_err(|(value, reason)| wrong(&value, reason))?
                }
                _ => return Err(wrong(&scalar(item.get_ref()).unwrap_or_default(), "names no file")),
            };
            if entry.iter().any(|part| part.contains([',', ';'])) {
                return Err(wrong(
                    &entry.join(";"),
                    "has a topic, file or setting with a comma or semicolon",
                ));
            }
            listed.push(entry.join(";"));
        }
    }
    Ok(listed.join(","))
}

/// `TOPIC=FILE` and the settings of one handler.
fn handler(topic: &str, table: &DeTable<'_>) -> Result<Vec<String>, (String, &'static str)> {
    let is_file = |name: &str| name == "file";
    let file = table.iter().find(|(name, _)| is_file(name.get_ref())).map(|(_, file)| file.get_ref());
    let Some(DeValue::String(file)) = file else {
        return Err((topic.to_owned(), "has a table without a file"));
    };
    let mut entry = vec![format!("{topic}={file}")];
    let mut set = |name: &str, value: &DeValue<'_>| match scalar(value) {
        Some(value) => {
            entry.push(format!("{name}={value}"));
            Ok(())
        }
        None => Err((name.to_owned(), "has a setting that is no text, number or flag")),
    };
    for (name, value) in in_order(table).into_iter().filter(|(name, _)| !is_file(name.get_ref())) {
        let name = name.get_ref();
        match value.get_ref() {
            DeValue::Array(items) => items.iter().try_for_each(|item| set(name, item.get_ref()))?,
            DeValue::Table(inner) => in_order(inner)
                .into_iter()
                .try_for_each(|(key, value)| set(&format!("{name}.{}", key.get_ref()), value.get_ref()))?,
            value => set(name, value)?,
        }
    }
    Ok(entry)
}

/// The lines of a table as they stand in the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut lines: Vec<_> = table.iter().collect();
    lines.sort_by_key(|(name, _)| name.span().start);
    lines
}

/// A value that a setting can have, as text.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(decimal(number.as_str(), number.radix())),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn collect(
    text: &str,
    table: &DeTable<'_>,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(usize, String, Found)>,
) {
    for (name, value) in table.iter() {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let value = match value.get_ref() {
            DeValue::Table(inner) if key == HANDLERS => Found::Handlers(handlers(inner, text)),
            DeValue::Table(inner) if depth < MAX_DEPTH && !inner.is_empty() => {
                collect(text, inner, &key, depth + 1, found);
                continue;
            }
            DeValue::Table(inner) if inner.is_empty() => Found::EmptyTable,
            DeValue::Table(_) => Found::Other("is a table"),
            DeValue::Boolean(flag) => Found::Flag(*flag),
            DeValue::Integer(number) => Found::Integer(decimal(number.as_str(), number.radix())),
            DeValue::String(text) => Found::Text(text.to_string()),
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                texts
                    .collect::<Option<_>>()
                    .map_or(Found::Other("is an array of something else than strings"), Found::Texts)
            }
            DeValue::Float(_) => Found::Other("is a fraction"),
            DeValue::Datetime(_) => Found::Other("is a date"),
        };
        found.push((name.span().start, key, value));
    }
}

/// A TOML integer as decimal digits. One too large to hold stays as it is written and is refused later as out of range.
fn decimal(digits: &str, radix: u32) -> String {
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    i128::from_str_radix(digits, radix).map_or_else(|_| digits.to_owned(), |number| number.to_string())
}

fn syntax_error(text: &str, message: &str, span: Option<Range<usize>>) -> SyntaxError {
    let line = line_of(text, span.map_or(0, |span| span.start));
    let written: String = text.lines().nth(line - 1).unwrap_or("").trim().chars().take(80).collect();
    let mut message = format!("{} in: {written}", message.lines().collect::<Vec<_>>().join(", "));
    if nests(&written) && (message.starts_with("duplicate key") || message.contains("extend")) {
        message.push_str("; where an option's name begins with another option's, write it in quotes, such as \"retry.jitter\"");
    }
    SyntaxError { line, message }
}

/// Whether the line could set an option whose name begins with that of another one.
fn nests(line: &str) -> bool {
    let name = line.trim_start_matches('[').split(['.', '=', ']', ' ']).next().unwrap_or("");
    let inner = format!("{name}.");
    crate::keys::find(name).is_some() && crate::keys::all().any(|key| key.name().starts_with(&inner))
}

/// Line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_dotted_and_quoted_keys_are_the_same() {
        let text = "lanes = 0x1_0\n[history]\nevents = 1_000\n\n[limits]\nevent_bytes = \"1MiB\"\n[cors]\norigins = [\"a\", \"b\"]\n";
        let entries = entries(text).expect("TOML");
        let flat: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.line)).collect();
        assert_eq!(
            flat,
            [("lanes", 1), ("history.events", 3), ("limits.event_bytes", 6), ("cors.origins", 8)]
        );
        assert_eq!(entries[0].found, Found::Integer("16".to_owned()));
        assert_eq!(entries[1].found, Found::Integer("1000".to_owned()));
        assert_eq!(entries[3].found, Found::Texts(vec!["a".to_owned(), "b".to_owned()]));
        let quoted = super::entries("retry = 3\n\"retry.jitter\" = 1").expect("quotes make it a plain key");
        assert_eq!(quoted[1].key, "retry.jitter");
    }

    #[test]
    fn handlers_are_a_table_of_topics() {
        let listed = |text: &str| {
            let mut found = entries(text).expect("TOML");
            assert_eq!(found.iter().filter(|entry| entry.key == HANDLERS).count(), 1, "{text}");
            let entry = found.remove(found.iter().position(|entry| entry.key == HANDLERS).expect("there"));
            match entry.found {
                Found::Handlers(listed) => (entry.line, listed),
                other => panic!("{other:?}"),
            }
        };
        let text = "lanes = 1\n[handlers]\nvotes = \"a.wasm\"\n\"r.x/*\" = [\"b.wasm\", \"c.wasm\"]\n";
        assert_eq!(listed(text), (2, Ok("votes=a.wasm,r.x/*=b.wasm,r.x/*=c.wasm".to_owned())));
        let text = "[handlers]\n\"z*\" = [\"a.js\", { file = \"b.js\", event = [\"x\", \"y\"], events = 7, reload = false }]\n\
            [handlers.votes]\nfile = \"c.js\"\ntime = \"5ms\"\nconfig = { words = \"darn heck\", a = 1 }\n";
        let expected = "z*=a.js,z*=b.js;event=x;event=y;events=7;reload=false,\
            votes=c.js;time=5ms;config.words=darn heck;config.a=1";
        assert_eq!(listed(text).1, Ok(expected.to_owned()));
        assert_eq!(
            listed("[[handlers.t]]\nfile = \"a.js\"\n[[handlers.t]]\nfile = \"b.js\"\n").1,
            Ok("t=a.js,t=b.js".to_owned())
        );
        for (bad, reason) in [
            ("votes = 1", "names no file"),
            ("votes = [[\"a.js\"]]", "names no file"),
            ("votes = { time = \"5ms\" }", "has a table without a file"),
            ("votes = { file = 7 }", "has a table without a file"),
            ("votes = { file = \"a.js\", time = 1.5 }", "has a setting that is no text, number or flag"),
            ("votes = \"a,b\"", "has a topic, file or setting with a comma or semicolon"),
            ("\"a,b\" = \"c\"", "has a topic, file or setting with a comma or semicolon"),
            ("a = { file = \"b;c\" }", "has a topic, file or setting with a comma or semicolon"),
            (
                "a = { file = \"b\", config = { x = \"1;time=9s\" } }",
                "has a topic, file or setting with a comma or semicolon",
            ),
        ] {
            let (_, said) = listed(&format!("[handlers]\n{bad}\n"));
            assert!(matches!(&said, Err(Wrong { line: 2, reason: why, .. }) if *why == reason), "{said:?}");
        }
        assert_eq!(listed("[handlers]\n"), (1, Ok(String::new())));
        assert_eq!(entries("handlers = []\n").expect("TOML")[0].found, Found::Texts(vec![]));
    }

    #[test]
    fn syntax_errors_have_a_line_and_help_with_nesting_names() {
        let error =
            entries("lanes = 1\nretry = \"2s\"\nretry.jitter = \"1s\"\n").expect_err("retry is no table");
        assert_eq!(error.line, 3, "{}", error.message);
        assert!(error.message.contains("\"retry.jitter\""), "{}", error.message);
        let error = entries("lanes = 1\nlanes = 2\n").expect_err("duplicate");
        assert_eq!(error.line, 2, "{}", error.message);
        assert!(
            error.message.contains("duplicate") && error.message.contains("lanes = 2"),
            "{}",
            error.message
        );
        assert!(entries("lanes = \n").expect_err("no value").message.contains("lanes ="));
    }
}
