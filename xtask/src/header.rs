//! `include/fanfare.h` from the crate `ffi`: types and functions by cbindgen, numbers of errors from the engine's table.

use std::fs;

use anyhow::{Context, Result, bail};
use fanfare_engine::Code;

use crate::files;
use crate::run::say;

const HEADER: &str = "include/fanfare.h";

/// Writes the header.
pub(crate) fn write() -> Result<()> {
    let path = files::root().join(HEADER);
    fs::create_dir_all(files::root().join("include"))?;
    fs::write(&path, generate()?).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!("    wrote {HEADER}"));
    Ok(())
}

/// Fails if the committed header is not what the crate says now.
pub(crate) fn check() -> Result<()> {
    if files::read(&files::root().join(HEADER))? != generate()? {
        bail!("{HEADER} is not what the crate `ffi` says; `cargo xtask header` writes it");
    }
    Ok(())
}

fn generate() -> Result<String> {
    let ffi = files::root().join("ffi");
    let mut config = cbindgen::Config::from_file(ffi.join("cbindgen.toml")).map_err(anyhow::Error::msg)?;
    config.after_includes = config.after_includes.map(|text| text.replace("@CODES@", &codes()));
    let bindings = cbindgen::Builder::new().with_crate(&ffi).with_config(config).generate()?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text)?;
    Ok(text.lines().map(str::trim_end).fold(String::new(), |out, line| out + line + "\n"))
}

fn codes() -> String {
    let mut text = String::from(
        "/* Errors. fanfare_strerror has these texts, fanfare_code_name the names in lower case. */\n",
    );
    for code in Code::ALL {
        let name = code.as_str().to_ascii_uppercase();
        let number = code.number();
        text.push_str(&format!("/* {} */\n#define FANFARE_ERR_{name} ({number})\n", code.doc()));
    }
    text
}
