//! A reader who comes, and what handlers say about him.

use crate::draft::Draft;

/// A reader who wants to subscribe, as a handler sees him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor<'a> {
    /// Those of his topics that the handler wants, at least one.
    pub topics: Vec<&'a str>,
    /// The event types that he wants to read; none means all.
    pub events: Vec<&'a str>,
    /// His name, if he has one.
    pub client: Option<&'a str>,
    /// The id that he resumes after.
    pub last_event_id: Option<&'a str>,
}

/// What a handler says about a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// He reads what he has asked for.
    Admit,
    /// He reads these first and then what is published from now on, wherever he wanted to start. They are for him alone,
    /// name topics of his that the handler wants, and have no id of their own: theirs is that of the place between
    /// what they tell of and what follows.
    Greet(Vec<Draft<'static>>),
    /// He does not read, and is told why.
    Refuse(String),
}
