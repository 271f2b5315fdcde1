//! Publishing and closing: a request becomes drafts, and nothing happens before all of it has been checked.

use bytes::{Buf, BytesMut};
use fanfare_engine::{Code, Draft, MAX_RETRY_MS, PublishError, Published, check_topic};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::app::{App, BODY_BLOCK};
use crate::ask::Asker;
use crate::authorize::Action;
use crate::ndjson;
use crate::patience::within;
use crate::query::Query;
use crate::reply::{self, Refusal, Reply};

/// POST /events/TOPIC
pub(crate) async fn publish(asker: &Asker<'_>, topic: &str, body: Incoming) -> Result<Reply, Refusal> {
    let Asker { app, address: from, request } = *asker;
    match body_kind(&request.headers)? {
        BodyKind::Raw => {
            let query = Query::parse(request.uri.query(), &["event", "id", "retry", "except", "key"], &[])?;
            let retry = query.one("retry").map(parse_retry).transpose()?;
            may(asker, Action::Publish, topic).await.map_err(Refusal::close)?;
            let (bytes, _memory) = read(app, &request.headers, body).await?;
            let data = std::str::from_utf8(&bytes).map_err(|error| {
                let message = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
                Refusal::new(Code::InvalidData, message).field("data")
            })?;
            let own = |name| query.one(name).map(Into::into);
            let draft = Draft {
                topic: topic.into(),
                event: own("event"),
                id: own("id"),
                data: data.into(),
                retry,
                except: own("except"),
                key: own("key"),
            };
            let now = app.now();
            app.rate.take(from, 1, now)?;
            let started = app.start(1, |engine| engine.start_publish(draft, now));
            let started = started.map_err(|error| refused(&error))?;
            let published = app.stored(started).await.map_err(|error| refused(&error))?;
            Ok(reply::json(StatusCode::OK, line(&json!({ "id": id_of(app, &published) }))))
        }
        BodyKind::Ndjson => {
            Query::parse(request.uri.query(), &[], &[])?;
            may(asker, Action::Publish, topic).await.map_err(Refusal::close)?;
            let (bytes, _memory) = read(app, &request.headers, body).await?;
            let text = std::str::from_utf8(&bytes).map_err(|error| {
                let at = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
                Refusal::new(Code::InvalidBody, format!("line {at}: not UTF-8")).field("body")
            })?;
            let (drafts, lines) = ndjson::parse(topic, text)?;
            let now = app.now();
            app.rate.take(from, drafts.len() as u64, now)?;
            let started = app.start(drafts.len(), |engine| engine.start_publish_batch(drafts, now));
            let started = started.map_err(|failed| {
                let place = lines
                    .get(failed.index)
                    .map_or_else(|| "the batch".to_owned(), |line| format!("line {line}"));
                refused(&failed.error).at(&place)
            })?;
            let stored = app.stored(started).await;
            let published = stored.map_err(|error| refused(&error).at("the batch"))?;
            let ids: Vec<Option<String>> = published.iter().map(|published| id_of(app, published)).collect();
            Ok(reply::json(StatusCode::OK, line(&json!({ "ids": ids }))))
        }
    }
}

/// DELETE /events/TOPIC: closes it; with `history=delete` its events are deleted instead.
pub(crate) async fn close(asker: &Asker<'_>, topic: &str) -> Result<Reply, Refusal> {
    let app = asker.app;
    let query = Query::parse(asker.request.uri.query(), &["history"], &[])?;
    let deletes = match query.one("history") {
        None => false,
        Some("delete") => true,
        Some(_) => {
            let message = "history: expected delete, or nothing to close the topic";
            return Err(Refusal::new(Code::InvalidParameter, message).field("history"));
        }
    };
    may(asker, Action::Close, topic).await?;
    if deletes {
        app.write(|engine| engine.delete_history(topic, app.now())).map_err(|error| refused(&error))?;
        return Ok(reply::json(StatusCode::OK, line(&json!({ "deleted": true }))));
    }
    let closed = app.write(|engine| engine.close_topic(topic, app.now())).map_err(|error| refused(&error))?;
    Ok(reply::json(StatusCode::OK, line(&json!({ "closed": closed }))))
}

/// Asks whoever decides, about a topic that can exist.
async fn may(asker: &Asker<'_>, action: Action, topic: &str) -> Result<(), Refusal> {
    if !asker.asks() {
        return Ok(());
    }
    check_topic(topic).map_err(|error| refused(&PublishError::Invalid(error)))?;
    asker.about(action, topic).await
}

/// The id that resumes after what was published; none if a handler dropped it.
fn id_of(app: &App, published: &Published) -> Option<String> {
    (published.events > 0).then(|| match &published.own_id {
        Some(id) => id.to_string(),
        None => app.engine.id_of(published.seq).to_string(),
    })
}

fn line(value: &serde_json::Value) -> String {
    format!("{value}\n")
}

fn refused(error: &PublishError) -> Refusal {
    let refusal = Refusal::new(error.code(), error.to_string());
    match error {
        PublishError::Invalid(invalid) => refusal.field(invalid.field.as_str()),
        PublishError::TooLarge { limit, .. } => refusal.field("data").limit(*limit),
        PublishError::TopicLimit { limit } => refusal.limit(u64::from(*limit)),
        _ => refusal,
    }
}

fn parse_retry(text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        let message = format!("retry must be 0 to {MAX_RETRY_MS} milliseconds, in digits");
        Refusal::new(Code::InvalidRetry, message).field("retry")
    })
}

enum BodyKind {
    Raw,
    Ndjson,
}

/// What the body is. Its bytes are taken as they are, so whatever would have to be decoded first is not taken.
fn body_kind(headers: &HeaderMap) -> Result<BodyKind, Refusal> {
    let unsupported = |message: &str, field: &str| {
        Err(Refusal::new(Code::UnsupportedMediaType, message).field(field).close())
    };
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return unsupported("compressed bodies are not taken", "content-encoding");
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = types.next() else { return Ok(BodyKind::Raw) };
    let Some(text) = value.to_str().ok().filter(|_| types.next().is_none()) else {
        return unsupported("the Content-Type is not one media type", "content-type");
    };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        let utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known));
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return unsupported("events are UTF-8; other charsets are not taken", "content-type");
        }
    }
    match essence.as_str() {
        "application/x-ndjson" | "application/ndjson" => Ok(BodyKind::Ndjson),
        // Its bytes are a wrapping that no reader of the event would expect.
        "multipart/form-data" => unsupported(
            "the body is published byte for byte: send it bare, not as a form with parts",
            "content-type",
        ),
        "" => Ok(BodyKind::Raw),
        essence if essence.split_once('/').is_some_and(|(main, sub)| !main.is_empty() && !sub.is_empty()) => {
            Ok(BodyKind::Raw)
        }
        _ => unsupported("the Content-Type is not a media type", "content-type"),
    }
}

/// Reads the body within `limits.body_bytes`, `timeouts.body` and the memory that all bodies share.
async fn read<'a>(
    app: &'a App,
    headers: &HeaderMap,
    mut body: Incoming,
) -> Result<(BytesMut, Option<SemaphorePermit<'a>>), Refusal> {
    let limit = app.config.max_body_bytes;
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes (limits.body_bytes)");
        Refusal::new(Code::TooLarge, message).field("body").limit(limit).close()
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.or(body.size_hint().exact()).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let all = async {
        let mut bytes = BytesMut::new();
        let mut memory: Option<SemaphorePermit<'a>> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Refusal::new(Code::InvalidBody, "the body ends early or is not well-formed")
                    .field("body")
                    .close()
            })?;
            // Trailers say nothing that we use.
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.remaining();
            if length as u64 > limit {
                return Err(too_large());
            }
            let held = 1 + memory.as_ref().map_or(0, SemaphorePermit::num_permits);
            let blocks = length.div_ceil(BODY_BLOCK);
            if blocks > held {
                let more = u32::try_from(blocks - held).unwrap_or(u32::MAX);
                let granted = app.bodies.try_acquire_many(more).map_err(|_| {
                    Refusal::new(Code::RateLimited, "too many large bodies are being received at once")
                        .retry_after(1)
                        .close()
                })?;
                match &mut memory {
                    Some(memory) => memory.merge(granted),
                    None => memory = Some(granted),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, memory))
    };
    match within(Instant::now() + app.config.body_timeout, all).await {
        Some(result) => result,
        None => Err(Refusal::new(Code::InvalidBody, "the body did not arrive in time (timeouts.body)")
            .field("body")
            .status(StatusCode::REQUEST_TIMEOUT)
            .close()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_is_taken_byte_for_byte_is_taken() {
        let kind = |text: &'static str| {
            body_kind(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(text))]))
        };
        for text in [
            "text/plain",
            "text/plain; charset=UTF-8",
            "application/x-www-form-urlencoded",
            "application/json",
            "application/octet-stream",
            "",
        ] {
            assert!(matches!(kind(text), Ok(BodyKind::Raw)), "{text}");
        }
        for text in ["application/x-ndjson", "Application/X-NDJSON; charset=\"utf-8\""] {
            assert!(matches!(kind(text), Ok(BodyKind::Ndjson)), "{text}");
        }
        for text in ["multipart/form-data; boundary=x", "text/plain; charset=iso-8859-1", "nonsense", "text/"]
        {
            assert_eq!(kind(text).err().map(|refusal| refusal.status.as_u16()), Some(415), "{text}");
        }
    }

    #[test]
    fn retry_is_digits_only() {
        assert_eq!(parse_retry("0015"), Ok(15));
        for text in ["", "-1", "+1", "1.5", "1e3", "٣", "99999999999999999999999", "1 "] {
            assert_eq!(
                parse_retry(text).err().map(|refusal| refusal.code),
                Some(Code::InvalidRetry),
                "{text}"
            );
        }
    }
}
