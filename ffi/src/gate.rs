//! Requests that the host decides about, while they wait.

use std::sync::{Arc, OnceLock, Weak};

use ::fanfare_hub::HubConfig;
use ::fanfare_hub::authorize::{Action, Answer, Authorize, AuthorizeRequest, Authorizer, Grant};
use parking_lot::Mutex;

use crate::instance::{Instance, Target, Waiting};
use crate::item::{
    Control, FANFARE_ACTION_CLOSE, FANFARE_ACTION_PUBLISH, FANFARE_ACTION_SUBSCRIBE, RequestText,
};
use crate::queue::Entry;

/// Most requests that wait for a host at once: one that does not drain must not fill the memory.
const MAX_WAITING: usize = 65_536;

/// Turns requests into items of the queue.
pub(crate) struct Gate {
    /// Set when the hub has started; its listener may be faster, and those requests are refused.
    hub: OnceLock<Weak<Instance>>,
    /// `FANFARE_ACTION_*` that are the host's to decide; all others pass.
    actions: u32,
}

impl Gate {
    /// For the actions that the host wants to decide about.
    pub(crate) fn new(actions: u32) -> Arc<Gate> {
        Arc::new(Gate { hub: OnceLock::new(), actions })
    }

    /// Makes a hub ask, if there is anything to ask.
    pub(crate) fn install(self: &Arc<Gate>, config: &mut HubConfig) {
        if self.actions != 0 {
            config.server.authorizer = Authorizer::new(self.clone());
        }
    }

    /// Says whose queue gets the requests.
    pub(crate) fn serve(&self, hub: &Arc<Instance>) {
        // Nobody else sets it.
        let _ = self.hub.set(Arc::downgrade(hub));
    }
}

impl Authorize for Gate {
    fn authorize(&self, mut request: AuthorizeRequest) {
        let action = match request.action {
            Action::Subscribe => FANFARE_ACTION_SUBSCRIBE,
            Action::Publish => FANFARE_ACTION_PUBLISH,
            Action::Close => FANFARE_ACTION_CLOSE,
            // Whatever it is, no host of this ABI can have allowed it.
            _ => return request.reject(503, "the host cannot be asked about this"),
        };
        if self.actions & action == 0 {
            let client = request.client.take();
            return request.accept(Grant { client });
        }
        let Some(hub) = self.hub.get().and_then(Weak::upgrade) else {
            return request.reject(503, "the host is not ready");
        };
        // Those whose time is over wait for nobody.
        let waiting = hub.ids.extract_if_more(MAX_WAITING / 2, |target| match target {
            Target::Request(waiting) => Some(waiting.answer.lock().as_ref().is_none_or(Answer::is_over)),
            _ => None,
        });
        if waiting >= MAX_WAITING {
            return request.reject(503, "too many requests wait for the host");
        }
        let answer = request.answer();
        let text = Box::new(RequestText {
            action,
            method: request.method,
            path: request.path,
            query: request.query,
            address: request.address.to_string(),
            last_event_id: request.last_event_id,
            client: request.client,
            topics: request.topics,
            headers: request.headers,
        });
        let waiting = Arc::new(Waiting { answer: Mutex::new(Some(answer)) });
        let handle = hub.ids.insert_with(|id| (Target::Request(waiting), id));
        hub.queue.push(Entry::Control(Box::new(Control::Request { handle, request: text })));
    }
}
