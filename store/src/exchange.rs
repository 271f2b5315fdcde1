//! Export and import as NDJSON, and the check of every byte.
//!
//! The first line names the store; then handlers' state and topics, then events in order, one line each.

use std::borrow::Cow;
use std::io::{BufRead, Write};

use fanfare_engine::Draft;
use serde::{Deserialize, Serialize};

use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::index::IndexFile;
use crate::pages::{Gap, PageLimits, Topics};
use crate::record::Change;
use crate::segment::{Reader, index_name, scan};
use crate::stats::Damaged;
use crate::store::Store;

/// The version of the export.
const VERSION: u32 = 1;
/// The longest line that is read: an event of 64 MiB of which JSON escapes every byte.
const MAX_LINE: u64 = 6 * (65 << 20);
/// A page while exporting.
const PAGE: PageLimits = PageLimits { events: 1_000, bytes: 4 << 20 };

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    fanfare_export: u32,
    epoch: String,
    next: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Line<'a> {
    State {
        table: String,
        key: String,
        value: String,
        until_ms: u64,
    },
    Topic {
        name: String,
        closed: bool,
    },
    Event {
        position: u64,
        at_ms: u64,
        topic: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        event: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<Cow<'a, str>>,
        data: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        except: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<Cow<'a, str>>,
    },
}

/// What an export, import or check went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Positions that cannot be read.
    pub gaps: Vec<Gap>,
    /// Bytes that are no records (check only).
    pub damages: Vec<Damaged>,
    /// Indexes that do not fit their file; they are made again when they are needed (check only).
    pub bad_indexes: u64,
}

impl Store {
    /// Writes the whole store as NDJSON.
    ///
    /// # Errors
    /// What the file system or `out` says.
    pub fn export(&self, out: &mut dyn Write) -> Result<Report> {
        self.flush()?;
        let fail = |error: std::io::Error| Error::io("write the export", self.dir(), None, &error);
        let mut line = |value: &dyn erased::Line| value.write(out).map_err(fail);
        let epoch = self.epoch().as_str().to_owned();
        line(&First { fanfare_export: VERSION, epoch, next: self.next_position() })?;
        let state = self.files().state.read().clone();
        for change in state.changes() {
            match change {
                Change::Put { table, key, value, until_ms } => {
                    line(&Line::State { table, key, value, until_ms })?;
                }
                Change::Topic { topic, closed: Some(true), .. } => {
                    line(&Line::Topic { name: topic, closed: true })?
                }
                Change::Topic { .. } | Change::Delete { .. } => {}
            }
        }
        let (mut report, mut after) = (Report::default(), 0);
        loop {
            let page = self.page(Topics::All, after, PAGE)?;
            for event in &page.events {
                let Draft { topic, event: name, id, data, retry, except, key } = event.draft.clone();
                let (position, at_ms) = (event.position, event.at_ms);
                line(&Line::Event { position, at_ms, topic, event: name, id, data, retry, except, key })?;
            }
            report.events += page.events.len() as u64;
            report.gaps.extend(page.gaps);
            after = page.through;
            if !page.more {
                return Ok(report);
            }
        }
    }

    /// Reads an export into an empty store. Positions are kept; the epoch is this store's own, so ids of the exported
    /// store are answered with a gap.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) with the number of the line; what came before it is stored.
    pub fn import(&self, input: &mut dyn BufRead) -> Result<Report> {
        if self.stats().events != 0 {
            return Err(Error::invalid("an import needs an empty store"));
        }
        let (mut report, mut number, mut text) = (Report::default(), 0_u64, Vec::new());
        let mut closed = Vec::new();
        let mut next = 0;
        loop {
            text.clear();
            number += 1;
            let mut limited = std::io::Read::take(&mut *input, MAX_LINE);
            let len = limited
                .read_until(b'\n', &mut text)
                .map_err(|error| Error::io("read the import", self.dir(), None, &error))?;
            if len == 0 {
                break;
            }
            // The parser sees one line at a time and calls each of them line 1.
            let bad = |what: &dyn std::fmt::Display| {
                Error::invalid(format!(
                    "line {number}: {}",
                    what.to_string().replace(" at line 1 column ", " at column ")
                ))
            };
            if number == 1 {
                let first: First = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
                if first.fanfare_export != VERSION {
                    return Err(bad(&format!(
                        "an export of version {}, not {VERSION}",
                        first.fanfare_export
                    )));
                }
                next = first.next;
                continue;
            }
            match serde_json::from_slice(&text).map_err(|error| bad(&error))? {
                Line::State { table, key, value, until_ms } => {
                    let change = Change::Put { table, key, value, until_ms };
                    let ticket = self.submit(&[], &[change], 0, Durability::Interval);
                    self.wait(&ticket.map_err(|error| bad(&error))?)?;
                }
                Line::Topic { name, closed: is_closed } => closed.extend(is_closed.then_some(name)),
                Line::Event { position, at_ms, topic, event, id, data, retry, except, key } => {
                    self.skip_to(position).map_err(|error| bad(&error))?;
                    let draft = Draft { topic, event, id, data, retry, except, key };
                    let ticket = self.submit(&[draft], &[], at_ms, Durability::Interval);
                    self.wait(&ticket.map_err(|error| bad(&error))?)?;
                    report.events += 1;
                }
            }
        }
        for topic in closed {
            self.close_topic(&topic, 0)?;
        }
        if next > self.next_position() {
            self.skip_to(next)?;
        }
        self.flush()?;
        Ok(report)
    }

    /// Whether every event is there that opening expected.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) with the first place where events are damaged or missing.
    pub fn undamaged(&self) -> Result<()> {
        let damages = self.damages();
        let mut lost = damages.iter().filter_map(|damage| Some((damage, damage.positions?)));
        let Some((damage, (first, last))) = lost.next() else { return Ok(()) };
        let text = format!(
            "events are damaged or missing, here positions {first} to {last}, and in {} places more",
            lost.count()
        );
        Err(Error::corrupt(&damage.file, damage.offset, text))
    }

    /// Reads every byte of every file and says what is not as it was written. Nothing is changed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn check(&self) -> Result<Report> {
        self.flush()?;
        let files = self.files();
        let mut report = Report::default();
        let segments = files.segments.read().clone();
        for segment in &segments {
            let summary = segment.summary();
            let (file, path) = Reader::open(&*files.disk, &files.dir, summary.number)?;
            let last = summary.last.max(segment.head.previous_last);
            let known = Some((summary.end, last));
            let mut found = scan(&*file, &path, &segment.head, known, files.salt, |_| {})?.summary;
            report.events += found.events;
            // Damage that is known already is not found by a scan that ends before it.
            found.damages.extend(summary.damages.iter().filter(|d| d.from >= summary.end));
            report.damages.extend(Damaged::all(&files.dir, &found));
            let index = files.dir.join(index_name(summary.number));
            let sealed = matches!(segment.content, crate::pages::Content::Sealed(_));
            if sealed
                && !IndexFile::open(&*files.disk, &index, summary.key())?.is_some_and(|(i, _)| i.is_whole())
            {
                report.bad_indexes += 1;
            }
        }
        Ok(report)
    }
}

/// A line of either sort.
mod erased {
    use std::io;

    pub(super) trait Line {
        fn write(&self, out: &mut dyn io::Write) -> io::Result<()>;
    }

    impl<T: serde::Serialize> Line for T {
        fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
            serde_json::to_writer(&mut *out, self)?;
            out.write_all(b"\n")
        }
    }
}
