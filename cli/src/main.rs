//! The `fanfare` binary: a ready-made hub, and the tools to try one from a shell.
//!
//! Every subcommand is one file with its arguments and its `run`. Results go to standard output, everything else to
//! standard error; [`exit`] lists the exit codes.
#![forbid(unsafe_code)]

mod exit;
mod logs;
mod output;

mod http;
mod settings;

mod check;
mod compile;
mod config;
mod data;
mod new;
mod publish;
mod serve;
mod sub;

mod bench;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Failure;

const EXAMPLES: &str = "\
Try it:
  fanfare                              the hub on http://127.0.0.1:4780; open that in a browser
  fanfare sub chat                     in a second terminal: print what is published to 'chat'
  fanfare pub chat 'hello'             in a third one: publish

Without fanfare on the other side:
  curl -N http://127.0.0.1:4780/events/chat
  curl -d hello http://127.0.0.1:4780/events/chat

Exit codes:
  0    done; for the hub: stopped by SIGINT or SIGTERM
  1    it failed while running: port taken, hub not reachable, event refused
  2    wrong usage or configuration; nothing was started
  130  interrupted by SIGINT (the hub: by a second one, before it had stopped)
  143  the same by SIGTERM";

/// Real-time events for web pages: a hub for Server-Sent Events with history and resume.
///
/// Without a subcommand this is `fanfare serve`.
#[derive(Parser)]
#[command(name = "fanfare", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the hub (the default).
    Serve(serve::Serve),
    /// Print the events of topics as they come.
    Sub(sub::Sub),
    /// Publish an event, or one for each line of standard input.
    Pub(publish::Publish),
    /// Measure a hub: many readers, many events, none may be lost.
    Bench(bench::Bench),
    /// Check an event handler before using it.
    Check(check::Check),
    /// Compile an event handler, for hubs that are built without the compiler.
    Compile(compile::Compile),
    /// Look at history on disk: check, stats, export, import.
    Data(data::Data),
    /// Start an event handler: a folder with all it needs.
    New(new::New),
    /// Print the configuration in effect, and where each value comes from.
    Config(config::Config),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let done = match arguments.command {
        None => serve::run(&arguments.serve),
        Some(Command::Serve(serve)) => serve::run(&serve),
        Some(Command::Sub(sub)) => sub::run(&sub),
        Some(Command::Pub(publish)) => publish::run(&publish),
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Compile(compile)) => compile::run(&compile),
        Some(Command::Data(data)) => data::run(&data),
        Some(Command::New(new)) => new::run(&new),
        Some(Command::Config(config)) => config::run(&config),
    };
    done.map_or_else(|failure: Failure| failure.report(), |()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
