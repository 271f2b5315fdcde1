//! Who may subscribe, publish and close: asked of the host, request by request.
//!
//! The host is asked when a request has passed every check that costs nothing, and before anything is opened, read or changed. It answers
//! when it likes, from any thread; the request waits for `timeouts.authorize` at most. No answer is a refusal.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use fanfare_engine::{InvalidField, check_client};
use tokio::sync::oneshot;

use crate::named::{Named, Ticket};

/// Decides about requests.
pub trait Authorize: Send + Sync {
    /// Takes a request to decide about. It is called on a thread of the server and must return at once; the answer may come
    /// later, through [`AuthorizeRequest::answer`], from any thread. A panic refuses the request.
    fn authorize(&self, request: AuthorizeRequest);
}

/// Who is asked, if anybody: part of the server's configuration. Two are equal when they ask the same object.
#[derive(Clone, Default)]
pub struct Authorizer(Option<Arc<dyn Authorize>>);

impl Authorizer {
    /// Asks `authorize` about every request to subscribe, publish or close.
    pub fn new(authorize: Arc<dyn Authorize>) -> Authorizer {
        Authorizer(Some(authorize))
    }

    pub(crate) fn get(&self) -> Option<&Arc<dyn Authorize>> {
        self.0.as_ref()
    }
}

impl PartialEq for Authorizer {
    fn eq(&self, other: &Authorizer) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Authorizer {}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Authorizer(..)" } else { "Authorizer(none)" })
    }
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read topics.
    Subscribe,
    /// Publish events to a topic.
    Publish,
    /// Close a topic.
    Close,
}

/// A request to decide about. Everything in it comes from outside, checked for its form alone.
/// Dropping it, or its [`Answer`] once that is taken, refuses the request with a 503; an `EventSource`, which gives up for
/// ever on that, is given a stream that ends at once, so that it comes back.
pub struct AuthorizeRequest {
    /// What it wants to do.
    pub action: Action,
    /// `GET`, `HEAD`, `POST` or `DELETE`.
    pub method: String,
    /// The path as it was sent, percent-encoded.
    pub path: String,
    /// The query as it was sent, without the question mark; empty if there is none.
    pub query: String,
    /// The headers in the order of the request, names in lower case, repeated ones repeated. On HTTP/2 the authority stands as `host`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The peer of the connection; behind a proxy that is the proxy.
    pub address: IpAddr,
    /// The topics, decoded: one for publishing and closing.
    pub topics: Vec<String>,
    /// The id that a subscriber resumes after.
    pub last_event_id: Option<String>,
    /// The name that a subscriber claims (`?client=`).
    pub client: Option<String>,
    answer: Option<Answer>,
    named: Arc<Named>,
}

/// What a request is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The subscriber's real name, in place of the one that it claims; `None` leaves it at that. Of no effect on publishing
    /// and closing.
    pub client: Option<String>,
}

impl AuthorizeRequest {
    /// The answer's half, to be kept while the request is looked at elsewhere. Taken a second time it decides nothing.
    pub fn answer(&mut self) -> Answer {
        self.answer.take().unwrap_or_else(|| Answer {
            send: None,
            named: Arc::clone(&self.named),
            client: None,
        })
    }

    /// Lets it pass.
    pub fn accept(mut self, grant: Grant) {
        self.answer().accept(grant);
    }

    /// Refuses it. See [`Answer::reject`].
    pub fn reject(mut self, status: u16, message: &str) {
        self.answer().reject(status, message);
    }
}

/// Without query and headers: they carry credentials, and this goes to logs.
impl fmt::Debug for AuthorizeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeRequest")
            .field("action", &self.action)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("address", &self.address)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// The way back to a request that waits. Dropping it refuses the request with a 503; an answer that comes after the request
/// has gone or has waited for too long has no effect.
pub struct Answer {
    send: Option<oneshot::Sender<Decision>>,
    named: Arc<Named>,
    /// The name that the subscriber claims.
    client: Option<String>,
}

/// What a host has decided.
pub(crate) enum Decision {
    /// It passes, with this name. From here on a revocation of the name reaches it.
    Accept {
        client: Option<String>,
        ticket: Option<Ticket>,
    },
    Reject {
        status: u16,
        message: String,
    },
    /// It would pass with a name that no client can have.
    Misnamed(InvalidField),
}

impl Answer {
    /// Lets the request pass. A granted name that no client can have fails the request with a 500. Never blocks.
    pub fn accept(self, grant: Grant) {
        let named = Arc::clone(&self.named);
        let client = grant.client.or_else(|| self.client.clone());
        let decision = match client.as_deref().map(check_client) {
            Some(Err(error)) => Decision::Misnamed(error),
            _ => Decision::Accept { ticket: client.as_deref().map(|name| named.enter(name)), client },
        };
        self.decide(decision);
    }

    /// Refuses the request with an HTTP status of 400 to 599 (anything else counts as 403) and a message for people, which the
    /// client sees. Never blocks.
    pub fn reject(self, status: u16, message: &str) {
        let status = if (400..=599).contains(&status) { status } else { 403 };
        self.decide(Decision::Reject { status, message: message.to_owned() });
    }

    /// Whether it is too late: the request has gone, has waited for too long, or has been decided.
    pub fn is_over(&self) -> bool {
        self.send.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn decide(mut self, decision: Decision) {
        if let Some(send) = self.send.take() {
            // Nobody waits any more: too late.
            let _ = send.send(decision);
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("open", &self.send.is_some()).finish_non_exhaustive()
    }
}

/// What the server knows of a request to be decided about.
pub(crate) struct Question {
    pub(crate) action: Action,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) address: IpAddr,
    pub(crate) topics: Vec<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) client: Option<String>,
}

impl Question {
    /// The request as the host sees it, and where its answer arrives.
    pub(crate) fn pose(self, named: &Arc<Named>) -> (AuthorizeRequest, oneshot::Receiver<Decision>) {
        let (send, receive) = oneshot::channel();
        let answer = Answer { send: Some(send), named: Arc::clone(named), client: self.client.clone() };
        let request = AuthorizeRequest {
            action: self.action,
            method: self.method,
            path: self.path,
            query: self.query,
            headers: self.headers,
            address: self.address,
            topics: self.topics,
            last_event_id: self.last_event_id,
            client: self.client,
            answer: Some(answer),
            named: Arc::clone(named),
        };
        (request, receive)
    }
}
