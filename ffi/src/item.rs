//! Items: what a host gets when it drains or pulls, and how they are put together.

use std::ptr;

use ::fanfare_hub::engine::Frame;
use bytes::Bytes;

use crate::abi::{Extensible, fanfare_str};
use crate::status::fanfare_status;

/// An event of a subscription: `topic`, `id`, `event`, `data`, `position`.
pub const FANFARE_ITEM_EVENT: i32 = 1;
/// A notice that events are missing: `event` is `fanfare.gap`, `data` is `{"requested","oldest","newest"}` as JSON, `id` goes on where
/// reading goes on.
pub const FANFARE_ITEM_GAP: i32 = 2;
/// A subscription or stream is over, and its id is stale: `code` says why, 0 for a reader that left, was revoked or has reached `stream.max_age`.
pub const FANFARE_ITEM_END: i32 = 3;
/// A subscription of the kind `FANFARE_ON_DEMAND`, or a host-written stream, has something for `fanfare_pull`.
pub const FANFARE_ITEM_READY: i32 = 4;
/// Bytes of a host-written stream in `data`: whole or cut anywhere, to be written as they are.
pub const FANFARE_ITEM_BYTES: i32 = 5;
/// A request waits for `fanfare_accept` or `fanfare_reject`: see `request`.
pub const FANFARE_ITEM_REQUEST: i32 = 6;

/// One item of a batch. Views in it are valid until the batch is freed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_item {
    /// The caller's `sizeof(fanfare_item)`.
    pub size: usize,
    /// `FANFARE_ITEM_*`. Skip kinds that you do not know.
    pub kind: i32,
    /// Why it is over, for `FANFARE_ITEM_END`: `FANFARE_ERR_TOPIC_CLOSED`, `FANFARE_ERR_LAPPED`, `FANFARE_ERR_STOPPING`, or 0.
    pub code: fanfare_status,
    /// Id of the subscription, stream or request.
    pub handle: u64,
    /// The `user` value that the subscription or stream was opened with.
    pub user: u64,
    /// The event's topic.
    pub topic: fanfare_str,
    /// The event's id: give it to `last_event_id` to go on after it.
    pub id: fanfare_str,
    /// The event's type; absent means `message`.
    pub event: fanfare_str,
    /// The event's data, or a stream's bytes. Not NUL-terminated.
    pub data: fanfare_str,
    /// The event's position in the hub's one sequence.
    pub position: u64,
    /// The request, for `FANFARE_ITEM_REQUEST`; NULL otherwise.
    pub request: *const fanfare_request,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_item {
    const NAME: &'static str = "fanfare_item";
}

/// Somebody wants to read a topic.
pub const FANFARE_ACTION_SUBSCRIBE: u32 = 1;
/// Somebody wants to publish to a topic.
pub const FANFARE_ACTION_PUBLISH: u32 = 2;
/// Somebody wants to close a topic.
pub const FANFARE_ACTION_CLOSE: u32 = 4;

/// One header of a request. Its name is in lower case.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_header {
    /// Lower case.
    pub name: fanfare_str,
    /// As sent: bytes, not always UTF-8.
    pub value: fanfare_str,
}

/// A request to this hub's own listener that waits for a decision.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_request {
    /// `sizeof(fanfare_request)` of the library, at least what this header shows.
    pub size: usize,
    /// One of `FANFARE_ACTION_*`.
    pub action: u32,
    /// Always 0.
    pub reserved: u32,
    /// `GET`, `POST`, ...
    pub method: fanfare_str,
    /// Path of the URL, as sent.
    pub path: fanfare_str,
    /// Query of the URL without `?`, as sent.
    pub query: fanfare_str,
    /// The peer's IP address as text.
    pub address: fanfare_str,
    /// The id after which it wants to go on; absent if none.
    pub last_event_id: fanfare_str,
    /// The name that it gives itself (`?client=`); absent if none. Nobody has checked it.
    pub client: fanfare_str,
    /// The topics it wants.
    pub topics: *const fanfare_str,
    /// How many.
    pub topics_len: usize,
    /// Its headers.
    pub headers: *const fanfare_header,
    /// How many.
    pub headers_len: usize,
}

/// An item that is no event.
pub(crate) enum Control {
    /// Over.
    End { handle: u64, user: u64, code: fanfare_status },
    /// Wants a decision.
    Request { handle: u64, request: Box<RequestText> },
}

/// A request with the text that its views point into.
pub(crate) struct RequestText {
    pub(crate) action: u32,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) address: String,
    pub(crate) last_event_id: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) topics: Vec<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// A request's views, and what they show.
struct RequestView {
    _text: Box<RequestText>,
    _topics: Box<[fanfare_str]>,
    _headers: Box<[fanfare_header]>,
    view: fanfare_request,
}

impl RequestView {
    fn new(text: Box<RequestText>) -> Box<RequestView> {
        let optional = |text: &Option<String>| text.as_deref().map_or(fanfare_str::NONE, fanfare_str::of);
        let topics: Box<[fanfare_str]> = text.topics.iter().map(|topic| fanfare_str::of(topic)).collect();
        let header = |(name, value): &(String, Vec<u8>)| fanfare_header {
            name: fanfare_str::of(name),
            value: fanfare_str::of_bytes(value),
        };
        let headers: Box<[fanfare_header]> = text.headers.iter().map(header).collect();
        let view = fanfare_request {
            size: size_of::<fanfare_request>(),
            action: text.action,
            reserved: 0,
            method: fanfare_str::of(&text.method),
            path: fanfare_str::of(&text.path),
            query: fanfare_str::of(&text.query),
            address: fanfare_str::of(&text.address),
            last_event_id: optional(&text.last_event_id),
            client: optional(&text.client),
            topics: topics.as_ptr(),
            topics_len: topics.len(),
            headers: headers.as_ptr(),
            headers_len: headers.len(),
        };
        // Moving the boxes does not move what they hold.
        Box::new(RequestView { _text: text, _topics: topics, _headers: headers, view })
    }
}

/// Items, and everything that their views point into.
#[derive(Default)]
pub(crate) struct Items {
    items: Vec<fanfare_item>,
    frames: Vec<Frame>,
    texts: Vec<Box<str>>,
    bytes: Vec<Bytes>,
    #[allow(clippy::vec_box, reason = "items point to the views, which must not move")]
    requests: Vec<Box<RequestView>>,
}

// SAFETY: the views point into what the same value owns and nobody changes.
unsafe impl Send for Items {}
// SAFETY: as above.
unsafe impl Sync for Items {}

impl Items {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[fanfare_item] {
        &self.items
    }

    /// Adds an event or a gap notice.
    pub(crate) fn push_frame(&mut self, handle: u64, user: u64, frame: Frame) {
        let data = match frame.data() {
            // One line: it stands in the frame's own bytes.
            std::borrow::Cow::Borrowed(line) => fanfare_str::of(line),
            std::borrow::Cow::Owned(lines) => {
                let lines = lines.into_boxed_str();
                let view = fanfare_str::of(&lines);
                self.texts.push(lines);
                view
            }
        };
        self.items.push(fanfare_item {
            kind: if frame.is_gap() { FANFARE_ITEM_GAP } else { FANFARE_ITEM_EVENT },
            topic: fanfare_str::of(frame.topic()),
            id: fanfare_str::of(frame.id()),
            event: frame.event().map_or(fanfare_str::NONE, fanfare_str::of),
            data,
            position: frame.seq(),
            ..item(handle, user)
        });
        // Shared, so its bytes do not move with it.
        self.frames.push(frame);
    }

    /// Adds bytes of a stream.
    pub(crate) fn push_bytes(&mut self, handle: u64, user: u64, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let data = fanfare_str::of_bytes(&bytes);
        self.items.push(fanfare_item { kind: FANFARE_ITEM_BYTES, data, ..item(handle, user) });
        self.bytes.push(bytes);
    }

    /// Adds a notice that there is something to pull.
    pub(crate) fn push_ready(&mut self, handle: u64, user: u64) {
        self.items.push(fanfare_item { kind: FANFARE_ITEM_READY, ..item(handle, user) });
    }

    /// Adds the end of something.
    pub(crate) fn push_end(&mut self, handle: u64, user: u64, code: fanfare_status) {
        self.items.push(fanfare_item { kind: FANFARE_ITEM_END, code, ..item(handle, user) });
    }

    pub(crate) fn push_control(&mut self, control: Control) {
        match control {
            Control::End { handle, user, code } => self.push_end(handle, user, code),
            Control::Request { handle, request } => {
                let view = RequestView::new(request);
                let request = &raw const view.view;
                self.items.push(fanfare_item { kind: FANFARE_ITEM_REQUEST, request, ..item(handle, 0) });
                self.requests.push(view);
            }
        }
    }
}

fn item(handle: u64, user: u64) -> fanfare_item {
    fanfare_item {
        size: size_of::<fanfare_item>(),
        kind: 0,
        code: 0,
        handle,
        user,
        topic: fanfare_str::NONE,
        id: fanfare_str::NONE,
        event: fanfare_str::NONE,
        data: fanfare_str::NONE,
        position: 0,
        request: ptr::null(),
    }
}
