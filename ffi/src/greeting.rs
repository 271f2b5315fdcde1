//! What a host says to one client before everything else.

use ::fanfare_hub::embed::Greeting;
use ::fanfare_hub::engine::Code;

use crate::abi::list;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::publish::{FANFARE_EVENT_RETRY, fanfare_event};
use crate::subscribe::{fanfare_subscribe_options, invalid};

/// Most events of one greeting: it is a hello and not a history.
const MAX_EVENTS: usize = 64;

/// The greeting of `options`.
///
/// # Safety
/// The list and the views of its events are readable.
pub(crate) unsafe fn greeting(
    options: &fanfare_subscribe_options,
    hub: &Instance,
) -> Result<Greeting, Failure> {
    let len = options.greeting_len;
    if len > MAX_EVENTS {
        return Err(Failure::format(Code::InvalidParameter, move |f| {
            write!(f, "greeting: {len} events are more than {MAX_EVENTS}")
        }));
    }
    // SAFETY: by contract.
    let events = unsafe { list(options.greeting, len, "greeting") }?;
    let mut greeting = Greeting::default();
    for (index, event) in events.iter().enumerate() {
        // SAFETY: by contract.
        unsafe { add(&mut greeting, index, event) }?;
    }
    let (bytes, limit) = (greeting.wire().len(), hub.engine.config().limits.event_bytes);
    if bytes as u64 > limit {
        return Err(Failure::format(Code::TooLarge, move |f| {
            write!(f, "greeting: {bytes} bytes are more than limits.event_bytes ({limit})")
        }));
    }
    Ok(greeting)
}

/// # Safety
/// The event's views are readable.
unsafe fn add(greeting: &mut Greeting, index: usize, event: &fanfare_event) -> Result<(), Failure> {
    let size = event.size;
    // An array has one stride.
    if size != size_of::<fanfare_event>() {
        return Err(Failure::format(Code::InvalidParameter, move |f| {
            write!(f, "greeting[{index}].size is {size}: set it to sizeof(fanfare_event)")
        }));
    }
    if event.flags & !FANFARE_EVENT_RETRY != 0 || event.reserved != 0 {
        return Err(Failure::new(Code::TooNew, "fanfare_event has flags that this version does not know"));
    }
    for (name, text) in
        [("topic", event.topic), ("id", event.id), ("except", event.except), ("key", event.key)]
    {
        if !text.ptr.is_null() || text.len != 0 {
            return Err(Failure::format(Code::InvalidParameter, move |f| {
                write!(
                    f,
                    "greeting[{index}].{name}: leave it out, for it goes to one reader and into no history"
                )
            }));
        }
    }
    // SAFETY: by contract.
    let (kind, data) = unsafe {
        (event.event.text("event", Code::InvalidEvent)?, event.data.text("data", Code::InvalidData)?)
    };
    let retry = (event.flags & FANFARE_EVENT_RETRY != 0).then_some(event.retry_ms);
    greeting.add(kind, data.unwrap_or(""), retry).map_err(invalid)
}
