//! Answers: the table from outcome code to HTTP status, and the JSON error that every refusal is.
//!
//! An error body is `{"error":{"code":"...","message":"...","field":"..."?,"limit":N?}}`. The code is stable, the message is for people and
//! says what to do about it, and never what the inside looks like.

use bytes::Bytes;
use fanfare_engine::Code;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use crate::body::Body;

/// An HTTP answer of ours.
pub(crate) type Reply = Response<Body>;

pub(crate) const NOSNIFF: (HeaderName, HeaderValue) =
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// Why a request is not served. Turned into an answer by [`Refusal::into_reply`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) status: StatusCode,
    message: String,
    field: Option<String>,
    limit: Option<u64>,
    allow: Option<&'static str>,
    retry_after: Option<u32>,
    close: bool,
}

impl Refusal {
    /// With the status that belongs to the code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Refusal {
        let status = status_of(code);
        Refusal {
            code,
            status,
            message: message.into(),
            field: None,
            limit: None,
            allow: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
            close: false,
        }
    }

    /// Names what was wrong: a parameter, a header, a member.
    pub(crate) fn field(mut self, field: impl Into<String>) -> Refusal {
        self.field = Some(field.into());
        self
    }

    /// The value of the limit that was reached.
    pub(crate) fn limit(mut self, limit: u64) -> Refusal {
        self.limit = Some(limit);
        self
    }

    /// Another status than the code's own.
    pub(crate) fn status(mut self, status: StatusCode) -> Refusal {
        self.status = status;
        self
    }

    /// 405: what would have been allowed.
    pub(crate) fn allow(mut self, methods: &'static str) -> Refusal {
        self.allow = Some(methods);
        self
    }

    /// Seconds after which trying again makes sense.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after = Some(seconds);
        self
    }

    /// The connection ends after this answer: what follows on it is not to be trusted, or not worth reading.
    pub(crate) fn close(mut self) -> Refusal {
        self.close = true;
        self
    }

    /// Puts `prefix` before the message: where in a batch the fault is.
    pub(crate) fn at(mut self, prefix: &str) -> Refusal {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    /// The body of the answer.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut error = Map::new();
        error.insert("code".into(), self.code.as_str().into());
        error.insert("message".into(), self.message.as_str().into());
        if let Some(field) = &self.field {
            error.insert("field".into(), field.as_str().into());
        }
        if let Some(limit) = self.limit {
            error.insert("limit".into(), limit.into());
        }
        let mut body = Value::Object(Map::from_iter([("error".to_owned(), Value::Object(error))]))
            .to_string()
            .into_bytes();
        body.push(b'\n');
        body
    }

    /// Every byte of the answer in HTTP/1.1, for a connection that ends with it and that hyper does not answer on.
    pub(crate) fn in_full(&self) -> Bytes {
        let body = self.json();
        let reason = self.status.canonical_reason().unwrap_or("");
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
            self.status.as_u16(),
            body.len(),
        );
        [head.into_bytes(), body].concat().into()
    }

    pub(crate) fn into_reply(self) -> Reply {
        let mut reply = json(self.status, self.json());
        let headers = reply.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 15.5.2: a 401 names a scheme. Bearer makes no browser ask its user for a password.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply.headers_mut().insert(NOSNIFF.0, NOSNIFF.1);
    reply
}

/// An answer with a body in memory.
pub(crate) fn full(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Body::full(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    reply
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    full(status, "application/json", body)
}

/// The one table from code to status.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::InvalidTopic
        | Code::InvalidId
        | Code::InvalidEvent
        | Code::InvalidData
        | Code::InvalidRetry
        | Code::InvalidClient
        | Code::InvalidKey
        | Code::InvalidParameter
        | Code::UnknownParameter
        | Code::InvalidBody => StatusCode::BAD_REQUEST,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::ForbiddenOrigin => StatusCode::FORBIDDEN,
        // The request was meant for another server (RFC 9110, 15.5.20).
        Code::ForbiddenHost => StatusCode::MISDIRECTED_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Code::TopicClosed => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UriTooLong => StatusCode::URI_TOO_LONG,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::HandlerRefused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::LimitTopics | Code::LimitConnections | Code::Stopping | Code::NotStored => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        // Faults of ours, and codes that never belong to an HTTP request.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_json_with_a_stable_code() {
        let refusal =
            Refusal::new(Code::TooLarge, "the event has 7 bytes").field("data").limit(5).at("line 3");
        let text = String::from_utf8(refusal.json()).expect("JSON is UTF-8");
        let value: Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(value["error"]["code"], "too_large");
        assert_eq!(value["error"]["message"], "line 3: the event has 7 bytes");
        assert_eq!(value["error"]["field"], "data");
        assert_eq!(value["error"]["limit"], 5);
        assert_eq!(refusal.into_reply().status(), 413);
    }

    #[test]
    fn only_faults_of_ours_are_5xx_without_retry() {
        for &code in Code::ALL {
            let refusal = Refusal::new(code, "x");
            // From `internal` on, codes are faults of ours or belong to no HTTP request.
            let ours = code == Code::HandlerFailed
                || code.number() <= Code::Internal.number() && code != Code::NotStored;
            assert_eq!(refusal.status == StatusCode::INTERNAL_SERVER_ERROR, ours, "{code}");
            assert_eq!(
                refusal.into_reply().headers().contains_key(RETRY_AFTER),
                status_of(code) == StatusCode::SERVICE_UNAVAILABLE,
                "{code}"
            );
        }
    }
}
