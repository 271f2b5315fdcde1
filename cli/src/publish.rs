//! `fanfare pub`: publishes one event, or one for each line of standard input.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value};

use crate::exit::Failure;
use crate::http::target::Query;
use crate::http::{Body, Connection, Head, HubArgs, USER_AGENT};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  fanfare pub chat 'hello'                       one event
  fanfare pub chat --event vote '{\"for\": 1}'     with a type, for addEventListener('vote', ...)
  date | fanfare pub clock                       data from standard input, without its last line end
  tail -f app.log | fanfare pub --lines log      each line is an event, as soon as it is there
  fanfare pub --ndjson chat < events.ndjson      lines of {\"event\",\"id\",\"data\",\"retry\",\"except\",\"key\"}

The id of each published event is printed. The exit code is 0 when the hub has taken all of them;
otherwise 1, with the hub's reason on standard error.";

/// A batch is sent when it holds so many events or bytes, or when standard input has no more at the moment.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 1 << 20;

/// An idle connection older than this is not used again: the hub may be about to close it.
const REUSE_WITHIN: Duration = Duration::from_secs(5);

const RAW: &str = "text/plain; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";

/// Publish an event, or one for each line of standard input
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The topic
    #[arg(value_name = "TOPIC")]
    topic: String,

    /// The data; absent or '-' for standard input
    #[arg(value_name = "DATA | -", allow_hyphen_values = true, conflicts_with_all = ["lines", "ndjson"])]
    data: Option<String>,

    #[command(flatten)]
    hub: HubArgs,

    /// The event's type
    #[arg(long, value_name = "TYPE", conflicts_with = "ndjson")]
    event: Option<String>,

    /// The event's id; the hub gives one otherwise
    #[arg(long, value_name = "ID", conflicts_with_all = ["lines", "ndjson"])]
    id: Option<String>,

    /// Tell readers to wait so many milliseconds before they connect again
    #[arg(long, value_name = "MS", conflicts_with = "ndjson")]
    retry: Option<u64>,

    /// Leave out the reader that calls itself NAME
    #[arg(long, value_name = "NAME", conflicts_with = "ndjson")]
    except: Option<String>,

    /// What the latest event is kept of, for readers that only want that (lag=conflate)
    #[arg(long, value_name = "KEY", conflicts_with = "ndjson")]
    key: Option<String>,

    /// Each line of standard input is an event
    #[arg(long, conflicts_with = "ndjson")]
    lines: bool,

    /// Each line of standard input is an event as JSON
    #[arg(long)]
    ndjson: bool,

    /// Do not print ids
    #[arg(short, long)]
    quiet: bool,
}

/// Publishes it all.
pub(crate) fn run(publish: &Publish) -> Result<(), Failure> {
    let mut output = Output::new();
    let mut poster = Poster::new(&publish.hub, &publish.topic);
    if publish.lines || publish.ndjson {
        return publish.batches(&mut poster, &mut output);
    }
    let data = match publish.data.as_deref() {
        Some(data) if data != "-" => data.as_bytes().to_vec(),
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage("nothing to publish: give DATA, or - to type it on standard input"));
        }
        _ => standard_input()?,
    };
    let ids = poster.post(&publish.query(), RAW, &data)?;
    publish.print(&mut output, &ids)
}

impl Publish {
    /// Reads standard input line by line and sends what is there, until its end.
    fn batches(&self, poster: &mut Poster<'_>, output: &mut Output) -> Result<(), Failure> {
        let mut input = BufReader::with_capacity(256 * 1024, io::stdin().lock());
        let mut sent = 0;
        loop {
            let (mut body, mut lines) = (Vec::new(), 0);
            let mut line = Vec::new();
            while lines < BATCH_LINES && body.len() < BATCH_BYTES {
                line.clear();
                let read = input.read_until(b'\n', &mut line);
                if read
                    .map_err(|error| Failure::runtime(format_args!("cannot read standard input: {error}")))?
                    == 0
                {
                    break;
                }
                lines += 1;
                self.append(&mut body, &line).map_err(|reason| {
                    Failure::runtime(format_args!(
                        "line {}: {reason}; {}",
                        sent + lines,
                        published_before(sent)
                    ))
                })?;
                // What has arrived goes out now; what has not is not waited for.
                if !input.buffer().contains(&b'\n') {
                    break;
                }
            }
            if lines == 0 {
                return Ok(());
            }
            let ids = poster.post(&Query::default(), NDJSON, &body).map_err(|failure| match failure {
                Failure::Runtime(reason) => {
                    let last = sent + lines;
                    Failure::Runtime(format!(
                        "lines {} to {last}: {reason}; {}",
                        sent + 1,
                        published_before(sent)
                    ))
                }
                failure => failure,
            })?;
            self.print(output, &ids)?;
            sent += lines;
        }
    }

    /// Appends one line of input to a batch.
    fn append(&self, body: &mut Vec<u8>, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8")?;
        if self.ndjson {
            body.extend_from_slice(text.as_bytes());
        } else {
            let mut event = Map::new();
            event.insert("data".to_owned(), text.into());
            let texts = [("event", &self.event), ("except", &self.except), ("key", &self.key)];
            for (name, value) in texts {
                event.extend(value.as_ref().map(|value| (name.to_owned(), Value::from(value.as_str()))));
            }
            event.extend(self.retry.map(|retry| ("retry".to_owned(), retry.into())));
            body.extend_from_slice(Value::Object(event).to_string().as_bytes());
        }
        body.push(b'\n');
        Ok(())
    }

    fn query(&self) -> Query {
        let mut query = Query::default();
        query.add_some("event", self.event.as_deref());
        query.add_some("id", self.id.as_deref());
        query.add_some("retry", self.retry.map(|retry| retry.to_string()).as_deref());
        query.add_some("except", self.except.as_deref());
        query.add_some("key", self.key.as_deref());
        query
    }

    fn print(&self, output: &mut Output, ids: &[String]) -> Result<(), Failure> {
        if !self.quiet {
            ids.iter().try_for_each(|id| output.line(id))?;
            output.flush()?;
        }
        Ok(())
    }
}

/// Standard input without its last line end, which shells add.
fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut data);
    read.map_err(|error| Failure::runtime(format_args!("cannot read standard input: {error}")))?;
    if data.ends_with(b"\n") {
        data.pop();
        if data.ends_with(b"\r") {
            data.pop();
        }
    }
    Ok(data)
}

fn published_before(lines: usize) -> String {
    match lines {
        0 => "nothing of the input has been published before".to_owned(),
        lines => format!("lines 1 to {lines} are published"),
    }
}

/// Posts to one topic, over one connection as long as it holds.
pub(crate) struct Poster<'a> {
    hub: &'a HubArgs,
    topic: &'a str,
    /// The connection, and when it was last used.
    open: Option<(BufReader<Connection>, Instant)>,
}

impl<'a> Poster<'a> {
    /// Connects with the first post.
    pub(crate) fn new(hub: &'a HubArgs, topic: &'a str) -> Self {
        Self { hub, topic, open: None }
    }

    /// Posts a body and gives the ids of the events it became.
    ///
    /// A request is sent once: after a lost connection nobody knows whether the hub has taken it, and sending it again
    /// could publish it twice.
    fn post(&mut self, query: &Query, content_type: &str, body: &[u8]) -> Result<Vec<String>, Failure> {
        let url = &self.hub.url;
        let mut reader = match self.open.take() {
            Some((reader, used)) if used.elapsed() < REUSE_WITHIN => reader,
            _ => {
                let connection = Connection::open(self.hub)
                    .map_err(|error| Failure::runtime(format_args!("cannot reach {url}: {error}")))?;
                BufReader::new(connection)
            }
        };
        let lost = |error: io::Error| {
            Failure::runtime(format_args!("no answer from {url}, it may be published or not: {error}"))
        };
        let path = url.topic(self.topic, query);
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {USER_AGENT}\r\nAccept: application/json\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            url.authority,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        // A hub that refuses early may close before it has read everything; its answer is worth more than that error.
        let written = reader.get_mut().write_all(&request).and_then(|()| reader.get_mut().flush());
        let head = match (Head::read(&mut reader), written) {
            (Ok(head), _) => head,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(lost(error)),
        };
        if head.status != 200 {
            return Err(Failure::runtime(head.refusal(&mut reader)));
        }
        let mut text = String::new();
        Body::new(&head, &mut reader).and_then(|mut body| body.read_to_string(&mut text)).map_err(lost)?;
        if head.keeps_alive() {
            self.open = Some((reader, Instant::now()));
        }
        ids(&text).ok_or_else(|| Failure::runtime(format_args!("{url} does not answer like a hub")))
    }

    /// Posts lines of NDJSON.
    pub(crate) fn post_lines(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.post(&Query::default(), NDJSON, body).map(|_| ())
    }
}

/// The ids in the hub's answer: `{"id":...}` or `{"ids":[...]}`. An event that a handler dropped has none.
fn ids(text: &str) -> Option<Vec<String>> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let text = |id: &Value| id.as_str().map(str::to_owned);
    match (answer.get("ids"), answer.get("id")) {
        (Some(ids), _) => Some(ids.as_array()?.iter().filter_map(text).collect()),
        (None, Some(id)) => Some(text(id).into_iter().collect()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_ids() {
        assert_eq!(ids(r#"{"id":"a-1"}"#), Some(vec!["a-1".to_owned()]));
        assert_eq!(ids(r#"{"ids":["a-1",null,"a-2"]}"#), Some(vec!["a-1".to_owned(), "a-2".to_owned()]));
        assert_eq!(ids(r#"{"id":null}"#), Some(vec![]));
        for text in ["", "[]", "{}", "<html>"] {
            assert_eq!(ids(text), None, "{text}");
        }
    }
}
