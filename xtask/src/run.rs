//! Running steps and programs: a heading for each step, its time at the end, a clear failure.
//!
//! Programs get no stdin, so nothing can wait for an answer. A program under a time limit is killed when
//! the limit passes, together with what it started if nobody sits at a terminal: a browser or a server
//! that survives its suite would otherwise keep the pipes of a CI job open for ever.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::files;

/// The steps done so far, with their times.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
    started: Option<Instant>,
}

impl Steps {
    /// Runs `body` under a heading. An error carries the step's name upwards.
    pub(crate) fn step(&mut self, name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
        self.started.get_or_insert_with(Instant::now);
        say(&format!("\n==> {name}"));
        let start = Instant::now();
        body().with_context(|| format!("step \"{name}\" failed after {}", seconds(start.elapsed())))?;
        let took = start.elapsed();
        say(&format!("    {name}: ok, {}", seconds(took)));
        self.done.push((name.to_owned(), took));
        Ok(())
    }

    /// Prints one line per step and the sum.
    pub(crate) fn summary(&self) {
        let Some(started) = self.started else { return };
        say("\n==> summary");
        for (name, took) in &self.done {
            say(&format!("    {:>9}  {name}", seconds(*took)));
        }
        say(&format!("    {:>9}  steps passed: {}", seconds(started.elapsed()), self.done.len()));
    }
}

/// A program to run from the repository root: a thin layer over [`Command`] that shows what it runs.
pub(crate) struct Program {
    command: Command,
    shown: String,
    limit: Option<Duration>,
}

impl Program {
    /// A program by name or path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.current_dir(files::root()).stdin(Stdio::null());
        Self { command, shown: program.as_ref().to_string_lossy().into_owned(), limit: None }
    }

    /// Cargo, the same one that runs this task. What it set for this task it does not see: build scripts that look at it would
    /// run again each time that another caller builds.
    pub(crate) fn cargo() -> Self {
        let mut program =
            Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).without_cargo_env();
        program.shown = "cargo".to_owned();
        program
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets an environment variable, and shows it.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{key}={:?} {}", value.as_ref().to_string_lossy(), self.shown);
        self.command.env(key, value);
        self
    }

    /// Removes what `cargo run` adds to the environment and programs outside cargo should not see.
    pub(crate) fn without_cargo_env(mut self) -> Self {
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name == "LD_LIBRARY_PATH"
                || name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
            {
                self.command.env_remove(&key);
            }
        }
        self
    }

    /// What hubs keep for their next start goes below the target directory, not into the user's own cache.
    pub(crate) fn with_own_cache(self) -> Self {
        self.env("XDG_CACHE_HOME", files::target().join("cache"))
    }

    /// Runs in a folder below the root.
    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        let dir = dir.as_ref();
        self.shown = format!("(in {}) {}", dir.display(), self.shown);
        self.command.current_dir(files::root().join(dir));
        self
    }

    /// Kills the program, and fails, when it runs longer. Meant to end a hang, far above any real run.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Reads its standard input from a file.
    pub(crate) fn input(mut self, file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        self.shown = format!("{} < {}", self.shown, file.display());
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.command.stdin(opened);
        Ok(self)
    }

    /// Writes its standard output to a file.
    pub(crate) fn output_to(mut self, file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        self.shown = format!("{} > {}", self.shown, file.display());
        let made = std::fs::File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        self.command.stdout(made);
        Ok(self)
    }

    /// Runs it with its output passed through; anything but exit status 0 is an error.
    pub(crate) fn run(self) -> Result<()> {
        // At a terminal the program stays in our process group, so that Ctrl-C reaches it.
        let own_group = self.limit.is_some() && !std::io::stdout().is_terminal();
        self.supervise(own_group)
    }

    fn supervise(mut self, own_group: bool) -> Result<()> {
        say(&format!("  $ {}", self.shown));
        if own_group {
            self.command.process_group(0);
        }
        let mut child = self.command.spawn().with_context(|| format!("cannot start `{}`", self.shown))?;
        let status = match self.limit {
            None => child.wait()?,
            Some(limit) => wait_until(&mut child, limit, own_group)
                .with_context(|| format!("while running `{}`", self.shown))?,
        };
        self.judge(status)
    }

    /// Runs it and returns what it wrote to stdout; its stderr is passed through.
    pub(crate) fn output(mut self) -> Result<String> {
        self.command.stderr(Stdio::inherit());
        let output = self.command.output().with_context(|| format!("cannot start `{}`", self.shown))?;
        self.judge(output.status)?;
        String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote invalid UTF-8", self.shown))
    }

    /// Whether it starts and exits with status 0; output is dropped.
    pub(crate) fn works(mut self) -> bool {
        let status = self.command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if !status.success() {
            bail!("`{}` ended with {status}", self.shown);
        }
        Ok(())
    }
}

/// The full path of a command on `PATH`.
pub(crate) fn find_command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Prints a line at once, also into a pipe, so that it stays in order with what programs print.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe (`cargo xtask help | head`) is the reader's choice, not an error of ours.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn wait_until(child: &mut Child, limit: Duration, own_group: bool) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            if own_group {
                // The shell's own `kill`: a small machine has no program of that name.
                Program::new("sh").args(["-c", &format!("kill -s KILL -- -{}", child.id())]).works();
            }
            child.kill()?;
            child.wait()?;
            bail!("still running after {}; killed", seconds(limit));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_an_error_that_names_it() {
        let error = Program::new("sh").args(["-c", "exit 3"]).run().unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("exit 3") && text.contains("exit status: 3"), "{text}");
        assert!(Program::new("no-such-program-here").run().is_err());
    }

    #[test]
    fn a_hanging_program_is_killed_with_its_children() {
        let file = std::env::temp_dir().join(format!("xtask-hang-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let hang = Program::new("sh").args(["-c", &script]).limit(Duration::from_secs(2));
        let text = format!("{:#}", hang.supervise(true).unwrap_err());
        assert!(text.contains("killed"), "{text}");

        let child = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // A dead process has no command line, whether or not somebody has collected it.
        let command_line = format!("/proc/{}/cmdline", child.trim());
        let alive = || std::fs::read(&command_line).is_ok_and(|text| !text.is_empty());
        let start = Instant::now();
        while alive() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!alive(), "the child outlived the program");
    }

    #[test]
    fn a_failed_step_is_named_and_not_counted() {
        let mut steps = Steps::default();
        steps.step("good", || Ok(())).unwrap();
        let error = steps.step("bad", || bail!("the reason")).unwrap_err();
        assert!(format!("{error:#}").starts_with("step \"bad\" failed"));
        assert_eq!(steps.done.len(), 1);
    }

    #[test]
    fn output_is_captured() {
        assert_eq!(Program::new("printf").args(["a\nb"]).output().unwrap(), "a\nb");
        assert!(find_command("sh").is_some());
        assert!(find_command("no-such-program-here").is_none());
    }
}
