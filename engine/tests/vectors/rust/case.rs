//! Reading a vector file, and the text values that all of them use.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<C> {
    /// What the file is for, to people.
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<C>,
}

/// A text value in one of its forms.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Plain(String),
    Joined(Vec<Text>),
    Part(Part),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Part {
    Hex { hex: String },
    Repeat { repeat: String, times: usize },
    Epoch { epoch: bool },
    IdOf { id_of: String },
}

/// What a text value may refer to: the ids that a running hub assigned.
pub(crate) trait Names {
    /// The id of the event with this data.
    fn id_of(&self, data: &str) -> String;
    /// The hub's epoch.
    fn epoch(&self) -> String;
}

/// No hub is running: references are a fault in the vector.
pub(crate) struct NoNames;

/// Reads the cases of `vectors/<name>`.
pub(crate) fn load<C: DeserializeOwned>(name: &str) -> Vec<C> {
    let path = directory().join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File<C> =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!file.cases.is_empty(), "{} has no cases", path.display());
    file.cases
}

/// Where the vectors are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

impl Text {
    /// The value's bytes.
    pub(crate) fn bytes(&self, names: &impl Names) -> Vec<u8> {
        match self {
            Self::Plain(text) => text.clone().into_bytes(),
            Self::Joined(parts) => parts.iter().flat_map(|part| part.bytes(names)).collect(),
            Self::Part(Part::Hex { hex }) => unhex(hex),
            Self::Part(Part::Repeat { repeat, times }) => repeat.repeat(*times).into_bytes(),
            Self::Part(Part::Epoch { epoch }) => {
                assert!(epoch, "an epoch part is written as true");
                names.epoch().into_bytes()
            }
            Self::Part(Part::IdOf { id_of }) => names.id_of(id_of).into_bytes(),
        }
    }

    /// The value as text; `None` if it is not UTF-8, which a Rust caller cannot even express.
    pub(crate) fn text(&self, names: &impl Names) -> Option<String> {
        String::from_utf8(self.bytes(names)).ok()
    }
}

impl Names for NoNames {
    fn id_of(&self, data: &str) -> String {
        panic!("nothing was published: there is no id of {data:?}");
    }

    fn epoch(&self) -> String {
        panic!("no hub is running: there is no epoch");
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii(), "hex {hex:?}");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex digits")).collect()
}
