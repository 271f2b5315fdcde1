//! The slim library: HTTP/1.1 and streams, and nothing else. It stays small, it runs, and it refuses what it has not.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::build::HANG;
use crate::files;
use crate::native;
use crate::run::{Program, say};

/// What `libfanfare.so` may take when it is stripped: 2.5 MiB.
const MOST_BYTES: u64 = 5 << 19;

/// The page that says how large it is, and how it is built.
const PAGE: &str = "docs/embedding-c.md";
const BUILD: [&str; 8] =
    ["build", "--profile", "slim", "-p", "fanfare-ffi", "--no-default-features", "--features", "http"];

/// By how much the page may be wrong, in percent: compilers differ.
const PAGE_SLACK: u64 = 5;

/// Builds it, measures it, and runs it.
pub(crate) fn check() -> Result<()> {
    Program::cargo().args(BUILD).args(["--locked"]).run()?;
    let built = files::target().join("slim");
    let stripped = native::scratch()?.join("libfanfare-slim.so");
    Program::new("strip").args(["-o"]).args([&stripped, &built.join("libfanfare.so")]).run()?;
    let bytes = fs::metadata(&stripped).with_context(|| format!("there is no {}", stripped.display()))?.len();
    say(&format!("    the slim library has {bytes} bytes"));
    let command = format!("cargo {}", BUILD.join(" "));
    let said = said(&files::read(&files::root().join(PAGE))?, &command)
        .with_context(|| format!("{PAGE} has no line for `{command}`"))?;
    judge(bytes, said)?;
    native::hello(&built.join("libfanfare.a"))?;
    // What a build without HTTP/2 answers those who speak it; TLS, because of its ALPN.
    let test = ["test", "--locked", "-p", "fanfare-server", "--no-default-features", "--features", "tls"];
    Program::cargo().args(test).args(["--test", "no_http2"]).limit(HANG).run()
}

/// The size that the page says of a build.
fn said(page: &str, command: &str) -> Option<u64> {
    let row = page.lines().find(|line| line.starts_with(&format!("| `{command}` |")))?;
    row.trim_end_matches([' ', '|']).rsplit('|').next()?.trim().replace(',', "").parse().ok()
}

fn judge(bytes: u64, said: u64) -> Result<()> {
    if bytes > MOST_BYTES {
        bail!("the slim library has {bytes} bytes, and may have {MOST_BYTES}");
    }
    if bytes.abs_diff(said) > said * PAGE_SLACK / 100 {
        bail!("the slim library has {bytes} bytes; {PAGE} says {said}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_and_other_than_said_are_found() {
        let page = "| build | bytes |\n|---|---:|\n| `cargo a --features b` | x | 7,000 |\n| `cargo a` | y | 2,000,000 |\n";
        assert_eq!(said(page, "cargo a"), Some(2_000_000));
        assert_eq!(said(page, "cargo a --features b"), Some(7_000));
        assert_eq!(said(page, "cargo"), None);
        judge(MOST_BYTES, MOST_BYTES).expect("just small enough");
        judge(2_050_000, 2_000_000).expect("another compiler");
        assert!(judge(MOST_BYTES + 1, MOST_BYTES).is_err());
        assert!(judge(1_800_000, 2_000_000).is_err());
    }
}
