//! What a handler keeps, while a publish passes it.

use std::any::Any;
use std::fmt;

use crate::journal::StateChanges;

/// A handler's state, open for one publish, tick or reader: from the first call that touches it until the commit. Who has it
/// open keeps others out, so that they build on what is committed. Dropped without [`commit`](Self::commit), it
/// takes back everything that the calls have changed.
pub trait OpenState: Any {
    /// What the calls have changed; none if nothing. Asked only where there is a journal.
    fn changes(&self) -> Option<StateChanges>;

    /// The changes count, and others may open the state. With a journal, it has taken them.
    fn commit(self: Box<Self>);
}

/// The calls of a handler for one publish, tick or reader, which take effect together or not at all: its state, if one
/// of them has opened it.
#[derive(Default)]
pub struct Turn(Option<Box<dyn OpenState>>);

impl Turn {
    /// The handler's state, opened by the first call that asks.
    pub fn get_or_open<S: OpenState>(&mut self, open: impl FnOnce() -> S) -> Option<&mut S> {
        let state: &mut dyn Any = &mut **self.0.get_or_insert_with(|| Box::new(open()));
        state.downcast_mut()
    }

    /// The handler's state, if it is open.
    pub fn get<S: OpenState>(&mut self) -> Option<&mut S> {
        let state: &mut dyn Any = &mut **self.0.as_mut()?;
        state.downcast_mut()
    }

    /// What the calls have changed counts. To be called by who calls a handler himself; dropped, it does not.
    pub fn commit(self) {
        if let Some(state) = self.0 {
            state.commit();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn changes(&self) -> Option<StateChanges> {
        self.0.as_ref()?.changes()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("is_open", &self.is_open()).finish()
    }
}
