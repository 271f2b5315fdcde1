//! `fanfare check`: says whether a file is a usable event handler, and what it makes of events.

use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;
use crate::settings;

const EXAMPLES: &str = "\
Examples:
  fanfare check tally.wasm                     does it load, what does it export and import?
  fanfare check tally.wasm --events votes.txt  what does it make of each line of this file?
  echo yes | fanfare check tally.wasm --events - --topic votes
  fanfare check 'votes=tally.js;time=2ms;config.choices=yes no'
  fanfare check tally.js --config fanfare.toml with what this file sets for it";

/// Check an event handler before using it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Check {
    /// The handler; as for `--handler`, settings may follow it (`;NAME=VALUE`), and its topic come before it (`TOPIC=`)
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Read this TOML file, and take what it sets for the handler
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Send each line of this file (`-`: of standard input) through it as the data of an event
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// The topic of these events; without it that of the handler, if it is one, or `check`
    #[arg(long, value_name = "TOPIC", requires = "events")]
    topic: Option<String>,

    /// The type of these events
    #[arg(long, value_name = "TYPE", requires = "events")]
    event: Option<String>,

    /// Set an option; those of handlers begin with `handler.`. May be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Says what it is, and what it answers.
pub(crate) fn run(check: &Check) -> Result<(), Failure> {
    let mut loader = fanfare_hub::Loader::new();
    if let Some(path) = &check.config {
        loader.file(path).map_err(Failure::usage)?;
    }
    loader.environment(std::env::vars_os()).map_err(Failure::usage)?;
    loader.begin_flags();
    settings::set(&mut loader, &check.set)?;
    let config = loader.finish().map_err(Failure::usage)?;
    crate::logs::start(config.own.log);
    bench::run(check, &config.handlers)
}

#[cfg(not(feature = "wasm"))]
mod bench {
    use super::{Check, Failure};

    /// Says that this build cannot tell.
    pub(super) fn run<C>(check: &Check, _: &C) -> Result<(), Failure> {
        let _ = (&check.events, &check.topic, &check.event);
        Err(Failure::usage(format_args!(
            "cannot check {}: handlers come with the feature wasm-jit, or wasm, which this build does not have",
            check.file.display()
        )))
    }
}

#[cfg(feature = "wasm")]
mod bench {
    use std::fs::File;
    use std::io::{self, BufRead, BufReader, Read as _};
    use std::path::Path;
    use std::time::Instant;

    use fanfare_hub::engine::{Draft, Verdict};
    use fanfare_hub::wasi::{About, Config, Entry, Runtime, Trial, check_name, name_of, read_file};

    use super::{Check, Failure};
    use crate::output::Output;

    /// Where the events go if nothing else is said.
    const TOPIC: &str = "check";
    /// The longest line that is taken as an event.
    const MAX_LINE: u64 = 64 << 20;

    pub(super) fn run(check: &Check, config: &Config) -> Result<(), Failure> {
        let entry = entry(check, config)?;
        let own = config.own(&entry.settings).map_err(Failure::usage)?;
        let (path, file, config) = (&entry.file, entry.file.display(), &own.config);
        let bytes = read_file(path, config.file_bytes)
            .map_err(|error| Failure::usage(format_args!("cannot read {file}: {error}")))?;
        let runtime = Runtime::configured(config).map_err(Failure::runtime)?;
        let start = Instant::now();
        let trial = check_name(path, &bytes)
            .and_then(|()| Trial::new(&runtime, &name_of(path), &bytes, config))
            .map_err(|error| Failure::runtime(format_args!("{file} is no usable handler: {error}")))?;
        let loaded = start.elapsed();
        trial
            .start()
            .map_err(|error| Failure::runtime(format_args!("{file} is no usable handler: {error}")))?;
        let mut output = Output::new();
        let about = trial.about();
        let (described, origin) = (described(about), about.origin.as_str());
        output.text(&format!("{described}loaded in {} ms, {origin}\n", loaded.as_millis()))?;
        let faults = match &check.events {
            None => 0,
            Some(events) => {
                let one_topic = Some(&entry.topics).filter(|topics| !topics.ends_with('*'));
                let topic = check.topic.as_ref().or(one_topic).map_or(TOPIC, String::as_str);
                call(check, topic, &own.events, &trial, lines(events)?, &mut output)?
            }
        };
        output.flush()?;
        match faults {
            0 => Ok(()),
            faults => Err(Failure::runtime(format_args!("{file} failed for {faults} of these events"))),
        }
    }

    /// The handler with what is set for it: on the command line, or for the same file in the configuration.
    fn entry(check: &Check, config: &Config) -> Result<Entry, Failure> {
        let plain = || Entry { topics: TOPIC.to_owned(), file: check.file.clone(), settings: String::new() };
        let text = check.file.to_str().filter(|text| text.contains([';', '=']) && !check.file.exists());
        if let Some(text) = text {
            let what = text.split(';').next().unwrap_or_default();
            let text = if what.contains('=') { text.to_owned() } else { format!("{TOPIC}={text}") };
            let entries = Config { handlers: vec![text], ..Config::default() }.entries();
            return Ok(entries.map_err(Failure::usage)?.pop().unwrap_or_else(plain));
        }
        let mut named = config.entries().map_err(Failure::usage)?;
        named.retain(|entry| entry.file == check.file);
        if named.len() > 1 {
            let topics: Vec<_> = named.iter().map(|entry| entry.topics.clone()).collect();
            named.retain(|entry| Some(&entry.topics) == check.topic.as_ref());
            if named.len() != 1 {
                return Err(Failure::usage(format_args!(
                    "{} handles several topics ({}): say which with --topic",
                    check.file.display(),
                    topics.join(", ")
                )));
            }
        }
        Ok(named.pop().unwrap_or_else(plain))
    }

    fn described(about: &About) -> String {
        let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let kind = match (about.script, about.core_module) {
            (true, _) => "JavaScript",
            (_, true) => "core module",
            _ => "component",
        };
        let mut text = format!(
            "a handler: {kind} of {} bytes\nexports {}\nimports {}\n",
            about.file_bytes,
            list(&about.exports),
            list(&about.imports)
        );
        if !about.unused_exports.is_empty() {
            text.push_str(&format!("exports without use here: {}\n", list(&about.unused_exports)));
        }
        text
    }

    fn lines(events: &Path) -> Result<Box<dyn BufRead>, Failure> {
        if events.as_os_str() == "-" {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        let file = File::open(events)
            .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", events.display())))?;
        Ok(Box::new(BufReader::new(file)))
    }

    /// Sends each line through it; how many it failed for.
    fn call(
        check: &Check,
        topic: &str,
        types: &[String],
        trial: &Trial,
        mut lines: Box<dyn BufRead>,
        output: &mut Output,
    ) -> Result<u64, Failure> {
        let kind = check.event.as_deref();
        let meets = types.is_empty() || types.iter().any(|of| of == kind.unwrap_or("message"));
        let mut faults = 0;
        loop {
            let mut line = String::new();
            let read = lines.by_ref().take(MAX_LINE).read_line(&mut line);
            if read.map_err(|error| Failure::runtime(format_args!("cannot read the events: {error}")))? == 0 {
                return Ok(faults);
            }
            let line = line.strip_suffix('\n').unwrap_or(&line);
            if !meets {
                output.line("passed by: it is for events of other types")?;
                continue;
            }
            let mut draft = Draft::new(topic, line.strip_suffix('\r').unwrap_or(line));
            draft.event = kind.map(Into::into);
            let start = Instant::now();
            let answer = trial.call(&draft);
            let micros = start.elapsed().as_micros();
            let shown = match answer {
                Ok(Verdict::Pass) => "pass".to_owned(),
                Ok(Verdict::Drop) => "drop".to_owned(),
                Ok(Verdict::Replace(made)) => format!("replace {}", made.data),
                Ok(Verdict::Refuse(reason)) => format!("reject {reason}"),
                Ok(Verdict::Emit(made)) => made.iter().fold(format!("emit {}", made.len()), |text, event| {
                    let kind = event.event.as_deref().map_or(String::new(), |kind| format!(" {kind}"));
                    format!("{text}\n  {}{kind}: {}", event.topic, event.data)
                }),
                Err(fault) => {
                    faults += 1;
                    format!("FAULT {}: {fault}", fault.kind.as_str())
                }
            };
            output.line(&format!("{micros} us {shown}"))?;
        }
    }
}
