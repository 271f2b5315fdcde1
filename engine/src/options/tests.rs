//! The macros declare public types, as users of a crate need them; here nobody else can reach them.
#![allow(unreachable_pub, reason = "declared by a macro for public use")]

use core::net::SocketAddr;
use std::path::PathBuf;

use super::*;

#[derive(Clone, Debug, Default)]
pub struct Inner {
    pub wide: u64,
    pub narrow: u8,
}

options! {
    /// One option of each kind.
    pub struct Sample {
        /// A flag.
        ["flag"] flag: bool = Kind::Flag, "true";
        /// A count.
        ["count"] count: u32 = Kind::Count { min: 1, max: 100 }, "7";
        /// A size.
        ["size"] size: u64 = Kind::Bytes { min: 1, max: 1 << 30 }, "8MiB";
        /// A time, over
        /// two lines.
        ["time"] time: u64 = Kind::Duration { min: 0, max: u64::MAX }, "90s";
        /// A part.
        ["part"] part: u8 = Kind::Percent, "10%";
        /// A word.
        ["word"] word: String = Kind::Choice(&["red", "green"]), "red";
        /// A text.
        ["text"] text: String = Kind::Text, "";
        /// A list.
        ["list"] list: Vec<String> = Kind::TextList, "a,b";
        /// Addresses.
        ["addresses"] addresses: Vec<SocketAddr> = Kind::Addresses, "127.0.0.1:80,[::1]:80";
        /// A path.
        ["path"] path: Option<PathBuf> = Kind::Path, "";
    }
    and {
        /// No option.
        pub inner: Inner;
    }
}

fn value(key: &str, text: &str) -> Result<String, OptionError> {
    let mut sample = Sample::default();
    set(Sample::OPTIONS, &mut sample, key, text)?;
    Ok(Sample::OPTIONS.iter().find(|option| option.key == key).expect("set found it").get(&sample))
}

#[test]
fn a_sound_table_has_no_mistakes() {
    assert_eq!(check(Sample::OPTIONS, &Sample::default()), Vec::<String>::new());
    assert_eq!(Sample::OPTIONS[3].doc(), "A time, over two lines.");
    assert_eq!(Sample::default().inner.wide, 0);
}

#[test]
fn mistakes_are_found() {
    let table = [
        option!(Inner, wide, "Wide", Kind::Count { min: 0, max: 9 }, "1", "Doc."),
        option!(Inner, narrow, "narrow", Kind::Count { min: 0, max: 999 }, "256", "Doc."),
        option!(Inner, wide, "wide", Kind::Count { min: 0, max: 9 }, "00", "Doc without a stop"),
        option!(Inner, wide, "wide", Kind::Count { min: 0, max: 9 }, "0", "Doc."),
    ];
    let mistakes = check(&table, &Inner::default()).join("\n");
    for part in
        ["Wide: the key is not", "Wide: the default differs", "narrow: narrow = \"256\" is out of range"]
    {
        assert!(mistakes.contains(part), "{part} not in {mistakes}");
    }
    for part in ["wide: no doc", "wide: the default is not in canonical", "wide: the key is there twice"] {
        assert!(mistakes.contains(part), "{part} not in {mistakes}");
    }
}

#[test]
fn values_are_read_and_shown_in_canonical_form() {
    for (key, text, canonical) in [
        ("flag", " false ", "false"),
        ("count", "042", "42"),
        ("size", "1024", "1KiB"),
        ("size", "1MB", "1000000"),
        ("size", "64 KiB", "64KiB"),
        ("size", "1000B", "1000"),
        ("time", "0", "0"),
        ("time", "15", "15s"),
        ("time", "250ms", "250ms"),
        ("time", "120s", "2m"),
        ("time", "7d", "168h"),
        ("part", "0", "0%"),
        ("word", "green", "green"),
        ("text", "grüße, welt", "grüße, welt"),
        ("list", " x , ,y,", "x,y"),
        ("list", "", ""),
        ("addresses", "", ""),
        ("path", "/etc/fanfare/cert.pem", "/etc/fanfare/cert.pem"),
    ] {
        assert_eq!(value(key, text).as_deref(), Ok(canonical), "{key} = {text:?}");
    }
}

#[test]
fn faults_are_told_apart() {
    let range = "is out of range";
    let shape = "does not fit";
    for (key, text, reason) in [
        ("flag", "yes", shape),
        ("flag", "", shape),
        ("count", "0", range),
        ("count", "101", range),
        ("count", "-1", range),
        ("count", "99999999999999999999999", range),
        ("count", "1.5", shape),
        ("count", "7s", shape),
        ("count", "", shape),
        ("size", "2GiB", range),
        ("size", "99999999999GiB", range),
        ("size", "8mib", shape),
        ("size", "KiB", shape),
        ("time", "1 hour", shape),
        ("time", "18446744073709551615d", range),
        ("part", "101", range),
        ("part", "10 percent", shape),
        ("word", "Red", shape),
        ("text", "a\nb", "contains a control character"),
        ("list", "a,\u{7f}", "contains a control character"),
        ("addresses", "localhost:80", shape),
        ("addresses", "127.0.0.1", shape),
        ("nothing", "1", "is not an option"),
    ] {
        let error = value(key, text).expect_err(text);
        assert_eq!((error.key.as_str(), error.reason), (key, reason), "{key} = {text:?}");
    }
}

#[test]
fn a_refused_value_changes_nothing_and_is_shown_safely() {
    let mut sample = Sample::default();
    let long = format!("\u{1b}[31m{}", "x".repeat(500));
    let error = set(Sample::OPTIONS, &mut sample, "word", &long).expect_err("control character");
    assert!(
        error.value.len() < 200 && error.value.ends_with('…') && !error.value.contains('\u{1b}'),
        "{error}"
    );
    assert_eq!(sample.word, "red");
}

#[test]
fn expectations_name_the_range() {
    let expected: Vec<_> = Sample::OPTIONS.iter().map(|option| option.kind.expected()).collect();
    assert_eq!(expected[1], "a whole number from 1 to 100");
    assert_eq!(expected[2], "a size such as 64KiB or 8MiB, from 1 to 1GiB");
    assert_eq!(expected[3], "a time such as 250ms, 15s or 1h, of 0 or more");
    assert_eq!(expected[5], "one of red, green");
}
