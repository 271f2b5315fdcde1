//! What the benches of the engine's parts share. Run them with `cargo bench -p fanfare-parts`; criterion reports in
//! `target/criterion`.

use fanfare_engine::{
    Config, Draft, Engine, Epoch, Frame, Pulled, Start, SubscribeOptions, Subscription, Timestamp,
};

/// Bytes of an event's data, as in the load bench.
pub const SIZE: usize = 100;

/// An engine with room for many topics.
///
/// # Panics
/// If its configuration were refused.
#[must_use]
pub fn engine() -> Engine {
    let mut config = Config::new(Epoch::from_seed(1));
    config.limits.topics = 200_000;
    Engine::new(config).expect("a valid configuration")
}

/// Publishes one event.
///
/// # Panics
/// If it is refused.
pub fn publish(engine: &Engine, topic: &str, data: &str) {
    engine.publish(Draft::new(topic, data), Timestamp(0)).expect("a valid event");
}

/// A reader with a watcher of its own, as every in-process subscriber has.
///
/// # Panics
/// If it is refused.
#[must_use]
pub fn subscribe(engine: &Engine, topic: &str, start: Start<'_>) -> Subscription {
    let options = SubscribeOptions { topics: vec![topic.into()], start, ..Default::default() };
    engine.subscribe(&engine.watcher(), &options, Timestamp(0)).expect("a subscription")
}

/// Pulls everything there is into `frames`, which is emptied first.
///
/// # Panics
/// If the subscription has ended or was left behind.
pub fn drain(reader: &Subscription, frames: &mut Vec<Frame>) {
    frames.clear();
    loop {
        match reader.pull(frames, usize::MAX) {
            Pulled::Idle => return,
            Pulled::More => {}
            other => panic!("the reader got {other:?}"),
        }
    }
}
