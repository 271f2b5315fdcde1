//! `docs/embedding-c.md`, as a reader follows it: its commands in an empty folder, its programs compiled, run and read from.
//!
//! The guides for Python and Node are followed by tests of those bindings.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::native;
use crate::run::say;

const GUIDE: &str = "docs/embedding-c.md";
/// Far above what a step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Included before every program: the port that a reader would use may be taken where this runs.
const ANY_PORT: &str = r#"#include <fanfare.h>
static inline fanfare_status start_on_any_port(const fanfare_config *given, fanfare_hub **hub, fanfare_error *err)
{
    fanfare_config *config = NULL;
    if (given)
        return fanfare_start(given, hub, err);
    if (fanfare_config_new(FANFARE_ABI_VERSION, &config, err) || fanfare_config_set(config, "listen", "127.0.0.1:0", err))
        return FANFARE_ERR_START_FAILED;
    fanfare_status status = fanfare_start(config, hub, err);
    fanfare_config_free(&config);
    return status;
}
#define fanfare_start start_on_any_port
"#;

/// Follows the guide with the library that is installed below `prefix`.
pub(crate) fn follow(prefix: &Path) -> Result<()> {
    let text = files::read(&files::root().join(GUIDE))?;
    let home = native::scratch()?.join("guide");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let (folder, bin) = (home.join("empty"), home.join("bin"));
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(&bin)?;
    // Where the guide's first command would have put it.
    if !text.contains("cargo xtask install --prefix $HOME/fanfare\n") {
        bail!("{GUIDE} does not install below $HOME/fanfare any more");
    }
    symlink(prefix, home.join("fanfare"))?;
    let header = bin.join("any_port.h");
    fs::write(&header, ANY_PORT)?;
    for (name, real) in [("cc", "gcc"), ("c++", "g++")] {
        let compiler = bin.join(name);
        let language = if name == "cc" { format!("-include {}", header.display()) } else { String::new() };
        fs::write(&compiler, format!("#!/bin/sh\nexec {real} -Wall -Wextra -Werror {language} \"$@\"\n"))?;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
    }
    let guide = Guide { text: &text, home: &home, folder: &folder, bin: &bin };
    guide.first_program()?;
    guide.fragments()?;
    guide.cpp()
}

struct Guide<'a> {
    text: &'a str,
    home: &'a Path,
    folder: &'a Path,
    bin: &'a Path,
}

impl Guide<'_> {
    /// The guide's own commands; a client reads from what the last of them starts.
    fn first_program(&self) -> Result<()> {
        let program = blocks(self.text, "c").into_iter().find(|code| code.contains("int main"));
        fs::write(self.folder.join("hello.c"), program.context("the guide has no program in C")?)?;
        let commands = commands(self.text);
        let Some(last) = commands.iter().position(|line| *line == "./hello") else {
            bail!("{GUIDE} does not say how to run its program");
        };
        // What needs the clone has been done.
        let build = commands[..last].iter().copied().filter(|line| !line.starts_with("cargo "));
        let build: Vec<&str> = build.filter(|line| !line.starts_with("git ")).collect();
        // It prints to a pipe here, and to a terminal there.
        let script = format!("set -e\n{}\nexec stdbuf -oL ./hello", build.join("\n"));
        let mut running =
            Running(self.shell(&script).stdout(Stdio::piped()).spawn().context("cannot start a shell")?);
        let output = running.0.stdout.take().context("its output is a pipe")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        let url = said.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.with_context(|| format!("hello.c prints `{}`", said.trim()))?;
        let text = read_stream(url)?;
        say(&format!("    hello.c: {url} gives {}", text.lines().last().unwrap_or_default()));
        Ok(())
    }

    /// Code that is shown without a program around it has to compile in one.
    fn fragments(&self) -> Result<()> {
        let fragments = blocks(self.text, "c").into_iter().filter(|code| !code.contains("int main"));
        let mut count = 0;
        for code in fragments {
            count += 1;
            let source = self.folder.join(format!("fragment{count}.c"));
            let program = format!(
                "#include <stdio.h>\n#include <fanfare.h>\nint main(void)\n{{\nfanfare_error err = FANFARE_ERROR_INIT;\n\
                 fanfare_hub *hub = NULL;\n{code}\nreturn hub == NULL;\n}}\n"
            );
            fs::write(&source, program)?;
            let line = format!(
                "{}\ncc -fsyntax-only {} $(pkg-config --cflags fanfare)",
                self.export()?,
                source.display()
            );
            self.succeeds(&line)?;
        }
        if count == 0 {
            bail!("{GUIDE} shows no code besides its program");
        }
        Ok(())
    }

    fn cpp(&self) -> Result<()> {
        let programs = blocks(self.text, "cpp");
        let program = programs.first().context("the guide has no program in C++")?;
        fs::write(self.folder.join("hello.cpp"), program)?;
        let build = commands(self.text).into_iter().find(|line| line.starts_with("c++ "));
        let build = build.context("the guide does not say how to compile C++")?;
        self.succeeds(&format!("{}\n{build}\ntest \"$(./hello)\" = tick", self.export()?))
    }

    /// The line that says where the library is.
    fn export(&self) -> Result<&str> {
        commands(self.text)
            .into_iter()
            .find(|line| line.starts_with("export PKG_CONFIG_PATH"))
            .context("the guide does not say where the library is")
    }

    fn shell(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script])
            .current_dir(self.folder)
            .env("HOME", self.home)
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .stdin(Stdio::null());
        shell
    }

    fn succeeds(&self, script: &str) -> Result<()> {
        let status = self.shell(&format!("set -e\n{script}")).status()?;
        if !status.success() {
            bail!("{GUIDE}: this ends with {status}:\n{script}");
        }
        Ok(())
    }
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is what the test then says.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a stream gives up to its first event.
fn read_stream(url: &str) -> Result<String> {
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .with_context(|| format!("{url} is no address"))?;
    let mut socket = TcpStream::connect(host)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut text = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        match socket.read(&mut chunk).with_context(|| format!("{url} gives no event"))? {
            0 => bail!("{url} ends before an event: {}", String::from_utf8_lossy(&text)),
            count => text.extend_from_slice(&chunk[..count]),
        }
        let so_far = String::from_utf8_lossy(&text);
        if let Some(at) = so_far.find("data: ")
            && so_far[at..].contains('\n')
        {
            return Ok(so_far[..at + so_far[at..].find('\n').unwrap_or(0)].to_owned());
        }
    }
}

/// The code of a page in one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The commands of a page: lines that are indented, outside of code.
fn commands(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    let lines = outside.flat_map(str::lines).filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| !line.starts_with(' ') && !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "Do\n\n    cc a.c\n    ./a\n\n```c\nint main;\n    indented;\n```\n\n```cpp\nx\n```\n\n    last\n";

    #[test]
    fn code_and_commands_are_told_apart() {
        assert_eq!(blocks(PAGE, "c"), ["int main;\n    indented;\n"]);
        assert_eq!(blocks(PAGE, "cpp"), ["x\n"]);
        assert_eq!(commands(PAGE), ["cc a.c", "./a", "last"]);
    }
}
