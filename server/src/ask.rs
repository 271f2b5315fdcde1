//! Asking the host about a request, and its decision as an answer.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fanfare_engine::Code;
use http::StatusCode;
use http::header::HOST;
use http::request::Parts;

use crate::app::App;
use crate::authorize::{Action, Decision, Question};
use crate::named::Ticket;
use crate::reply::Refusal;

/// A request on its way to a decision.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) app: &'a App,
    pub(crate) address: IpAddr,
    pub(crate) request: &'a Parts,
}

/// What a request may do, and under which name.
#[derive(Default)]
pub(crate) struct Granted {
    pub(crate) client: Option<String>,
    /// Of a subscriber with a name.
    pub(crate) ticket: Option<Ticket>,
}

impl Asker<'_> {
    /// Whether anybody is asked.
    pub(crate) fn asks(&self) -> bool {
        self.app.config.authorizer.get().is_some()
    }

    /// Asks about publishing to a topic or closing it.
    pub(crate) async fn about(&self, action: Action, topic: &str) -> Result<(), Refusal> {
        self.ask(action, vec![topic.to_owned()], None, None).await.map(drop)
    }

    /// Waits for the decision. Without anybody to ask everything passes.
    pub(crate) async fn ask(
        &self,
        action: Action,
        topics: Vec<String>,
        last_event_id: Option<String>,
        client: Option<String>,
    ) -> Result<Granted, Refusal> {
        let Asker { app, address, request } = *self;
        let Some(authorize) = app.config.authorizer.get() else {
            let ticket = client.as_deref().map(|name| app.shared.named.enter(name));
            return Ok(Granted { client, ticket });
        };
        let text = |name: &http::HeaderName, value: &[u8]| (name.as_str().to_owned(), value.to_vec());
        let mut headers: Vec<_> =
            request.headers.iter().map(|(name, value)| text(name, value.as_bytes())).collect();
        if let Some(authority) = request.uri.authority()
            && !request.headers.contains_key(HOST)
        {
            headers.push(text(&HOST, authority.as_str().as_bytes()));
        }
        let question = Question {
            action,
            method: request.method.as_str().to_owned(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().unwrap_or("").to_owned(),
            headers,
            address,
            topics,
            last_event_id,
            client,
        };
        let (posed, answer) = question.pose(&app.shared.named);
        if catch_unwind(AssertUnwindSafe(|| authorize.authorize(posed))).is_err() {
            tracing::error!("the host's authorizer failed");
        }
        let decision = tokio::select! {
            decision = answer => decision.ok(),
            () = tokio::time::sleep(app.config.authorize_timeout) => None,
            _ = app.shared.stopping() => {
                return Err(Refusal::new(Code::Stopping, "the hub is stopping").close());
            }
        };
        match decision {
            Some(Decision::Accept { client, ticket }) => Ok(Granted { client, ticket }),
            Some(Decision::Reject { status, message }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
                Err(Refusal::new(code_of(status), message).status(status))
            }
            Some(Decision::Misnamed(error)) => {
                tracing::error!(%error, "the host's authorizer granted a name that no client can have");
                Err(Refusal::new(Code::Internal, "the authorizer granted a name that no client can have"))
            }
            None => Err(Refusal::new(Code::Internal, "nobody decided about this request in time")
                .status(StatusCode::SERVICE_UNAVAILABLE)
                .retry_after(5)),
        }
    }
}

/// The code under which a host's status is shown.
fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        status if status.is_server_error() => Code::Internal,
        _ => Code::Unauthorized,
    }
}
