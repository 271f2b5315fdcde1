//! Subscribing in process.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Waker;

use ::fanfare_hub::engine::{
    Code, InvalidField, LagPolicy, Start, SubscribeError, SubscribeOptions, Subscription, check_topic,
};

use crate::abi::{Extensible, fanfare_str, list, read};
use crate::bell::Bell;
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::{Instance, Target, stale};
use crate::publish::fanfare_event;
use crate::reader::Reader;
use crate::status::{FANFARE_AGAIN, FANFARE_OK, fanfare_error, fanfare_status};

/// Every retained event, for `replay`.
pub const FANFARE_REPLAY_ALL: u64 = u64::MAX;

/// The hub's option `lag`.
pub const FANFARE_LAG_DEFAULT: u32 = 0;
/// End the reader; it resumes and is told what it missed.
pub const FANFARE_LAG_DISCONNECT: u32 = 1;
/// Tell it by a gap notice and go on.
pub const FANFARE_LAG_SKIP: u32 = 2;
/// Give it the latest event of each key and go on.
pub const FANFARE_LAG_CONFLATE: u32 = 3;

/// The host pulls the events with `fanfare_pull` when it likes; draining gives a `FANFARE_ITEM_READY` only. For hosts whose
/// readers are slower than their loop: what is not pulled stays in history, and the lag policy bounds it.
pub const FANFARE_ON_DEMAND: u32 = 1;

/// What a reader wants.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_subscribe_options {
    /// `sizeof(fanfare_subscribe_options)`.
    pub size: usize,
    /// Topics, at least one. Topics that do not exist are opened.
    pub topics: *const fanfare_str,
    /// How many, up to `limits.topics_per_stream`.
    pub topics_len: usize,
    /// Go on after the event with this id. Absent or empty: see `replay`.
    pub last_event_id: fanfare_str,
    /// Without a `last_event_id`: 0 begins with what is published from now on, N with the last N retained events,
    /// `FANFARE_REPLAY_ALL` with the oldest one.
    pub replay: u64,
    /// Who reads: events published `except` this client are left out. Absent: nobody in particular.
    pub client: fanfare_str,
    /// Event types to read; none means all. `message` stands for events without a type.
    pub events: *const fanfare_str,
    /// How many.
    pub events_len: usize,
    /// `FANFARE_LAG_*`: what happens when the reader falls out of history.
    pub lag: u32,
    /// `FANFARE_ON_DEMAND` or 0.
    pub flags: u32,
    /// Comes back in every item of this subscription or stream.
    pub user: u64,
    /// Streams to clients (`fanfare_adopt`, `fanfare_open_stream`): what this client gets first, before `replay` and before what it has missed, each
    /// time that it comes. Type, data and retry count; topic, id, `except` and key have to be absent, for it goes to this client alone, into no
    /// history, and leaves alone what the client resumes after. An array of this header's `fanfare_event`, of which each says its size.
    pub greeting: *const fanfare_event,
    /// How many, 64 at most, and together no larger than `limits.event_bytes`.
    pub greeting_len: usize,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_subscribe_options {
    const NAME: &'static str = "fanfare_subscribe_options";
}

impl fanfare_subscribe_options {
    /// What the engine is asked for.
    ///
    /// # Safety
    /// Every view and list is readable while the result lives.
    pub(crate) unsafe fn wanted<'a>(
        &self,
        hub: &Instance,
        flags: u32,
    ) -> Result<SubscribeOptions<'a>, Failure> {
        if self.flags & !flags != 0 {
            return Err(Failure::new(
                Code::TooNew,
                "fanfare_subscribe_options has flags that do not apply here",
            ));
        }
        let lag = match self.lag {
            FANFARE_LAG_DEFAULT => hub.lag,
            FANFARE_LAG_DISCONNECT => LagPolicy::Disconnect,
            FANFARE_LAG_SKIP => LagPolicy::Skip,
            FANFARE_LAG_CONFLATE => LagPolicy::Conflate,
            other => {
                return Err(Failure::format(Code::InvalidParameter, move |f| {
                    write!(f, "lag {other}: expected one of FANFARE_LAG_*")
                }));
            }
        };
        // SAFETY: by contract.
        unsafe {
            let last_event_id = self.last_event_id.text("last_event_id", Code::InvalidId)?;
            let start = match (last_event_id.filter(|id| !id.is_empty()), self.replay) {
                (Some(id), _) => Start::After(Cow::Borrowed(id)),
                (None, 0) => Start::Live,
                (None, FANFARE_REPLAY_ALL) => Start::All,
                (None, count) => Start::Last(count),
            };
            Ok(SubscribeOptions {
                topics: texts(self.topics, self.topics_len, "topics", Code::InvalidTopic)?,
                start,
                client: self.client.text("client", Code::InvalidClient)?.map(Cow::Borrowed),
                events: texts(self.events, self.events_len, "events", Code::InvalidEvent)?,
                lag,
            })
        }
    }
}

/// Most names in one list: nobody means more, and a length that was never set is seldom less.
const MAX_NAMES: usize = 1 << 20;

/// # Safety
/// The list and its views are readable while the result lives.
unsafe fn texts<'a>(
    items: *const fanfare_str,
    len: usize,
    name: &'static str,
    code: Code,
) -> Result<Vec<Cow<'a, str>>, Failure> {
    if len > MAX_NAMES {
        return Err(Failure::format(code, move |f| write!(f, "{name}: {len} are more than {MAX_NAMES}")));
    }
    // SAFETY: by contract.
    let items = unsafe { list(items, len, name) }?;
    // SAFETY: by contract.
    items.iter().map(|item| unsafe { item.required(name, code) }.map(Cow::Borrowed)).collect()
}

pub(crate) fn refused(error: SubscribeError) -> Failure {
    Failure::new(error.code(), error)
}

pub(crate) fn invalid(error: InvalidField) -> Failure {
    Failure::new(error.code(), error)
}

/// Reads topics in this process. The events come by `fanfare_drain`, or with `FANFARE_ON_DEMAND` by `fanfare_pull`; `*id` names the
/// subscription until its `FANFARE_ITEM_END` or `fanfare_unsubscribe`. *Borrows* everything. Any thread.
///
/// Errors: `INVALID_TOPIC`, `INVALID_ID`, `INVALID_EVENT`, `INVALID_CLIENT`, `INVALID_PARAMETER`, `LIMIT_TOPICS`; `TOPIC_CLOSED` when there will
/// never be anything to read; `HANDLER_REFUSED`, `HANDLER_FAILED`; `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`. Nothing has changed then.
///
/// # Safety
/// `options` is NULL or as `fanfare_subscribe_options` says, with readable views; `id` is NULL or writable; `err` is NULL or
/// as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_subscribe(
    hub: *mut fanfare_hub,
    options: *const fanfare_subscribe_options,
    id: *mut u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if options.is_null() {
            return Err(Failure::null("options"));
        }
        if id.is_null() {
            return Err(Failure::null("id"));
        }
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let (options, wanted) = unsafe {
            let options = read(options)?;
            (options, options.wanted(&hub, FANFARE_ON_DEMAND)?)
        };
        if options.greeting_len != 0 {
            return Err(Failure::new(
                Code::InvalidParameter,
                "a greeting is for streams to clients, not for a subscription in the process",
            ));
        }
        let bell = Bell::new(&hub.queue);
        let watcher = hub.engine.watcher();
        watcher.set_waker(&Waker::from(Arc::clone(&bell)));
        let subscription = hub.engine.subscribe(&watcher, &wanted, hub.clock.now()).map_err(refused)?;
        let on_demand = options.flags & FANFARE_ON_DEMAND != 0;
        let reader = Arc::new(Reader::new(subscription, watcher, Arc::clone(&bell), options.user, on_demand));
        let name = hub.ids.insert_with(|id| (Target::Reader(Arc::clone(&reader)), id));
        bell.name(name);
        reader.announce();
        if hub.running().is_err() {
            // It came too late for the stop to find it.
            hub.forget(name)?;
            hub.running()?;
        }
        // SAFETY: not NULL, and writable by contract.
        unsafe { id.write_unaligned(name) };
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Works on the subscription that `id` names.
fn with_subscription<R>(
    hub: &Instance,
    id: u64,
    work: impl FnOnce(&Subscription) -> R,
) -> Result<R, Failure> {
    match hub.target(id)? {
        Target::Reader(reader) => reader.with(work).ok_or_else(|| stale(id)),
        _ => Err(not_a_subscription()),
    }
}

fn not_a_subscription() -> Failure {
    Failure::new(Code::InvalidParameter, "this id is not a subscription's")
}

/// Reads one more topic on a subscription, from now on. `FANFARE_AGAIN` if it is read already. *Borrows* the name.
///
/// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `TOPIC_CLOSED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `topic` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_add_topic(
    hub: *mut fanfare_hub,
    id: u64,
    topic: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let topic = unsafe { topic.required("topic", Code::InvalidTopic) }?;
        let now = hub.clock.now();
        let added = with_subscription(&hub, id, |subscription| subscription.add_topic(topic, now))?;
        Ok(if added.map_err(refused)? { FANFARE_OK } else { FANFARE_AGAIN })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Reads a topic no more: nothing of it is given by any drain or pull that begins after this call. `FANFARE_AGAIN` if it was not read.
/// A subscription without topics stays open. *Borrows* the name.
///
/// Errors: `INVALID_TOPIC`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `topic` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_remove_topic(
    hub: *mut fanfare_hub,
    id: u64,
    topic: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        // SAFETY: by contract.
        let topic = unsafe { topic.required("topic", Code::InvalidTopic) }?;
        check_topic(topic).map_err(invalid)?;
        let removed = with_subscription(&hub, id, |subscription| subscription.remove_topic(topic))?;
        Ok(if removed { FANFARE_OK } else { FANFARE_AGAIN })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Ends a subscription: its id is stale from now on, and no drain or pull that begins after this call gives anything of it. A
/// thread that waits in `fanfare_pull` for it returns with `STALE_HANDLE`. Any thread.
///
/// Errors: `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_unsubscribe(
    hub: *mut fanfare_hub,
    id: u64,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        match hub.target(id)? {
            Target::Reader(_) => hub.forget(id)?,
            _ => return Err(not_a_subscription()),
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
