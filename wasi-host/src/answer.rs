//! What a handler's answers mean for the engine, and which of them it could not take.

use std::fmt;

use fanfare_engine::{
    Draft, InvalidField, RESERVED_EVENT_PREFIX, Verdict, Visitor, check_event_type, check_topic, is_valid_id,
};

use crate::contract::{EventOut, Outcome};
use crate::fault::{FaultKind, WasmFault};
use crate::meter::Answer;

/// What an answer means for the engine.
pub(crate) fn verdict(event: &Draft<'_>, outcome: Outcome) -> Result<(Answer, Verdict), WasmFault> {
    Ok(match outcome {
        Outcome::Pass => (Answer::Pass, Verdict::Pass),
        Outcome::Drop => (Answer::Drop, Verdict::Drop),
        Outcome::Replace(data) => {
            let changed = Draft { data: data.into(), ..event.clone() };
            (Answer::Replace, Verdict::Replace(changed.into_owned()))
        }
        Outcome::Emit(events) => (Answer::Emit, Verdict::Emit(drafts(events)?)),
        Outcome::Reject(reason) => (Answer::Reject, Verdict::Refuse(reason)),
    })
}

/// Events that a handler has made, as the engine takes them.
pub(crate) fn drafts(events: Vec<EventOut>) -> Result<Vec<Draft<'static>>, WasmFault> {
    let drafts: Vec<_> = events.into_iter().map(EventOut::into_draft).collect();
    drafts.iter().try_for_each(publishable)?;
    Ok(drafts)
}

/// Events that a reader is greeted with.
pub(crate) fn greeting(
    visitor: &Visitor<'_>,
    events: Vec<EventOut>,
) -> Result<Vec<Draft<'static>>, WasmFault> {
    let wrong = |why: String| {
        let text = format!("it greets with an event that cannot be sent: {why}");
        Err(WasmFault::new(FaultKind::Answer, text))
    };
    let drafts = drafts(events)?;
    for draft in &drafts {
        if !visitor.topics.contains(&&*draft.topic) {
            return wrong(format!("its topic {:?} is not of the subscriber's topics", draft.topic));
        }
        if draft.id.is_some() {
            return wrong("it has an id, which only the hub can give it".to_owned());
        }
    }
    Ok(drafts)
}

/// Whether the engine would take it: the engine would blame the publisher for what is the handler's fault.
fn publishable(draft: &Draft<'_>) -> Result<(), WasmFault> {
    let wrong = |why: &dyn fmt::Display| {
        Err(WasmFault::new(FaultKind::Answer, format!("it made an event that cannot be published: {why}")))
    };
    let field = |checked: Result<(), InvalidField>| checked.or_else(|error| wrong(&error));
    field(check_topic(&draft.topic))?;
    if let Some(kind) = &draft.event {
        field(check_event_type(kind))?;
        if kind.starts_with(RESERVED_EVENT_PREFIX) {
            return wrong(&format_args!("its kind begins with {RESERVED_EVENT_PREFIX:?}"));
        }
    }
    match &draft.id {
        Some(id) if !is_valid_id(id) => wrong(&"its id may only hold 1 to 128 of A-Z a-z 0-9 . _ ~ -"),
        _ => Ok(()),
    }
}
