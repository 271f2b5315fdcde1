//! Readers over HTTP and the handlers that are asked about them: refusals, greetings, and the stream behind one.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use fanfare_engine::{
    Code, Draft, Fault, Handler, HandlerSpec, OnFault, SubscribeOptions, Timestamp, TopicPattern, Turn,
    Verdict, Visitor, Welcome,
};
use support::{Hub, wait_until};

/// Counts events, greets with the count, and does not like everybody.
#[derive(Default)]
struct Count(AtomicU64);

impl Handler for Count {
    fn handle(&self, draft: &Draft<'_>, _: Timestamp, _: &mut Turn) -> Result<Verdict, Fault> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Verdict::Emit(vec![Draft::new(draft.topic.to_string(), count.to_string())]))
    }

    fn welcomes(&self) -> bool {
        true
    }

    fn welcome(&self, visitor: &Visitor<'_>, _: Timestamp, _: &mut Turn) -> Result<Welcome, Fault> {
        match visitor.client {
            Some("stranger") => Ok(Welcome::Refuse("members\nonly".into())),
            Some("trouble") => Err(Fault("it broke".into())),
            Some("silent") => Ok(Welcome::Admit),
            _ => {
                let data =
                    format!("{}{}", self.0.load(Ordering::Relaxed), visitor.last_event_id.unwrap_or(""));
                Ok(Welcome::Greet(vec![Draft::new("votes", data).with_event("snapshot")]))
            }
        }
    }
}

fn hub() -> Hub {
    let hub = Hub::start();
    hub.engine.add_handler(HandlerSpec {
        name: "count".into(),
        topics: TopicPattern::parse("votes"),
        events: Box::default(),
        on_fault: OnFault::Closed,
        handler: Arc::new(Count::default()),
    });
    hub
}

#[test]
fn a_refused_reader_gets_a_403_with_the_reason() {
    let hub = hub();
    for target in ["/events/votes?client=stranger", "/events?topic=chat&topic=votes&client=stranger"] {
        let refused = hub.request("GET", target, "");
        assert_eq!((refused.status, &*refused.code()), (403, "handler_refused"));
        assert_eq!(refused.error("message"), "handler count refused the reader: members\nonly");
    }
    let failed = hub.request("GET", "/events/votes?client=trouble", "");
    assert_eq!(
        (failed.status, &*failed.code(), failed.header("retry-after")),
        (503, "handler_failed", Some("5"))
    );
    assert!(hub.stream("/events/chat?client=stranger").more(), "that topic is not the handler's");
    wait_until("no stream is left", || hub.engine.stats().subscriptions == 0);
}

/// A browser's EventSource gives up for ever on an error: of a failure it hears only that it should come back.
#[test]
fn an_event_source_comes_back_after_a_failure() {
    let hub = hub();
    let mut stream = hub.stream_with("/events/votes?client=trouble", "Accept: text/event-stream\r\n");
    assert_eq!(stream.next_event(), None, "it ended");
}

/// On a lane, over HTTP/1.0, and beside readers that share its cursor: the greeting is the first event and for one alone.
#[test]
fn a_greeting_is_the_first_event_of_its_stream() {
    let hub = hub();
    for data in ["a", "b"] {
        hub.publish("votes", data);
    }
    let mut old = hub.stream("/events/votes?client=silent");
    old.more();
    let mut first = hub.stream("/events/votes?replay=all");
    let mut second = hub.stream_with("/events?topic=chat&topic=votes", "Last-Event-ID: gone\r\n");
    let greeting = first.event();
    assert_eq!((&*greeting.event, &*greeting.data), ("snapshot", "2"));
    assert!(greeting.last_event_id.ends_with("-2"), "{greeting:?}");
    assert_eq!(second.event().data, "2gone");
    hub.publish("votes", "c");
    for stream in [&mut first, &mut second, &mut old] {
        assert_eq!(stream.event().data, "3", "and nothing between");
    }
    let mut third = hub.stream("/events/votes");
    assert_eq!(third.event().data, "3");
    let again = format!("Last-Event-ID: {}\r\n", greeting.last_event_id);
    let mut back = hub.stream_with("/events/votes?client=silent", &again);
    assert_eq!(back.event().data, "3", "its id is one to resume after");
    assert_eq!(hub.stat("/deliveries/gaps"), 0);
}

/// A stream that the host writes, as those over HTTP/2 and TLS, which are made the same way.
#[test]
fn a_stream_of_the_hosts_own_is_greeted() {
    let hub = hub();
    let options = |client: &'static str| SubscribeOptions {
        topics: vec!["votes".into()],
        client: Some(client.into()),
        ..Default::default()
    };
    hub.publish("votes", "a");
    let mut stream = hub.server.open_stream(&options("guest")).expect("admitted");
    hub.publish("votes", "b");
    let mut text = String::new();
    while !text.contains("data: 2") {
        match stream.poll_bytes(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(bytes)) => text.push_str(std::str::from_utf8(&bytes).expect("UTF-8")),
            other => panic!("{other:?} behind {text:?}"),
        }
    }
    let events: Vec<&str> = text.lines().filter(|line| line.starts_with("data: ")).collect();
    assert_eq!(events, ["data: 1", "data: 2"]);
    let error = hub.server.open_stream(&options("stranger")).expect_err("refused");
    assert_eq!(error.code(), Code::HandlerRefused);
    assert_eq!(error.to_string(), "handler count refused the reader: members\nonly");
}

/// Readers come while others publish: what each sees is one count without a hole, whatever its lane does.
#[test]
fn streams_are_one_count_from_the_greeting_on() {
    let hub = hub();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..2_000).for_each(|_| drop(hub.publish("votes", "x"))));
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut stream = hub.stream("/events/votes");
                    let counts: Vec<u64> = std::iter::repeat_with(|| stream.event())
                        .map(|event| event.data.parse().expect("a count"))
                        .take_while(|count| *count < 4_000)
                        .take(10)
                        .collect();
                    let expected: Vec<u64> = counts.first().map_or(0..0, |first| *first..4_000).collect();
                    assert_eq!(counts, expected[..counts.len()]);
                }
            });
        }
    });
}
