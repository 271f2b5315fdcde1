//! Events that a handler makes because time has passed.

use super::{Engine, PublishError};
use crate::handler::Held;
use crate::time::Timestamp;

impl Engine {
    /// Lets the handler of that name make events because time has passed, and publishes what it makes and what the
    /// handlers behind it leave of that, in one step; how many events that is. 0 also if there is no such handler.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has been published then, and no state has changed.
    pub fn tick_handler(&self, name: &str, now: Timestamp) -> Result<usize, PublishError> {
        let core = &*self.0;
        let now = core.at(now);
        let chain = core.chain();
        let mut held = Held::default();
        let Some((behind, drafts)) = chain.tick(name, now, &mut held)? else { return Ok(0) };
        let made = drafts.len() as u64;
        let events = chain.run_behind(behind, drafts, now, &mut held).map_err(|(_, error)| error);
        let published = events.map_err(PublishError::Handler).and_then(|events| {
            events.iter().try_for_each(|(_, event)| self.admit(event))?;
            if !events.is_empty() || held.has_state() {
                // Counted below, if it is refused.
                let started = self.commit_many(&events, held, 0, now).map_err(|refused| refused.error)?;
                started.wait()?;
            }
            Ok(events.len())
        });
        if published.is_err() {
            core.counters.refused(made);
        }
        published
    }
}
