//! `fanfare sub`: prints the events of topics, and goes on where it was when the connection is lost.

use std::io::{BufReader, Read as _, Write as _};
use std::thread;
use std::time::Duration;

use clap::Args;
use fanfare_hub::client::{Item, ParsedEvent, Parser};

use crate::exit::{Failure, note};
use crate::http::target::Query;
use crate::http::{Body, Connection, Head, HubArgs, USER_AGENT};
use crate::output::{Output, harmless};

const EXAMPLES: &str = "\
Examples:
  fanfare sub chat                          the data of each event, from now on
  fanfare sub chat --replay all             first what the hub still has, then what comes
  fanfare sub chat votes --event message    two topics, only events without a type of their own
  fanfare sub chat --json | jq .data        everything about each event, one JSON object a line
  fanfare sub build -n 1                    wait for one event, then exit

A lost connection is resumed after the last event, with growing pauses. If events are missing
all the same, because the hub has dropped them, that is said on standard error (and with --json
also as an event of type fanfare.gap). The exit code is 0 when the topic is closed, when COUNT is
reached, or when the reader of the output goes away; 1 when the hub cannot be reached at first or
refuses.";

/// The wait before connecting again, when the hub does not name one.
const DEFAULT_RETRY: Duration = Duration::from_secs(2);

/// The shortest wait, whatever the hub says, and the longest that repeated failures lead to.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Print the events of topics as they come
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sub {
    /// The topics, all on one connection and in one order
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    #[command(flatten)]
    hub: HubArgs,

    /// Start after this event, as if the connection had been lost there
    #[arg(long, value_name = "ID", value_parser = event_id, conflicts_with = "replay")]
    since: Option<String>,

    /// Start with what the hub still has: all, or the last N events
    #[arg(long, value_name = "all|N", value_parser = replay)]
    replay: Option<String>,

    /// Who I am: events published with --except NAME do not come here
    #[arg(long, value_name = "NAME")]
    client: Option<String>,

    /// Only events of this type, 'message' for those without; may be repeated
    #[arg(long, value_name = "TYPE")]
    event: Vec<String>,

    /// One JSON object a line: {"data", "event", "id"}
    #[arg(long)]
    json: bool,

    /// Exit after so many events
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Prints until the stream is over for good.
pub(crate) fn run(sub: &Sub) -> Result<(), Failure> {
    let mut reader = Reader {
        sub,
        parser: Parser::new(),
        output: Output::new(),
        left: sub.count,
        failures: 0,
        met: false,
    };
    reader.parser.set_last_event_id(sub.since.clone().unwrap_or_default());
    loop {
        match reader.connect()? {
            Ended::Done => return reader.output.flush(),
            Ended::Lost { reason, wait } => {
                reader.parser.reset();
                let wait = wait.unwrap_or_else(|| backoff(reader.parser.retry(), reader.failures));
                let place = match reader.parser.last_event_id() {
                    "" => "no event has come yet, so what is published meanwhile is not repeated".to_owned(),
                    id => format!("resuming after {}", harmless(id)),
                };
                note(&format!("{reason}; {place}, in {:.1} s", wait.as_secs_f64()));
                thread::sleep(wait);
            }
        }
    }
}

/// How one connection ended.
enum Ended {
    /// There is nothing more to come, or nothing more wanted.
    Done,
    /// It may go on with another connection.
    Lost { reason: String, wait: Option<Duration> },
}

/// What outlives a connection.
struct Reader<'a> {
    sub: &'a Sub,
    parser: Parser,
    output: Output,
    /// Events still wanted, if that is limited.
    left: Option<u64>,
    /// Connections in a row that brought no stream.
    failures: u32,
    /// Whether the hub has ever answered with a stream.
    met: bool,
}

impl Reader<'_> {
    /// One connection from beginning to end.
    fn connect(&mut self) -> Result<Ended, Failure> {
        let opened = Connection::open(&self.sub.hub).and_then(|mut connection| {
            connection.write_all(self.request().as_bytes())?;
            let mut reader = BufReader::with_capacity(64 * 1024, connection);
            let head = Head::read(&mut reader)?;
            Ok((head, reader))
        });
        let (head, mut reader) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.failed(format!("cannot reach {}: {error}", self.sub.hub.url), None),
        };
        match head.status {
            200 => {}
            204 => {
                note("the topic is closed");
                return Ok(Ended::Done);
            }
            429 | 500..=599 => {
                let wait =
                    head.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
                return self.failed(
                    head.refusal(&mut reader),
                    wait.map(|wait| wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)),
                );
            }
            _ => return Err(Failure::runtime(head.refusal(&mut reader))),
        }
        // WHATWG HTML 9.2.3 asks for the type; anything else is a page that happens to be there.
        let kind = head.header("content-type").unwrap_or("");
        if kind.split(';').next().map(str::trim) != Some("text/event-stream") {
            return Err(Failure::runtime(format_args!(
                "the answer is not an event stream but {:?}",
                harmless(kind)
            )));
        }
        if std::mem::replace(&mut self.met, true) {
            note("connected again");
        }
        self.failures = 0;
        self.stream(&head, &mut reader)
    }

    /// Reads the stream that follows `head` to its end.
    fn stream(&mut self, head: &Head, reader: &mut BufReader<Connection>) -> Result<Ended, Failure> {
        let lost = |error: std::io::Error| {
            Ok(Ended::Lost { reason: format!("connection lost: {error}"), wait: None })
        };
        if let Err(error) = reader.get_ref().wait_for_ever() {
            return lost(error);
        }
        let mut body = match Body::new(head, reader) {
            Ok(body) => body,
            Err(error) => return lost(error),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => {
                    return Ok(Ended::Lost { reason: "the hub ended the stream".to_owned(), wait: None });
                }
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(Ended::Lost { reason: "connection lost".to_owned(), wait: None });
                }
                Err(error) => return lost(error),
            };
            if self.take(&buffer[..read])? {
                return Ok(Ended::Done);
            }
        }
    }

    /// Prints what `bytes` complete; true when enough has been printed.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let Self { parser, output, left, sub, .. } = self;
        for item in parser.feed(bytes) {
            match item {
                Item::Event(event) => {
                    let counts = print(output, &event, sub.json)?;
                    if counts && left.as_mut().is_some_and(count_down) {
                        return Ok(true);
                    }
                }
                Item::TooLarge(error) => {
                    note(&format!("an event of more than {} bytes was left out", error.limit))
                }
                _ => {}
            }
        }
        output.flush()?;
        Ok(false)
    }

    /// A connection that brought no stream: final at first, to be repeated later.
    fn failed(&mut self, reason: String, wait: Option<Duration>) -> Result<Ended, Failure> {
        if !self.met {
            return Err(Failure::Runtime(reason));
        }
        self.failures = self.failures.saturating_add(1);
        Ok(Ended::Lost { reason, wait })
    }

    fn request(&self) -> String {
        let sub = self.sub;
        let mut query = Query::default();
        let last_id = self.parser.last_event_id();
        // Another server's id may hold what a header cannot.
        let in_header = last_id.bytes().all(|byte| byte.is_ascii_graphic());
        if !last_id.is_empty() && !in_header {
            query.add("last_event_id", last_id);
        }
        if last_id.is_empty() {
            query.add_some("replay", sub.replay.as_deref());
        }
        query.add_some("client", sub.client.as_deref());
        sub.event.iter().for_each(|event| query.add("event", event));
        let path = match sub.topics.as_slice() {
            [topic] => sub.hub.url.topic(topic, &query),
            topics => {
                topics.iter().for_each(|topic| query.add("topic", topic));
                sub.hub.url.topics(&query)
            }
        };
        let resume = match in_header && !last_id.is_empty() {
            true => format!("Last-Event-ID: {last_id}\r\n"),
            false => String::new(),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: text/event-stream\r\nCache-Control: no-store\r\n{resume}\r\n",
            sub.hub.url.authority
        )
    }
}

/// Prints an event; false for the hub's own notices, which do not count.
fn print(output: &mut Output, event: &ParsedEvent, json: bool) -> Result<bool, Failure> {
    let gap = event.event == "fanfare.gap";
    let notice = gap || event.event == "fanfare.heartbeat";
    if gap {
        note(&gap_text(&event.data));
    }
    if json && (gap || !notice) {
        let line = serde_json::json!({ "id": event.last_event_id, "event": event.event, "data": event.data });
        output.line(&line.to_string())?;
    } else if !notice {
        output.line(&event.data)?;
    }
    Ok(!notice)
}

/// The gap notice as a sentence.
fn gap_text(data: &str) -> String {
    let notice: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let id = |name: &str| notice[name].as_str().map(|id| harmless(id).into_owned());
    let asked = id("requested").map(|id| format!(" after {id}")).unwrap_or_default();
    let rest = match (id("oldest"), id("newest")) {
        (Some(oldest), Some(newest)) => format!("what is left is {oldest} to {newest}"),
        _ => "nothing is left of them".to_owned(),
    };
    format!("gap: events{asked} are missing; {rest}")
}

/// One less; true when none is left.
fn count_down(left: &mut u64) -> bool {
    *left = left.saturating_sub(1);
    *left == 0
}

/// The hub's own wait, doubled with each failure in a row.
fn backoff(retry: Option<u64>, failures: u32) -> Duration {
    let base = retry.map_or(DEFAULT_RETRY, Duration::from_millis).max(SHORTEST_WAIT);
    base.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT.max(base))
}

fn event_id(text: &str) -> Result<String, &'static str> {
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-'));
    if fits { Ok(text.to_owned()) } else { Err("an id is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -") }
}

fn replay(text: &str) -> Result<String, &'static str> {
    let fits = text == "all" || text.parse::<u64>().is_ok();
    if fits { Ok(text.to_owned()) } else { Err("expected 'all' or a number of events") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let seconds = |retry, failures| backoff(retry, failures).as_millis();
        assert_eq!(seconds(None, 0), 2_000);
        assert_eq!(seconds(Some(0), 0), 100);
        assert_eq!(seconds(Some(1_000), 3), 8_000);
        assert_eq!(seconds(Some(1_000), u32::MAX), 30_000);
        assert_eq!(seconds(Some(60_000), 0), 60_000);
    }

    #[test]
    fn gaps_are_told_in_words() {
        assert_eq!(
            gap_text(r#"{"requested":"a-1","oldest":"b-1","newest":"b-9"}"#),
            "gap: events after a-1 are missing; what is left is b-1 to b-9"
        );
        assert_eq!(
            gap_text(r#"{"requested":"a-1","oldest":null}"#),
            "gap: events after a-1 are missing; nothing is left of them"
        );
        assert_eq!(gap_text("not JSON"), "gap: events are missing; nothing is left of them");
    }

    #[test]
    fn arguments_are_checked_here() {
        for id in ["", "a b", "a\r\nb", "ü", &"x".repeat(129)] {
            assert!(event_id(id).is_err(), "{id:?}");
        }
        assert!(event_id("k3f9-17").is_ok() && replay("all").is_ok() && replay("10").is_ok());
        for text in ["", "none", "-1", "1.5"] {
            assert!(replay(text).is_err(), "{text:?}");
        }
    }
}
