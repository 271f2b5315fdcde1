//! Bad configurations: every option, every way to get it wrong, every place to say it. Each gives one message that
//! names the option and the place, and nothing is started.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;

use fanfare_engine::options::Kind;
use fanfare_hub::keys::{self, Key};
use fanfare_hub::{Hub, Loader};

/// The message that a file with this text ends in, without the file's own path.
fn from_file(text: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("write");
    let error = Loader::new().file(file.path()).expect_err(text).to_string();
    let path = file.path().display().to_string();
    error.strip_prefix(&path).unwrap_or_else(|| panic!("{error:?} does not begin with the file")).to_owned()
}

fn from_environment(name: &str, value: impl Into<OsString>) -> String {
    Loader::new().environment([(OsString::from(name), value.into())]).expect_err(name).to_string()
}

fn from_flag(name: &str, value: &str) -> String {
    let mut loader = Loader::new();
    loader.begin_flags();
    loader.flag("--set", name, value).expect_err(name).to_string()
}

/// TOML values of a type that the option does not take.
fn wrong_types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Flag => &["1", "\"true\"", "[true]", "1979-05-27"],
        Kind::Count { .. } => &["true", "\"7\"", "7.5", "[7]"],
        Kind::Bytes { .. } | Kind::Duration { .. } | Kind::Percent => &["true", "1.5", "[\"1\"]", "inf"],
        Kind::Choice(_) | Kind::Text | Kind::Path => &["true", "1", "[\"a\"]"],
        Kind::TextList | Kind::Addresses => &["true", "1", "[1]", "[[\"a\"]]", "[\"a,b\"]"],
    }
}

/// Texts that the option does not take, wherever they come from.
fn wrong_texts(kind: Kind) -> Vec<String> {
    let outside = |min: u64, max: u64, unit: &str| {
        let mut texts =
            vec!["-1".to_owned(), "18446744073709551616".to_owned(), "ten".to_owned(), String::new()];
        texts.extend(max.checked_add(1).map(|n| format!("{n}{unit}")));
        texts.extend(min.checked_sub(1).map(|n| format!("{n}{unit}")));
        texts
    };
    match kind {
        Kind::Flag => ["yes", "TRUE", ""].map(str::to_owned).into(),
        Kind::Count { min, max } => outside(min, max, ""),
        Kind::Bytes { min, max } => outside(min, max, "B"),
        Kind::Duration { min, max } => outside(min, max, "ms"),
        Kind::Percent => outside(0, 100, "%"),
        Kind::Choice(_) => ["neither", ""].map(str::to_owned).into(),
        Kind::Addresses => ["localhost:80", "127.0.0.1", ":80", "1.2.3.4:99999"].map(str::to_owned).into(),
        Kind::Text | Kind::TextList | Kind::Path => vec!["a\u{7}b".to_owned()],
    }
}

/// A value that the option takes, as TOML.
fn right_value(key: Key) -> String {
    match key.kind() {
        Kind::Flag | Kind::Count { .. } => key.default_text().to_owned(),
        Kind::TextList | Kind::Addresses => "[]".to_owned(),
        _ => format!("\"{}\"", key.default_text()),
    }
}

#[test]
fn a_wrong_type_in_a_file_names_option_line_and_type() {
    for key in keys::all() {
        for value in wrong_types(key.kind()) {
            let error = from_file(&format!("\n\"{}\" = {value}\n", key.name()));
            assert!(error.starts_with(&format!(":2: {} = ", key.name())), "{key:?} = {value}: {error}");
            assert!(error.contains(&key.kind().expected()), "{key:?} = {value}: {error}");
        }
        if key.name() == "handlers" {
            continue; // The one that may be a table.
        }
        let error = from_file(&format!("[\"{}\"]\nsurprise = 1\n", key.name()));
        assert!(error.starts_with(&format!(":2: there is no option {}.surprise", key.name())), "{error}");
    }
}

#[test]
fn a_wrong_value_names_option_place_and_range() {
    for key in keys::all() {
        for text in wrong_texts(key.kind()) {
            let range = key.kind().expected();
            let error = from_flag(key.name(), &text);
            assert!(error.starts_with(&format!("--set: {} = \"", key.name())), "{key:?} = {text:?}: {error}");
            assert!(error.ends_with(&range), "{key:?} = {text:?}: {error}");
            let error = from_environment(&key.variable(), &text);
            assert!(
                error.starts_with(&format!("environment variable {}: {} = \"", key.variable(), key.name())),
                "{error}"
            );
            assert!(error.ends_with(&range), "{key:?} = {text:?}: {error}");
        }
        if let Kind::Count { max, .. } = key.kind()
            && let Some(above) = max.checked_add(1)
        {
            let error = from_file(&format!("\"{}\" = {above}\n", key.name()));
            assert!(
                error.starts_with(&format!(":1: {} = ", key.name())) && error.contains("out of range"),
                "{error}"
            );
        }
    }
}

#[test]
fn an_unknown_name_gives_the_nearest_one() {
    for key in keys::all() {
        // One letter too many, in a place where no other option is nearer.
        let wrong = format!("{}q", key.name());
        let hint = format!("there is no option {wrong}; did you mean {}?", key.name());
        assert_eq!(from_flag(&wrong, "1"), format!("--set: {hint}"));
        assert_eq!(from_file(&format!("\n\n\"{wrong}\" = 1\n")), format!(":3: {hint}"));
        let variable = format!("{}Q", key.variable());
        let hint = format!("there is no option {variable}; did you mean {}?", key.variable());
        assert_eq!(from_environment(&variable, "1"), format!("environment variable {variable}: {hint}"));
    }
    assert!(from_flag("zzz.yyy", "1").contains("`fanfare config` lists them all"));
    let hostile = from_flag("\u{1b}[31m\n", "1");
    assert!(!hostile.contains(['\u{1b}', '\n']), "{hostile:?}");
}

#[test]
fn an_option_set_twice_in_one_place_is_refused() {
    for key in keys::all() {
        let value = right_value(key);
        let twice = format!("\"{0}\" = {value}\n\"{0}\" = {value}\n", key.name());
        let error = from_file(&twice);
        assert!(error.starts_with(":2: duplicate key") && error.contains(key.name()), "{error}");

        if let Some((section, last)) = key.name().rsplit_once('.') {
            let spelt_differently = format!("\"{}\" = {value}\n[{section}]\n{last} = {value}\n", key.name());
            let error = from_file(&spelt_differently);
            assert!(error.starts_with(&format!(":3: {} is set twice, first at ", key.name())), "{error}");
            assert!(error.ends_with(":1"), "{error}");
        }

        let mut loader = Loader::new();
        loader.begin_flags();
        loader.flag("--first", key.name(), key.default_text()).expect("its default");
        let error = loader.flag("--set", key.name(), key.default_text()).expect_err("twice").to_string();
        assert_eq!(error, format!("--set: {} is set twice, first at --first", key.name()));
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let message = |path: &Path| {
        let error = Loader::new().file(path).expect_err("unreadable").to_string();
        error.strip_prefix(&path.display().to_string()).expect("begins with the file").to_owned()
    };
    assert!(
        message(&folder.path().join("absent.toml")).starts_with(": cannot read the configuration file: ")
    );
    assert!(message(folder.path()).starts_with(": cannot read the configuration file: "));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0x66, 0xff, 0xfe]).expect("write");
    assert!(message(&binary).starts_with(": cannot read the configuration file: "), "{}", message(&binary));
    assert!(from_file("listen = [\n").starts_with(":"), "not TOML");
}

#[cfg(unix)]
#[test]
fn an_environment_variable_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;

    let error = from_environment("FANFARE_LOG", OsString::from_vec(vec![0xff]));
    assert!(
        error.starts_with("environment variable FANFARE_LOG: log = ") && error.contains("is not UTF-8"),
        "{error}"
    );
}

#[test]
fn a_failed_layer_leaves_no_half_set_option() {
    let mut loader = Loader::new();
    loader.begin_flags();
    let before = keys::all().map(|key| key.get(loader.config())).collect::<Vec<_>>();
    for key in keys::all() {
        for text in wrong_texts(key.kind()) {
            loader.flag("--set", key.name(), &text).expect_err(&text);
        }
    }
    assert_eq!(keys::all().map(|key| key.get(loader.config())).collect::<Vec<_>>(), before);
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_open() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address)).expect("its address");
    // The free port comes first: it has to be given back when the second one fails.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let mut loader = Loader::new();
    loader.begin_flags();
    loader.flag("--listen", "listen", &format!("{free},{}", taken.1)).expect("addresses");
    let error = Hub::start(loader.finish().expect("sound")).expect_err("the port is taken").to_string();
    assert!(error.contains(&taken.1.to_string()), "{error}");
    TcpListener::bind(free).expect("the port is free again");
}

#[test]
fn an_unusable_certificate_is_named() {
    let mut loader = Loader::new();
    loader.begin_flags();
    for (name, text) in [
        ("listen", ""),
        ("tls.listen", "127.0.0.1:0"),
        ("tls.cert", "/nonexistent/cert.pem"),
        ("tls.key", "/nonexistent/key.pem"),
    ] {
        loader.flag("--set", name, text).expect(name);
    }
    let error = Hub::start(loader.finish().expect("sound")).expect_err("no such file").to_string();
    assert!(error.contains("/nonexistent/cert.pem"), "{error}");
}
