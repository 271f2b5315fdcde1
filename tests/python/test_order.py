"""One order for everybody: many readers, many publishers, and readers that join where events pass by."""

import random
import selectors
import threading

from support.http2 import Http2
from support.sse import Stream

ROOM = {"history.events": 50_000, "history.bytes": "64MiB"}


def read_all(streams, count):
    """Reads all streams until each has `count` events; returns them."""
    events = {stream: [] for stream in streams}
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.sock, selectors.EVENT_READ, stream)
        waiting = set(streams)
        while waiting:
            ready = selector.select(60)
            assert ready, f"{len(waiting)} readers wait"
            for key, _ in ready:
                stream = key.data
                stream.receive()
                events[stream] += stream.take_ready()
                if len(events[stream]) >= count:
                    waiting.discard(stream)
    return list(events.values())


def test_one_publisher_a_hundred_readers(start_hub):
    hub = start_hub(ROOM)
    total = 10_000
    streams = [Stream(hub.address, "/events/t") for _ in range(80)]
    ids = []

    def publish():
        for start in range(0, total, 100):
            ids.extend(hub.publish_all("t", [str(n) for n in range(start, start + 100)]))

    with Http2(hub.address) as connection:
        numbers = [connection.get("/events/t") for _ in range(20)]
        connection.turn_until(lambda: all(connection.received.values()))
        publisher = threading.Thread(target=publish, daemon=True)
        publisher.start()
        by_h1 = read_all(streams, total)
        connection.turn_until(lambda: all(len(connection.events[n]) >= total for n in numbers))
        publisher.join(60)
        by_h2 = [connection.events[number] for number in numbers]
    expected = list(zip(ids, map(str, range(total))))
    assert len(set(ids)) == total
    for reader, events in enumerate(by_h1 + by_h2):
        assert [(event.id, event.data) for event in events] == expected, f"reader {reader}"
    for stream in streams:
        stream.close()


def test_eight_publishers_one_order(start_hub):
    hub = start_hub(ROOM)
    publishers, each = 8, 5_000
    total = publishers * each
    streams = [Stream(hub.address, "/events/t") for _ in range(4)]
    told = [[] for _ in range(publishers)]

    def publish(name):
        source = random.Random(name)
        while len(told[name]) < each:
            size = min(source.randint(1, 100), each - len(told[name]))
            told[name] += hub.publish_all("t", [f"{name} {len(told[name]) + n}" for n in range(size)])

    threads = [threading.Thread(target=publish, args=(name,), daemon=True) for name in range(publishers)]
    for thread in threads:
        thread.start()
    first, *others = read_all(streams, total)
    for thread in threads:
        thread.join(60)
    for other in others:
        assert other == first, "one and the same order"
    assert len({event.id for event in first}) == total
    sequences = [int(event.id.split("-")[1]) for event in first]
    assert sequences == sorted(sequences)
    for name in range(publishers):
        own = [(event.id, event.data) for event in first if event.data.startswith(f"{name} ")]
        assert own == [(id, f"{name} {n}") for n, id in enumerate(told[name])], "each publisher's own order"
    for stream in streams:
        stream.close()


def test_joining_a_busy_topic_leaves_no_hole(start_hub):
    """The seam between replay and live: a thousand readers join by id while events pass, in clear and over HTTP/2."""
    hub = start_hub(ROOM)
    joins, seen_each = 1_000, 60
    # The sequence of ids is that of the events: one topic, one publisher.
    first = hub.publish("t", "0")
    epoch = first.split("-")[0]
    newest = [1]
    done = threading.Event()

    def publish():
        while not done.is_set():
            newest[0] += len(hub.publish_all("t", [str(newest[0] + n) for n in range(3)]))

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    source = random.Random(3)
    try:
        for number in range(joins):
            after = max(1, newest[0] - source.choice([0, 0, 1, 2, 5, 20, 50]))
            id = f"{epoch}-{after}"
            if number % 20:
                with Stream(hub.address, "/events/t", {"Last-Event-ID": id}) as stream:
                    events = stream.take(seen_each)
            else:
                with Http2(hub.address) as connection:
                    asked = connection.get("/events/t", headers=[("last-event-id", id)])
                    connection.turn_until(lambda: len(connection.events[asked]) >= seen_each)
                    events = connection.events[asked][:seen_each]
            assert not any(event.is_gap for event in events)
            assert [int(event.data) for event in events] == list(range(after, after + seen_each)), f"join {number}"
            assert [event.id for event in events] == [f"{epoch}-{after + 1 + n}" for n in range(seen_each)]
    finally:
        done.set()
        publisher.join(60)


def test_several_topics_on_one_stream(start_hub):
    hub = start_hub(ROOM)
    topics = ["a", "b/c", "d e"]
    query = "&".join(f"topic={topic.replace(' ', '%20')}" for topic in topics)
    ids = []
    with Stream(hub.address, f"/events?{query}") as live:
        for n in range(300):
            ids.append(hub.publish(topics[n % 3].replace(" ", "%20"), str(n)))
            hub.publish("other", "not for them")
        expected = list(zip(ids, map(str, range(300))))
        assert [(event.id, event.data) for event in live.take(300)] == expected
    # One id is a complete cursor over all of them.
    for place in (0, 1, 2, 150, 298):
        with Stream(hub.address, f"/events?{query}", {"Last-Event-ID": ids[place]}) as stream:
            assert [(event.id, event.data) for event in stream.take(299 - place)] == expected[place + 1 :]
