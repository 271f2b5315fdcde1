//! Drops what is of a type that the operator does not want: `handler.config = ["drop=debug trace"]`, read once.

use std::cell::RefCell;

use fanfare_handler::{Event, Outcome, config, handler};

handler!(transform, init = start);

thread_local! {
    static UNWANTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn start() -> Result<(), String> {
    let listed = config::get("drop").ok_or("set handler.config to [\"drop=KIND ..\"]")?;
    UNWANTED.with(|unwanted| unwanted.borrow_mut().extend(listed.split_whitespace().map(str::to_owned)));
    Ok(())
}

fn transform(event: Event) -> Outcome {
    let kind = event.kind.unwrap_or_default();
    match UNWANTED.with(|unwanted| unwanted.borrow().contains(&kind)) {
        true => Outcome::Drop,
        false => Outcome::Pass,
    }
}
