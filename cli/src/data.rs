//! `fanfare data`: looks at history on disk, and carries it from one folder to another, while no hub uses it.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use fanfare_hub::store::{Config, Durability, Report, Store};

use crate::exit::{Failure, note};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  fanfare serve --data history                 a hub that keeps its history in the folder 'history'
  fanfare data stats history                   what is in it
  fanfare data check history                   is every byte as it was written?
  fanfare data export history > all.ndjson     one line for each event
  fanfare data import copy < all.ndjson        into a new folder
  fanfare data forget history tally            delete what the handler 'tally' has kept in it
  fanfare data delete history orders           the events of the topic 'orders', and their space

A hub that runs has its folder for itself: stop it before.";

/// Look at history on disk
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Data {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Read every byte and say what is damaged; exit code 1 if anything is
    Check(Folder),
    /// Print what is in it
    Stats(Folder),
    /// Write everything as NDJSON to standard output
    Export(Folder),
    /// Delete a topic's events and give their space back; one that was closed is open again
    Delete(Topic),
    /// Read an export from standard input into an empty folder. Ids keep their numbers and get another epoch
    Import(Folder),
    /// Delete what a handler has kept, by its name
    Forget(Forget),
}

#[derive(Args, Debug)]
struct Forget {
    #[command(flatten)]
    folder: Folder,
    /// The handler, as `stats` names it
    #[arg(value_name = "HANDLER")]
    handler: String,
}

#[derive(Args, Debug)]
struct Folder {
    /// The folder, as in the option `data`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Args, Debug)]
struct Topic {
    #[command(flatten)]
    folder: Folder,
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,
}

/// Does it.
pub(crate) fn run(data: &Data) -> Result<(), Failure> {
    match &data.what {
        What::Check(folder) => check(&folder.open()?),
        What::Stats(folder) => stats(&folder.open()?),
        What::Delete(topic) => delete(&topic.folder.open()?, &topic.topic),
        What::Export(folder) => export(&folder.open()?),
        What::Import(folder) => import(&open(folder)?),
        What::Forget(Forget { folder, handler }) => forget(&folder.open()?, handler),
    }
}

impl Folder {
    /// Opens one that exists: a misspelt name must not make a new one.
    fn open(&self) -> Result<Store, Failure> {
        if !self.dir.join("META").is_file() {
            let dir = self.dir.display();
            return Err(Failure::usage(format_args!("{dir} holds no history: it has no file META")));
        }
        open(self)
    }
}

fn open(folder: &Folder) -> Result<Store, Failure> {
    let config = Config { durability: Durability::Always, ..Config::default() };
    Store::open(&folder.dir, config).map_err(Failure::runtime)
}

fn close(store: &Store) -> Result<(), Failure> {
    store.close().map_err(Failure::runtime)
}

fn check(store: &Store) -> Result<(), Failure> {
    let report = store.check().map_err(Failure::runtime)?;
    let mut output = Output::new();
    output.text(&format!("{} events\n", report.events))?;
    for damage in &report.damages {
        let positions = match damage.positions {
            Some((first, last)) => format!("positions {first} to {last} may be missing"),
            None => "no event is missing".to_owned(),
        };
        let (file, offset, bytes) = (damage.file.display(), damage.offset, damage.bytes);
        output.line(&format!("{file}: byte {offset}: {bytes} bytes are no records; {positions}"))?;
    }
    if report.bad_indexes > 0 {
        output.text(&format!("{} indexes do not fit and are made again\n", report.bad_indexes))?;
    }
    output.flush()?;
    close(store)?;
    let lost = report.damages.iter().filter(|damage| damage.positions.is_some()).count();
    if lost > 0 {
        return Err(Failure::runtime(format_args!("events are damaged or missing in {lost} places")));
    }
    Ok(())
}

fn stats(store: &Store) -> Result<(), Failure> {
    let stats = store.stats();
    let mut output = Output::new();
    output.text(&format!(
        "epoch   {}\nevents  {}\nbytes   {}\nfiles   {}\noldest  {}\nnewest  {}\nnext    {}\n",
        store.epoch().as_str(),
        stats.events,
        stats.bytes,
        stats.files,
        stats.oldest,
        stats.newest,
        stats.next,
    ))?;
    for (handler, keys, bytes) in store.tables() {
        output.line(&format!("state   {handler}: {keys} keys, {bytes} bytes"))?;
    }
    output.flush()?;
    close(store)
}

fn export(store: &Store) -> Result<(), Failure> {
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut watched = Watched { out: &mut out, failed: None };
    let exported = store.export(&mut watched);
    if let Some(error) = watched.failed.take() {
        return Err(Failure::output(&error));
    }
    let report = exported.map_err(Failure::runtime)?;
    out.flush().map_err(|error| Failure::output(&error))?;
    close(store)?;
    tell(&report, "exported");
    Ok(())
}

fn delete(store: &Store, topic: &str) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    store.delete_topic(topic, now).map_err(Failure::runtime)?;
    let given_back = store.compact(now).map_err(Failure::runtime)?;
    close(store)?;
    note(&format!("the topic's events are deleted; {given_back} bytes are given back"));
    Ok(())
}

fn import(store: &Store) -> Result<(), Failure> {
    let report = store.import(&mut io::stdin().lock()).map_err(Failure::runtime)?;
    close(store)?;
    tell(&report, "imported");
    Ok(())
}

fn forget(store: &Store, handler: &str) -> Result<(), Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let keys = store.delete_table(handler, now_ms).map_err(Failure::runtime)?;
    close(store)?;
    if keys == 0 {
        return Err(Failure::runtime(format_args!("there is no state of a handler {handler}")));
    }
    note(&format!("{keys} keys of {handler} deleted"));
    Ok(())
}

fn tell(report: &Report, done: &str) {
    note(&format!("{} events {done}", report.events));
    for gap in &report.gaps {
        note(&format!("positions {} to {} cannot be read: {:?}", gap.first, gap.last, gap.cause));
    }
}

/// Keeps the error of standard output, so that a closed pipe is told from a failing disk.
struct Watched<'a, W> {
    out: &'a mut W,
    failed: Option<io::Error>,
}

impl<W: io::Write> io::Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).inspect_err(|error| {
            self.failed.get_or_insert_with(|| error.kind().into());
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
