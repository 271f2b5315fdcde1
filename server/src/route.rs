//! From a parsed request to its answer: host, method and path, origin, and what every answer gets.

use std::net::IpAddr;
use std::sync::Arc;

use fanfare_engine::Code;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::app::App;
use crate::ask::Asker;
use crate::metrics;
use crate::publish;
use crate::query::decode_path;
use crate::reply::{self, Refusal, Reply};
use crate::shared::Full;
use crate::stats;
use crate::subscribe::{Answer, come_back, is_event_source, subscribe};

/// Longest request target, in bytes. URLs beyond 8,000 bytes work nowhere reliably (RFC 9110, 4.1).
const MAX_TARGET_BYTES: usize = 8_192;

const TOPIC_METHODS: &str = "GET, HEAD, POST, DELETE, OPTIONS";
const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// What a request needs to know of its connection.
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    /// The socket can leave hyper: plain HTTP/1.
    pub(crate) may_leave: bool,
    /// The connection is over a limit: whatever it asks is refused.
    pub(crate) full: Option<Full>,
    /// The header had a Content-Length, whether hyper shows it or not.
    pub(crate) content_length: bool,
}

/// Answers one request. Never fails: whatever is wrong becomes a refusal.
pub(crate) async fn answer(app: &Arc<App>, origin: &Origin, request: Request<Incoming>) -> Answer {
    fanfare_engine::failpoint::reach("server.request");
    let (request, body) = request.into_parts();
    let result = decide(app, origin, &request, body).await;
    app.shared.counters.requests.add(1);
    let reply = match result {
        Ok(Answer::Leave(leaving)) => return Answer::Leave(leaving),
        Ok(Answer::Reply(reply)) => reply,
        Err(refusal) => {
            app.shared.counters.errors.add(1);
            // The path and the code, never the query: it may carry names and tickets.
            tracing::debug!(from = %origin.address, method = %request.method, path = request.uri.path(), code = %refusal.code, "refused");
            let later = refusal.status == StatusCode::SERVICE_UNAVAILABLE;
            if later && is_event_source(&request) { come_back(app) } else { refusal.into_reply() }
        }
    };
    Answer::Reply(finish(app, origin, &request, reply))
}

async fn decide(app: &Arc<App>, origin: &Origin, request: &Parts, body: Incoming) -> Result<Answer, Refusal> {
    let framed_twice = request.headers.contains_key(TRANSFER_ENCODING)
        && (origin.content_length || request.headers.contains_key(CONTENT_LENGTH));
    if framed_twice {
        return Err(Refusal::new(Code::InvalidBody, "both Content-Length and Transfer-Encoding")
            .field("content-length")
            .close());
    }
    // hyper looks at the last coding only. One that is not undone here would be taken for data (RFC 9112, 6.1).
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if !chunked
        || codings.next().is_some()
        || (request.version < Version::HTTP_11 && request.headers.contains_key(TRANSFER_ENCODING))
    {
        let message = "the only Transfer-Encoding taken is chunked, once, on HTTP/1.1";
        return Err(Refusal::new(Code::InvalidBody, message).field("transfer-encoding").close());
    }
    let own = app.hosts.check(request)?;
    if let Some(full) = origin.full {
        let (key, limit) = match full {
            Full::InAll(limit) => ("limits.connections", limit),
            Full::PerAddress(limit) => ("limits.connections_per_address", limit),
        };
        let message = format!("{limit} connections are open already ({key})");
        return Err(Refusal::new(Code::LimitConnections, message).limit(limit).close());
    }
    if app.shared.is_stopping() {
        return Err(Refusal::new(Code::Stopping, "the hub is stopping").close());
    }
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET_BYTES {
        let message = format!("the request target is longer than {MAX_TARGET_BYTES} bytes");
        return Err(Refusal::new(Code::UriTooLong, message).limit(MAX_TARGET_BYTES as u64).close());
    }
    if request.method == Method::CONNECT {
        // What follows is meant for a tunnel that there will not be.
        return Err(not_allowed(TOPIC_METHODS).close());
    }
    let path = request.uri.path();
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    if path == "/events" || path.starts_with("/events/") {
        let topic = path.strip_prefix("/events/");
        let asker = Asker { app, address: origin.address, request };
        let methods = if topic.is_some() { TOPIC_METHODS } else { READ_METHODS };
        return match (topic, &request.method) {
            (_, &Method::OPTIONS) => Ok(Answer::Reply(options(app, request, methods))),
            (topic, _) if reads => {
                no_body(&body)?;
                let topic = topic.map(decode_path).transpose().map_err(|fault| fault.topic())?;
                subscribe(app, topic.as_deref(), &asker, origin.may_leave).await
            }
            (Some(topic), &Method::POST) => {
                app.origins.may_write(&request.headers, own.as_ref()).map_err(Refusal::close)?;
                let topic = decode_path(topic).map_err(|fault| fault.topic().close())?;
                publish::publish(&asker, &topic, body).await.map(Answer::Reply)
            }
            (Some(topic), &Method::DELETE) => {
                app.origins.may_write(&request.headers, own.as_ref())?;
                let topic = decode_path(topic).map_err(|fault| fault.topic())?;
                publish::close(&asker, &topic).await.map(Answer::Reply)
            }
            _ => Err(not_allowed(methods)),
        };
    }
    if path == "*" && request.method == Method::OPTIONS {
        return Ok(Answer::Reply(options(app, request, TOPIC_METHODS)));
    }
    let found = match path {
        "/healthz" => Some(reply::full(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
        "/stats" if reads => Some(reply::json(StatusCode::OK, stats::to_json(app))),
        "/metrics" if reads => Some(reply::full(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(app))),
        "/stats" | "/metrics" => Some(reply::empty(StatusCode::OK)),
        _ => app.pages.get(path, &request.headers),
    };
    match found {
        None => Err(Refusal::new(Code::NotFound, "nothing is served under this path")),
        Some(_) if request.method == Method::OPTIONS => {
            Ok(Answer::Reply(options(app, request, READ_METHODS)))
        }
        Some(_) if !reads => Err(not_allowed(READ_METHODS)),
        Some(reply) => Ok(Answer::Reply(reply)),
    }
}

fn not_allowed(methods: &'static str) -> Refusal {
    Refusal::new(Code::MethodNotAllowed, format!("this path knows {methods}")).allow(methods)
}

/// A stream's request has no body: what follows on the connection could be taken for one.
fn no_body(body: &Incoming) -> Result<(), Refusal> {
    if body.is_end_stream() {
        return Ok(());
    }
    Err(Refusal::new(Code::InvalidBody, "a request for a stream has no body").field("body").close())
}

fn options(app: &App, request: &Parts, methods: &'static str) -> Reply {
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    let headers = reply.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.extend(app.origins.preflight(&request.headers, methods));
    reply
}

/// What depends on the request in every answer.
fn finish(app: &App, origin: &Origin, request: &Parts, mut reply: Reply) -> Reply {
    if request.method == Method::HEAD
        && let Some(length) = reply.body_mut().strip()
    {
        reply.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    let headers = reply.headers_mut();
    headers.extend(app.origins.reading(&request.headers));
    if request.version == Version::HTTP_2 {
        headers.remove(CONNECTION);
    } else if origin.full.is_some() || request.headers.contains_key(TRANSFER_ENCODING) {
        // A chunked request may have hidden a length from us; its connection ends with it (RFC 9112, 6.1).
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
