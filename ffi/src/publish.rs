//! Publishing.

use std::borrow::Cow;
use std::ffi::c_char;
use std::fmt::{self, Write};

use ::fanfare_hub::engine::{Code, Draft, PublishError, Published};

use crate::abi::{self, Extensible, fanfare_str, list, read, write};
use crate::failure::Failure;
use crate::guard::call;
use crate::hub::{fanfare_hub, find};
use crate::instance::Instance;
use crate::status::{FANFARE_OK, fanfare_error, fanfare_status};

/// `fanfare_event.retry_ms` counts, also when it is 0.
pub const FANFARE_EVENT_RETRY: u32 = 1;

/// An event to publish. Every text is UTF-8 and is copied before the call returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_event {
    /// `sizeof(fanfare_event)`.
    pub size: usize,
    /// Where it goes: 1 to 255 bytes without control characters, compared byte for byte.
    pub topic: fanfare_str,
    /// The payload, up to `limits.event_bytes`. CRLF and CR reach readers as LF. Absent is empty.
    pub data: fanfare_str,
    /// The event type; absent means `message`. 1 to 255 bytes without control characters, not `fanfare.*`.
    pub event: fanfare_str,
    /// Your own id, 1 to 128 of `A-Z a-z 0-9 . _ ~ -`; absent means that the hub gives one.
    pub id: fanfare_str,
    /// The client that does not get it, usually its sender; absent means everybody does.
    pub except: fanfare_str,
    /// What the lag policy `conflate` keeps the latest of; absent means the event type.
    pub key: fanfare_str,
    /// How long readers wait before they connect again, in milliseconds, up to one day; with `FANFARE_EVENT_RETRY`.
    pub retry_ms: u64,
    /// `FANFARE_EVENT_*`.
    pub flags: u32,
    /// Leave 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_event {
    const NAME: &'static str = "fanfare_event";
}

impl fanfare_event {
    /// # Safety
    /// Every view is readable while the draft lives.
    unsafe fn draft<'a>(&self) -> Result<Draft<'a>, Failure> {
        if self.flags & !FANFARE_EVENT_RETRY != 0 || self.reserved != 0 {
            return Err(Failure::new(
                Code::TooNew,
                "fanfare_event has flags that this version does not know",
            ));
        }
        // SAFETY: by contract.
        unsafe {
            Ok(Draft {
                topic: Cow::Borrowed(self.topic.required("topic", Code::InvalidTopic)?),
                data: Cow::Borrowed(self.data.text("data", Code::InvalidData)?.unwrap_or("")),
                event: self.event.text("event", Code::InvalidEvent)?.map(Cow::Borrowed),
                id: self.id.text("id", Code::InvalidId)?.map(Cow::Borrowed),
                except: self.except.text("except", Code::InvalidClient)?.map(Cow::Borrowed),
                key: self.key.text("key", Code::InvalidKey)?.map(Cow::Borrowed),
                retry: (self.flags & FANFARE_EVENT_RETRY != 0).then_some(self.retry_ms),
            })
        }
    }
}

/// Room for an id and its NUL.
pub const FANFARE_ID_BYTES: usize = 136;

/// What publishing has done.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the C name")]
pub struct fanfare_published {
    /// `sizeof(fanfare_published)`, set by the caller.
    pub size: usize,
    /// Position of the last event that it became, in the hub's one sequence.
    pub position: u64,
    /// How many events it became: 1, or what handlers made of it.
    pub events: u32,
    /// Bytes of the id, without the NUL.
    pub id_len: u32,
    /// Id of the last event that it became, with a NUL behind it.
    pub id: [c_char; FANFARE_ID_BYTES],
}

// SAFETY: repr(C), size first, and zero is valid in every field.
unsafe impl Extensible for fanfare_published {
    const NAME: &'static str = "fanfare_published";
}

fn published(hub: &Instance, done: &Published) -> fanfare_published {
    let mut id = Id { text: [0; FANFARE_ID_BYTES], len: 0 };
    // Writing to it cannot fail.
    let _ = match &done.own_id {
        Some(own) => id.write_str(own),
        None => write!(id, "{}", hub.engine.id_of(done.seq)),
    };
    fanfare_published {
        size: 0,
        position: done.seq,
        events: u32::try_from(done.events).unwrap_or(u32::MAX),
        id_len: id.len as u32,
        id: id.text,
    }
}

/// An id as it is written, with a NUL behind it: it has at most 128 bytes, so there is room.
struct Id {
    text: [c_char; FANFARE_ID_BYTES],
    len: usize,
}

impl Write for Id {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = &mut self.text[self.len..FANFARE_ID_BYTES - 1];
        for (place, &byte) in room.iter_mut().zip(part.as_bytes()) {
            *place = byte as c_char;
        }
        self.len += part.len().min(room.len());
        Ok(())
    }
}

pub(crate) fn refused(error: PublishError) -> Failure {
    Failure::new(error.code(), error)
}

/// Publishes one event. Never waits for a reader. When this returns every reader can see it; nobody has necessarily got it yet.
/// *Borrows* everything. `done` may be NULL. Any thread.
///
/// Errors: `INVALID_TOPIC`, `INVALID_DATA`, `INVALID_EVENT`, `INVALID_ID`, `INVALID_CLIENT`, `INVALID_KEY`, `INVALID_RETRY`, `TOO_LARGE`, `TOPIC_CLOSED`,
/// `LIMIT_TOPICS`, `HANDLER_REFUSED`, `HANDLER_FAILED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`, `TOO_NEW`. Nothing
/// has been published then.
///
/// # Safety
/// `event` is NULL or as `fanfare_event` says, with readable views; `done` is NULL or as `fanfare_published` says; `err` is
/// NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish(
    hub: *mut fanfare_hub,
    event: *const fanfare_event,
    done: *mut fanfare_published,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        if event.is_null() {
            return Err(Failure::null("event"));
        }
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let draft = unsafe { read(event)?.draft() }?;
        // SAFETY: by contract.
        unsafe { check_room(done, 1) }?;
        let result = hub.engine.publish(draft, hub.clock.now()).map_err(refused)?;
        if !done.is_null() {
            // SAFETY: by contract.
            unsafe { write(done, &published(&hub, &result)) }?;
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Before anything is published: can its outcome be written?
///
/// # Safety
/// `done` is NULL or an array of `len` structures of which each says its size.
unsafe fn check_room(done: *mut fanfare_published, len: usize) -> Result<(), Failure> {
    if done.is_null() {
        return Ok(());
    }
    for index in 0..len {
        // SAFETY: by contract.
        unsafe { abi::check_room(done.add(index)) }?;
    }
    Ok(())
}

/// Publishes `len` events in one step: all of them or none, with nothing of others in between. `events` is an array of this
/// header's `fanfare_event`, as is `done` of `fanfare_published`; `done` may be NULL. On error `*failed` (may be NULL) is the index of
/// the event that was refused. Otherwise as `fanfare_publish`.
///
/// Errors: also `INVALID_PARAMETER` when the sizes of the structures are not those of this library.
///
/// # Safety
/// As `fanfare_publish`, for each structure; `failed` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_publish_batch(
    hub: *mut fanfare_hub,
    events: *const fanfare_event,
    len: usize,
    done: *mut fanfare_published,
    failed: *mut usize,
    err: *mut fanfare_error,
) -> fanfare_status {
    let refuse = |index: usize| {
        if !failed.is_null() {
            // SAFETY: writable by contract.
            unsafe { failed.write_unaligned(index) };
        }
    };
    let body = || {
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let events = unsafe { list(events, len, "events") }?;
        let mut drafts = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            // An array has one stride: a structure of another size would be read askew.
            let draft = if event.size == size_of::<fanfare_event>() {
                // SAFETY: by contract.
                unsafe { event.draft() }
            } else {
                let size = event.size;
                Err(Failure::format(Code::InvalidParameter, move |f| {
                    write!(f, "fanfare_event.size is {size} in a batch: set it to sizeof(fanfare_event)")
                }))
            };
            drafts.push(draft.inspect_err(|_| refuse(index))?);
        }
        // SAFETY: by contract.
        unsafe { check_room(done, len) }?;
        let results = hub.engine.publish_batch(drafts, hub.clock.now()).map_err(|error| {
            refuse(error.index);
            Failure::new(error.error.code(), error)
        })?;
        if !done.is_null() {
            for (index, result) in results.iter().enumerate() {
                // SAFETY: by contract; there is one result for each event.
                unsafe { write(done.add(index), &published(&hub, result)) }?;
            }
        }
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Closes a topic: readers get what is retained and end, and nobody can publish to it any more. `FANFARE_AGAIN` if it was closed
/// before. With `data` the topic stays closed over restarts, and the call waits for the disk as publishing to the topic does. *Borrows* the name.
///
/// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `NOT_STORED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `topic` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_close_topic(
    hub: *mut fanfare_hub,
    topic: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let topic = unsafe { topic.required("topic", Code::InvalidTopic) }?;
        let closed = hub.engine.close_topic(topic, hub.clock.now()).map_err(refused)?;
        Ok(if closed { FANFARE_OK } else { crate::status::FANFARE_AGAIN })
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}

/// Deletes the events that a topic has, in memory and with `data` on disk. They cannot be read from then on; the space on disk is given back
/// within seconds. The topic goes on, and one that is closed stays closed. Readers that have not got the events are told by a
/// `FANFARE_ITEM_GAP`, also when they come back later. A topic without events is fine. Waits for the disk as publishing to the topic does. *Borrows* the name.
///
/// Errors: `INVALID_TOPIC`, `LIMIT_TOPICS`, `NOT_STORED`, `STOPPING`; `NULL_POINTER`, `STALE_HANDLE`, `FORKED`.
///
/// # Safety
/// `topic` is readable; `err` is NULL or as `fanfare_error` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fanfare_delete_history(
    hub: *mut fanfare_hub,
    topic: fanfare_str,
    err: *mut fanfare_error,
) -> fanfare_status {
    let body = || {
        let hub = find(hub)?;
        hub.running()?;
        // SAFETY: by contract.
        let topic = unsafe { topic.required("topic", Code::InvalidTopic) }?;
        hub.engine.delete_history(topic, hub.clock.now()).map_err(refused)?;
        Ok(FANFARE_OK)
    };
    // SAFETY: by contract.
    unsafe { call(err, body) }
}
