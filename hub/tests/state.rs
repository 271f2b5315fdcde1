//! What handlers keep in a hub of this process: with a data directory it outlives them, without it ends with them.
#![cfg(feature = "wasm-jit")]

use std::path::Path;
use std::time::Duration;

use fanfare_hub::engine::{Draft, Pulled, Start, SubscribeOptions};
use fanfare_hub::{HandlerSource, Hub, Loader};

/// Counts, and says the count.
const COUNT: &str = "import { kv } from 'fanfare:handler';
    export const transform = (event) => `${event.data} ${kv.increment('n')}`;";
/// The same in other words.
const AGAIN: &str = "import { kv } from 'fanfare:handler';
    export const transform = (event) => `${event.data} again ${kv.increment('n')}`;";

fn hub(data: Option<&Path>) -> Hub {
    let mut loader = Loader::new();
    loader.begin_flags();
    loader.flag("test", "listen", "127.0.0.1:0").expect("listen");
    if let Some(data) = data {
        loader.flag("test", "data", data.to_str().expect("UTF-8")).expect("data");
    }
    Hub::start(loader.finish().expect("sound")).expect("it starts")
}

fn load(hub: &Hub, name: &str, topics: &str, text: &str) -> String {
    hub.load_handler(topics, HandlerSource::Bytes { name, bytes: text.as_bytes() }).expect("it loads")
}

/// What becomes of an event.
fn said(hub: &Hub, topic: &str) -> String {
    let watcher = hub.engine().watcher();
    let options = SubscribeOptions { topics: vec![topic.into()], start: Start::Live, ..Default::default() };
    let reader = hub.subscribe(&watcher, &options).expect("can be read");
    hub.publish(Draft::new(topic, "x")).expect("is taken");
    let mut frames = Vec::new();
    while reader.pull(&mut frames, usize::MAX) == Pulled::More {}
    let text = String::from_utf8_lossy(frames[0].wire()).into_owned();
    text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data").to_owned()
}

#[test]
fn it_is_found_by_name_and_outlives_handlers_and_hubs() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = hub(Some(dir.path()));
    assert_eq!(load(&first, "count", "a", COUNT), "count");
    assert_eq!(load(&first, "count", "b", COUNT), "count-2");
    assert_eq!([said(&first, "a"), said(&first, "a"), said(&first, "b")], ["x 1", "x 2", "x 1"]);
    assert!(first.unload_handler("count"));
    assert_eq!(said(&first, "a"), "x");
    assert_eq!(load(&first, "count", "a", AGAIN), "count");
    assert_eq!([said(&first, "a"), said(&first, "b")], ["x again 3", "x 2"]);
    first.stop(Duration::ZERO);
    let second = hub(Some(dir.path()));
    assert_eq!([load(&second, "other", "c", COUNT), load(&second, "count", "a", COUNT)], ["other", "count"]);
    assert_eq!([said(&second, "a"), said(&second, "c")], ["x 4", "x 1"]);
    second.stop(Duration::ZERO);
}

#[test]
fn without_a_folder_it_ends_with_the_handler() {
    let hub = hub(None);
    load(&hub, "count", "a", COUNT);
    assert_eq!([said(&hub, "a"), said(&hub, "a")], ["x 1", "x 2"]);
    assert!(hub.unload_handler("count"));
    load(&hub, "count", "a", COUNT);
    assert_eq!(said(&hub, "a"), "x 1");
    hub.stop(Duration::ZERO);
}

#[test]
fn a_name_that_nothing_can_be_kept_under_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let hub = hub(Some(dir.path()));
    for name in ["", &"n".repeat(256)] {
        let source = HandlerSource::Bytes { name, bytes: COUNT.as_bytes() };
        let error = hub.load_handler("a", source).expect_err("no name to keep state under");
        let says = format!("its name has {} bytes, and state is kept under 1 to 255", name.len());
        assert!(error.to_string().contains(&says), "{error}");
    }
    hub.stop(Duration::ZERO);
}
