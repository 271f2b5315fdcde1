//! What a publisher holds of a transaction.

use crate::error::Result;
use crate::queue::Outcome;

/// A transaction that has its positions. See [`Store::wait`](crate::Store::wait).
#[derive(Clone, Debug)]
#[must_use = "whether the transaction is stored is known after `wait` only"]
pub struct Ticket {
    /// The position of its first event; the others follow without holes.
    pub first: u64,
    /// How many events it has.
    pub events: u64,
    pub(crate) outcome: Option<Outcome>,
}

impl Ticket {
    /// What became of it; `None` while that is open. If it is stored, it is known of all before it.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<()>> {
        match &self.outcome {
            None => Some(Ok(())),
            Some(outcome) => outcome.get(),
        }
    }

    /// Whether that was clear when it was submitted, as where nobody waits for the disk.
    #[must_use]
    pub fn is_settled_at_once(&self) -> bool {
        self.outcome.is_none()
    }
}
