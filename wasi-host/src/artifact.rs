//! Compiled code in a file: what `fanfare compile` writes, and what the cache keeps.
//!
//! ```text
//!  0  8  "\0fanfare": a NUL first, so that it is neither WebAssembly nor a script
//!  8  1  version of this format
//!  9  1  what the code was made of
//! 10  2  length of the maker, little-endian like all numbers here
//! 12  4  length of the script
//! 16 32  seal of all other bytes
//! 48     maker, a text for messages; script; code, an image of wasmtime's
//! ```
//!
//! The seal of a file that somebody names is a SHA-256: it finds damage, and says nothing about where the file is from. In the
//! cache it is an HMAC with the cache's secret and the entry's name, so that nothing is taken there that was not put
//! there under that name. Whether code fits this build and this processor wasmtime checks when it loads it.

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::plain;

/// How such a file begins.
const MAGIC: &[u8; 8] = b"\0fanfare";
/// The version of the format that this build reads and writes.
const FORMAT: u8 = 1;
const SEAL_AT: usize = 16;
const HEADER: usize = SEAL_AT + 32;

/// 32 bytes: a SHA-256, or a secret.
pub(crate) type Bytes32 = [u8; 32];

/// What code was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Component,
    CoreModule,
    /// The engine of scripts; in a file with a script, in the cache without.
    Script,
}

/// The parts of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Artifact<'b> {
    pub(crate) kind: Kind,
    pub(crate) script: &'b str,
    pub(crate) code: &'b [u8],
}

impl Artifact<'_> {
    /// The code, ready to run; for files only that are trusted.
    ///
    /// # Errors
    /// When it is not for this build or this processor.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Component, String> {
        #[expect(unsafe_code, reason = "machine code cannot be checked, only where it is from")]
        // SAFETY: these bytes are what wasmtime has made, as far as that can be known: they were in our cache, under a seal that only we
        // can make, or the operator has named their file and said that such files are to be taken. That they are
        // of this version, with these settings, and for this processor, wasmtime checks.
        let loaded = unsafe { Component::deserialize(engine, self.code) };
        loaded.map_err(|error| format!("it does not fit here: {}", plain(&error)))
    }
}

/// How the seal is made.
#[derive(Clone, Copy)]
pub(crate) enum Seal<'k> {
    Digest,
    #[cfg_attr(not(feature = "wasm-jit"), expect(dead_code, reason = "the cache needs a compiler"))]
    Keyed {
        secret: &'k Bytes32,
        name: &'k str,
    },
}

/// Whether a file says that it is of this kind.
pub(crate) fn is_artifact(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Who makes files here. Not what decides whether one fits, but what a message can say about one that does not.
pub(crate) fn maker() -> String {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!("fanfare {} for {os} on {arch}", env!("CARGO_PKG_VERSION"))
}

/// The bytes of a file; `None` when the script is longer than one can say.
#[cfg(feature = "wasm-jit")]
pub(crate) fn write(artifact: &Artifact<'_>, seal: Seal<'_>) -> Option<Vec<u8>> {
    let maker = maker();
    let mut bytes = Vec::with_capacity(HEADER + maker.len() + artifact.script.len() + artifact.code.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[FORMAT, artifact.kind as u8]);
    bytes.extend_from_slice(&u16::try_from(maker.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(artifact.script.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(maker.as_bytes());
    bytes.extend_from_slice(artifact.script.as_bytes());
    bytes.extend_from_slice(artifact.code);
    let sealed = seal.of(&bytes);
    bytes[SEAL_AT..HEADER].copy_from_slice(&sealed);
    Some(bytes)
}

/// The parts of a file whose seal is sound.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read<'b>(bytes: &'b [u8], seal: Seal<'_>) -> Result<Artifact<'b>, String> {
    const CUT: &str = "it is cut off";
    let Some((header, body)) = bytes.split_at_checked(HEADER) else { return Err(CUT.to_owned()) };
    if !is_artifact(header) {
        return Err("it is no compiled handler".to_owned());
    }
    if header[8] != FORMAT {
        return Err(format!("it has format {}, and this build knows format {FORMAT}", header[8]));
    }
    // Before anything in it is believed.
    if seal.of(bytes) != header[SEAL_AT..] {
        return Err("it is damaged or cut off".to_owned());
    }
    let maker_len = usize::from(u16::from_le_bytes([header[10], header[11]]));
    let script_len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
    let parts = body.split_at_checked(maker_len);
    let (maker, rest) = parts.ok_or(CUT)?;
    let (script, code) = rest.split_at_checked(script_len).ok_or(CUT)?;
    let made_here = self::maker();
    if maker != made_here.as_bytes() {
        let maker = String::from_utf8_lossy(maker);
        return Err(format!("it was compiled by {maker:?}, and this is {made_here:?}: compile it again"));
    }
    let kind = match header[9] {
        0 => Kind::Component,
        1 => Kind::CoreModule,
        2 => Kind::Script,
        other => return Err(format!("it is of a kind {other} that this build does not know")),
    };
    let script = std::str::from_utf8(script).map_err(|_| "its script is not UTF-8")?;
    Ok(Artifact { kind, script, code })
}

impl Seal<'_> {
    /// The seal of a file, whatever stands in its place now.
    fn of(self, file: &[u8]) -> Bytes32 {
        let (before, after) = (&file[..SEAL_AT], &file[HEADER..]);
        match self {
            Self::Digest => sha256(&[before, after]),
            // A name has a fixed length, so none runs into the file.
            Self::Keyed { secret, name } => hmac(secret, &[name.as_bytes(), before, after]),
        }
    }
}

/// HMAC-SHA-256 (RFC 2104) of all parts, one after the other.
fn hmac(secret: &Bytes32, parts: &[&[u8]]) -> Bytes32 {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(secret).for_each(|(byte, secret)| *byte ^= secret);
        block
    };
    let inner = sha256(&[&[&pad(0x36)[..]], parts].concat());
    sha256(&[&pad(0x5c), &inner])
}

/// SHA-256 of all parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> Bytes32 {
    let mut sum = Sha256::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.finalize().into()
}

#[cfg(all(test, feature = "wasm-jit"))]
mod tests {
    use super::*;

    const SECRET: Bytes32 = [7; 32];
    const SEALS: [Seal<'_>; 2] = [Seal::Digest, Seal::Keyed { secret: &SECRET, name: "abc" }];

    fn example() -> Artifact<'static> {
        Artifact { kind: Kind::Script, script: "export let a;", code: b"code" }
    }

    #[test]
    fn what_is_written_is_read() {
        for seal in SEALS {
            let bytes = write(&example(), seal).expect("short");
            assert!(is_artifact(&bytes));
            assert_eq!(read(&bytes, seal), Ok(example()));
        }
    }

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        for seal in SEALS {
            let whole = write(&example(), seal).expect("short");
            for at in 0..whole.len() {
                read(&whole[..at], seal).expect_err("cut off");
                let mut changed = whole.clone();
                changed[at] ^= 0x10;
                read(&changed, seal).expect_err("changed");
            }
            let longer = [&whole[..], b"x"].concat();
            read(&longer, seal).expect_err("longer");
        }
    }

    #[test]
    fn a_seal_of_another_secret_or_name_is_none() {
        let bytes = write(&example(), SEALS[1]).expect("short");
        let other = [8; 32];
        for seal in [
            Seal::Digest,
            Seal::Keyed { secret: &other, name: "abc" },
            Seal::Keyed { secret: &SECRET, name: "abd" },
        ] {
            assert_eq!(read(&bytes, seal), Err("it is damaged or cut off".to_owned()));
        }
    }

    #[test]
    fn the_keyed_seal_is_an_hmac() {
        // RFC 4231, test case 1: its key has 20 bytes, and zeros behind them make the same block.
        let mut secret = [0; 32];
        secret[..20].fill(0x0b);
        let known = hmac(&secret, &[b"Hi ", b"There"]);
        let hex: String = known.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn files_of_others_are_refused_with_their_maker() {
        let mut bytes = write(&example(), Seal::Digest).expect("short");
        let at = HEADER + "fanfare ".len();
        bytes[at] = b'9';
        let sum = Seal::Digest.of(&bytes);
        bytes[SEAL_AT..HEADER].copy_from_slice(&sum);
        let error = read(&bytes, Seal::Digest).expect_err("another version");
        assert!(error.starts_with("it was compiled by \"fanfare 9"), "{error}");
        bytes[8] = 2;
        let error = read(&bytes, Seal::Digest).expect_err("another format");
        assert_eq!(error, "it has format 2, and this build knows format 1");
    }

    #[test]
    fn code_of_another_wasmtime_or_machine_is_refused_by_name() {
        let engine = Engine::default();
        let module = wat::parse_str("(component)").expect("sound");
        let code = engine.precompile_component(&module).expect("it compiles");
        let load = |code: &[u8]| Artifact { kind: Kind::Component, script: "", code }.load(&engine);
        load(&code).map(drop).expect("as it is");
        // Where it says who compiled it: the length of the version, the version, and then the machine.
        let changed = |from: &str, to: &str| {
            let (from, to) = (from.as_bytes(), to.as_bytes());
            let at = code.windows(from.len()).position(|bytes| bytes == from).expect("it says so");
            [&code[..at], to, &code[at + from.len()..]].concat()
        };
        let other = changed("\u{2}48", "\u{2}47");
        let error = load(&other).map(drop).expect_err("another version");
        assert!(error.contains("it does not fit here") && error.contains("'47'"), "{error}");
        let here = std::env::consts::ARCH;
        let there = if here.len() == "mips64".len() { "mips64" } else { "riscv64" };
        let other = changed(here, there);
        let error = load(&other).map(drop).expect_err("another machine");
        assert!(error.contains(there), "{error}");
    }
}
