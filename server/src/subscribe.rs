//! Subscribing: a request becomes a cursor, and the cursor a stream in a lane or in a body.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fanfare_engine::{
    Code, HandlerError, InvalidField, LagPolicy, Start, SubscribeError, SubscribeOptions, Subscription,
    check_client, check_event_type, check_topic,
};
use http::header::{ACCEPT, CONNECTION, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};

use crate::app::App;
use crate::ask::{Asker, Granted};
use crate::authorize::Action;
use crate::body::{Body, StreamBody};
use crate::handoff::{Framing, GroupKey};
use crate::lane::LaneHandle;
use crate::named::Ticket;
use crate::pull::StreamParts;
use crate::query::Query;
use crate::reply::{self, NOSNIFF, Refusal, Reply};
use crate::shared::{Protocol, StreamPermit};
use crate::stream;

/// What becomes of a request for a stream.
pub(crate) enum Answer {
    /// hyper sends it.
    Reply(Reply),
    /// The socket leaves hyper.
    Leave(Box<Leaving>),
}

/// Everything of a [`LaneStream`](crate::handoff::LaneStream) but its socket.
pub(crate) struct Leaving {
    pub(crate) lane: LaneHandle,
    pub(crate) head: Vec<u8>,
    pub(crate) framing: Framing,
    pub(crate) subscription: Subscription,
    pub(crate) group: GroupKey,
    pub(crate) client: Option<Box<str>>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) open: StreamPermit,
    pub(crate) max_age: Option<Duration>,
}

const SINGLE: [&str; 6] = ["last_event_id", "lastEventId", "evs_last_event_id", "replay", "client", "lag"];

/// GET and HEAD on /events and /events/TOPIC. `may_leave`: the connection is plain HTTP/1.
pub(crate) async fn subscribe(
    app: &Arc<App>,
    path_topic: Option<&str>,
    asker: &Asker<'_>,
    may_leave: bool,
) -> Result<Answer, Refusal> {
    let request = asker.request;
    if !accepts_event_stream(&request.headers) {
        return Err(
            Refusal::new(Code::NotAcceptable, "only text/event-stream is served here").field("accept")
        );
    }
    let query = Query::parse(request.uri.query(), &SINGLE, &["topic", "event"])?;
    let mut options = options(app, path_topic, request, &query)?;
    if asker.asks() {
        check(app, &options)?;
    }
    let topics = options.topics.iter().map(|topic| (**topic).to_owned()).collect();
    let last_event_id = match &options.start {
        Start::After(id) => Some((**id).to_owned()),
        _ => None,
    };
    let claimed = options.client.as_deref().map(str::to_owned);
    let Granted { client, ticket } = asker.ask(Action::Subscribe, topics, last_event_id, claimed).await?;
    options.client = client.map(Cow::Owned);
    if request.method == Method::HEAD {
        check(app, &options)?;
        return Ok(Answer::Reply(stream_reply(Body::ended(Bytes::new()))));
    }
    if !may_leave {
        let protocol = if request.version == Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
        return match stay(app, &options, protocol, ticket) {
            Ok(parts) => {
                let body = StreamBody::new(parts, app.heartbeat(), app.max_age());
                Ok(Answer::Reply(stream_reply(Body::stream(body))))
            }
            Err(error) => ended_or(error),
        };
    }
    let framing = if request.version == Version::HTTP_10 { Framing::Plain } else { Framing::Chunked };
    let extra = app.origins.reading(&request.headers);
    let extra: Vec<(&str, &str)> =
        extra.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    match leave(app, &options, framing, ticket) {
        Ok(mut leaving) => {
            leaving.head = stream::http1_head(framing, SystemTime::now(), &extra, &leaving.head);
            Ok(Answer::Leave(Box::new(leaving)))
        }
        Err(error) => ended_or(error),
    }
}

/// Makes a stream with a client's name known to whoever revokes that name. Before its cursor is opened.
pub(crate) fn ticket(app: &App, options: &SubscribeOptions<'_>) -> Option<Ticket> {
    options.client.as_deref().map(|client| app.shared.named.enter(client))
}

/// Opens the cursor of a stream that somebody else than a lane is to write.
pub(crate) fn stay(
    app: &App,
    options: &SubscribeOptions<'_>,
    protocol: Protocol,
    ticket: Option<Ticket>,
) -> Result<StreamParts, SubscribeError> {
    let subscription = app.engine.subscribe(&app.engine.watcher(), options, app.now())?;
    Ok(StreamParts {
        shared: Arc::clone(&app.shared),
        open: app.shared.open_stream(protocol),
        opening: opening(app, &subscription),
        subscription,
        ticket,
    })
}

/// Opens the cursor of a stream that a lane is to write. Its head is the bare opening still.
pub(crate) fn leave(
    app: &App,
    options: &SubscribeOptions<'_>,
    framing: Framing,
    ticket: Option<Ticket>,
) -> Result<Leaving, SubscribeError> {
    let topics = sorted(&options.topics);
    let first = topics.first().map_or("", |topic| topic);
    let lane = app.lanes.pick(first, app.engine.readers_of(first));
    // The lane leaves out a client's own events itself: cursors are shared by readers of many names.
    let client = options.client.as_deref().map(Box::from);
    if let Some(name) = &client {
        check_client(name)?;
    }
    let options = SubscribeOptions { client: None, ..options.clone() };
    let subscription = app.engine.subscribe_as(lane.watcher(), &options, client.as_deref(), app.now())?;
    Ok(Leaving {
        head: opening(app, &subscription),
        framing,
        subscription,
        group: GroupKey { topics, events: sorted(&options.events), lag: options.lag, framing },
        client,
        ticket,
        open: app.shared.open_stream(Protocol::Http1),
        max_age: app.max_age(),
        lane,
    })
}

/// The bytes before the first event that others get too: the opening, and what handlers greet this reader with.
fn opening(app: &App, subscription: &Subscription) -> Vec<u8> {
    let mut bytes = stream::opening(app.config.padding, app.retry());
    let counters = &app.shared.counters;
    for event in subscription.take_greeting() {
        counters.frames.add(1);
        counters.bytes.add(event.wire().len() as u64);
        bytes.extend_from_slice(event.wire());
    }
    bytes
}

/// What a client that comes back later gets now: not an error, which would end an EventSource for ever, but a stream that
/// ends at once, with a time to wait that spreads the crowd.
pub(crate) fn come_back(app: &App) -> Reply {
    let least = app.config.retry.max(Duration::from_secs(5));
    let spread = app.shared.jitter.below(10_000);
    let retry = least + Duration::from_millis(spread);
    stream_reply(Body::ended(stream::opening(0, retry).into()))
}

/// Whether the request is an EventSource's, which gives up for ever on any status but 200.
pub(crate) fn is_event_source(request: &Parts) -> bool {
    let asks = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("text/event-stream"))
    };
    request.method == Method::GET && request.headers.get_all(ACCEPT).iter().any(asks)
}

fn stream_reply(body: Body) -> Reply {
    let mut reply = Response::new(body);
    let headers = reply.headers_mut();
    for (name, value) in stream::HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // The end of the stream is the end of the connection, as on a lane; HTTP/2 has no such header and takes it out.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    reply
}

/// 204 tells an EventSource to stop: there will never be anything to read. Everything else is an error.
fn ended_or(error: SubscribeError) -> Result<Answer, Refusal> {
    if error == SubscribeError::Closed {
        return Ok(Answer::Reply(reply::empty(StatusCode::NO_CONTENT)));
    }
    let refusal = Refusal::new(error.code(), error.to_string());
    Err(match error {
        SubscribeError::Invalid(error) => invalid(&error),
        SubscribeError::NoTopics => no_topic(),
        SubscribeError::TooManyTopics { limit } => too_many(limit),
        SubscribeError::TopicLimit { limit } => refusal.limit(u64::from(limit)),
        SubscribeError::Handler(HandlerError::Refused { .. }) => refusal.status(StatusCode::FORBIDDEN),
        // It may do better when the reader comes back.
        SubscribeError::Handler(HandlerError::Failed { .. }) => {
            refusal.status(StatusCode::SERVICE_UNAVAILABLE).retry_after(5)
        }
        _ => refusal,
    })
}

fn invalid(error: &InvalidField) -> Refusal {
    Refusal::new(error.code(), error.to_string()).field(error.field.as_str())
}

fn no_topic() -> Refusal {
    Refusal::new(Code::InvalidTopic, "no topic is named: GET /events/TOPIC or /events?topic=TOPIC")
        .field("topic")
}

fn too_many(limit: u32) -> Refusal {
    let message = format!("more than {limit} topics on one stream (limits.topics_per_stream)");
    Refusal::new(Code::InvalidTopic, message).field("topic").limit(u64::from(limit))
}

/// What subscribing would refuse, without subscribing.
fn check(app: &App, options: &SubscribeOptions<'_>) -> Result<(), Refusal> {
    let limit = app.engine.config().limits.topics_per_stream;
    if options.topics.len() > limit as usize {
        return Err(too_many(limit));
    }
    let topics = options.topics.iter().try_for_each(|topic| check_topic(topic));
    let events = || options.events.iter().try_for_each(|event| check_event_type(event));
    let client = || options.client.as_deref().map_or(Ok(()), check_client);
    topics.and_then(|()| events()).and_then(|()| client()).map_err(|error| invalid(&error))
}

fn options<'a>(
    app: &App,
    path_topic: Option<&'a str>,
    request: &'a Parts,
    query: &'a Query<'a>,
) -> Result<SubscribeOptions<'a>, Refusal> {
    let mut topics: Vec<Cow<'a, str>> = Vec::new();
    for topic in path_topic.into_iter().chain(query.all("topic")) {
        if !topics.iter().any(|known| known == topic) {
            topics.push(topic.into());
        }
    }
    if topics.is_empty() {
        return Err(no_topic());
    }
    let lag = match query.one("lag") {
        None => app.config.lag,
        Some(text) => text.parse::<LagPolicy>().map_err(|error| parameter("lag", &error.to_string()))?,
    };
    Ok(SubscribeOptions {
        topics,
        start: start(&request.headers, query)?,
        client: query.one("client").map(Cow::Borrowed),
        events: query.all("event").map(Cow::Borrowed).collect(),
        lag,
    })
}

/// Where to begin. The header is what a browser sends when it comes back, so it beats the URL, which is still that of the first visit; so do
/// the parameters that polyfills use in its place.
fn start<'a>(headers: &'a HeaderMap, query: &'a Query<'a>) -> Result<Start<'a>, Refusal> {
    let mut sent = headers.get_all("last-event-id").iter();
    let header = match (sent.next(), sent.next()) {
        (_, Some(_)) => return Err(id_refused("more than one Last-Event-ID header")),
        (Some(value), None) => {
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| id_refused("the Last-Event-ID header is not UTF-8"))?;
            Some(text).filter(|text| !text.is_empty())
        }
        (None, None) => None,
    };
    let polyfilled = || {
        query
            .one("evs_last_event_id")
            .or_else(|| query.one("lastEventId"))
            .or_else(|| query.one("last_event_id"))
    };
    if let Some(id) = header.or_else(polyfilled) {
        return Ok(Start::After(id.into()));
    }
    match query.one("replay") {
        None | Some("none") => Ok(Start::Live),
        Some("all") => Ok(Start::All),
        Some(text) => {
            let digits = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            digits
                .map(Start::Last)
                .ok_or_else(|| parameter("replay", "expected all, none or a number of events"))
        }
    }
}

fn id_refused(message: &str) -> Refusal {
    Refusal::new(Code::InvalidId, message).field("last_event_id")
}

fn parameter(name: &str, message: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("{name}: {message}")).field(name)
}

fn sorted(names: &[Cow<'_, str>]) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = names.iter().map(|name| Box::from(&**name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Content negotiation for the one type there is (RFC 9110, 12.5.1): the most specific range decides, a weight of 0 refuses.
fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let mut best: Option<(u8, bool)> = None;
    let mut named = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',') {
            let mut parts = range.split(';');
            let media = parts.next().unwrap_or("").trim().to_ascii_lowercase();
            named |= !media.is_empty();
            let specific = match media.as_str() {
                "text/event-stream" => 3,
                "text/*" => 2,
                "*/*" => 1,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=").map(str::trim));
            let wanted = weight.and_then(|q| q.parse::<f32>().ok()).is_none_or(|q| q > 0.0);
            if best.is_none_or(|(known, _)| specific > known) {
                best = Some((specific, wanted));
            }
        }
    }
    best.map_or(!named, |(_, wanted)| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_negotiated() {
        let accepts = |text: &'static str| {
            accepts_event_stream(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(text))]))
        };
        assert!(accepts_event_stream(&HeaderMap::new()));
        for text in [
            "*/*",
            "text/event-stream",
            "Text/Event-Stream",
            "text/*",
            "application/json, */*;q=0.1",
            "text/event-stream;q=0.5, text/*;q=0",
            "",
        ] {
            assert!(accepts(text), "{text}");
        }
        for text in [
            "application/json",
            "text/event-stream;q=0",
            "text/event-stream;q=0, */*",
            "text/plain, image/*",
            "text/event-stream2",
        ] {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn what_a_returning_client_says_beats_its_url() {
        let from = |header: Option<&'static str>, raw: &'static str| {
            let headers =
                header.map(|id| (HeaderName::from_static("last-event-id"), HeaderValue::from_static(id)));
            let headers = HeaderMap::from_iter(headers);
            let query = Query::parse(Some(raw), &SINGLE, &["topic", "event"]).expect("valid");
            let start = start(&headers, &query);
            start.map(|start| format!("{start:?}")).map_err(|refusal| refusal.code)
        };
        for (header, raw, expected) in [
            (None, "", "Live"),
            (None, "replay=none", "Live"),
            (None, "replay=all", "All"),
            (None, "replay=12", "Last(12)"),
            (None, "replay=", "Live"),
            (None, "last_event_id=a&replay=all", "After(\"a\")"),
            (None, "last_event_id=a&lastEventId=b", "After(\"b\")"),
            (None, "last_event_id=a&evs_last_event_id=c&lastEventId=b", "After(\"c\")"),
            (Some("h"), "last_event_id=a", "After(\"h\")"),
            (Some(""), "last_event_id=a", "After(\"a\")"),
        ] {
            assert_eq!(from(header, raw).as_deref(), Ok(expected), "{header:?} {raw}");
        }
        for raw in ["replay=some", "replay=-1", "replay=1.5", "replay=99999999999999999999999"] {
            assert_eq!(from(None, raw), Err(Code::InvalidParameter), "{raw}");
        }
    }
}
