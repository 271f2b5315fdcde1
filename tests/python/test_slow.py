"""Readers that stop reading: the others lose nothing, memory keeps its bound, the stuck one gets its policy."""

import json
import selectors

import pytest

from support.http2 import Http2
from support.sse import Stream
from support.wait import wait_until

KIB, MIB = 1 << 10, 1 << 20
EVENT = 16 * KIB
BATCH = 16


def fill(number, size=EVENT):
    return f"{number} ".ljust(size, ".")


def number_of(event):
    return int(event.data.split()[0])


class Live:
    """Many readers that keep up, in one thread: each must get the same bytes."""

    def __init__(self, address, target, count):
        self.streams = [Stream(address, target) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        for stream in self.streams:
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
        self._seen = {stream: 0 for stream in self.streams}

    def read_through(self, number):
        """Reads until every stream has got exactly the events up to `number`."""
        waiting = {stream for stream in self.streams if self._seen[stream] <= number}
        while waiting:
            ready = self._selector.select(60)
            assert ready, f"{len(waiting)} readers wait for event {number}"
            for key, _ in ready:
                stream = key.data
                stream.receive()
                for event in stream.take_ready():
                    assert not event.is_gap and number_of(event) == self._seen[stream]
                    self._seen[stream] += 1
                stream.body = b""
                if self._seen[stream] > number:
                    waiting.discard(stream)

    def close(self):
        self._selector.close()
        for stream in self.streams:
            stream.close()


def publish_in_step(hub, live, total, size=EVENT):
    """Publishes in batches of 256 KiB, each read by everybody live before the next: they cannot fall behind by themselves."""
    batch = BATCH * EVENT // size
    for start in range(0, total, batch):
        events = [{"data": fill(n, size), "key": f"k{n % 8}"} for n in range(start, min(start + batch, total))]
        hub.publish_all("t", events)
        live.read_through(start + len(events) - 1)


def test_others_lose_nothing_and_memory_is_bounded(start_hub):
    readers, stuck = 200, 20
    hub = start_hub({"history.bytes": "1MiB", "timeouts.write": "1h"})
    stalled = [Stream(hub.address, "/events/t", receive_buffer=4 * KIB) for _ in range(stuck)]
    live = Live(hub.address, "/events/t", readers)
    wait_until(lambda: hub.stats()["streams"]["open"] == readers + stuck, "all readers")
    publish_in_step(hub, live, BATCH)
    # What follows counts from here: 200 open sockets and warm buffers.
    before = hub.memory()
    for start in range(BATCH, 30 * BATCH, BATCH):
        hub.publish_all("t", [fill(n) for n in range(start, start + BATCH)])
        live.read_through(start + BATCH - 1)
    growth = hub.memory() - before
    bound = 1 * MIB + 64 * KIB * (readers + stuck)
    assert growth <= bound, f"{growth} bytes more after 7.5 MiB, at most {bound}"
    assert hub.stats()["history"]["bytes"] <= MIB
    live.close()
    for stream in stalled:
        stream.close()
    wait_until(lambda: hub.stats()["streams"]["open"] == 0, "no stream left open")


def test_each_policy(start_hub):
    hub = start_hub({"history.bytes": "1MiB", "timeouts.write": "1h"})
    policies = ["disconnect", "skip", "conflate"]
    stuck = {lag: Stream(hub.address, f"/events/t?lag={lag}", receive_buffer=4 * KIB) for lag in policies}
    live = Live(hub.address, "/events/t", 5)
    # More than the kernel holds for a socket that nobody reads, and the history besides.
    size = 2 * KIB
    total = 20 * MIB // size
    publish_in_step(hub, live, total, size)
    live.close()
    oldest = hub.stats()["topics"]["list"][0]["oldest"]
    retained = int(oldest.split("-")[1]) - 1

    # disconnect: a clean end, then resuming tells the gap.
    events = list(stuck["disconnect"])
    first = [number_of(event) for event in events]
    assert first == list(range(len(first))) and len(first) < retained
    with Stream(hub.address, "/events/t", {"Last-Event-ID": events[-1].id}) as again:
        notice, *rest = again.take(1 + total - retained)
        assert notice.is_gap
        told = json.loads(notice.data)
        assert told["requested"] == events[-1].id
        assert told["oldest"] == rest[0].id and told["newest"] == rest[-1].id
        assert [number_of(event) for event in rest] == list(range(retained, total))
    assert hub.stats()["deliveries"]["lapped"] == 1

    # skip: one notice whose range is exactly what is missing.
    events = []
    while not events or events[-1].is_gap or number_of(events[-1]) < total - 1:
        events += stuck["skip"].take(1)
    [place] = [at for at, event in enumerate(events) if event.is_gap]
    told = json.loads(events[place].data)
    assert [number_of(event) for event in events[:place]] == list(range(place))
    assert told["requested"] == events[place - 1].id
    assert told["oldest"] == events[place + 1].id
    assert [number_of(event) for event in events[place + 1 :]] == list(range(number_of(events[place + 1]), total))
    assert number_of(events[place + 1]) > place

    # conflate: in order, and the last value of every key.
    events = []
    while not events or events[-1].is_gap or number_of(events[-1]) < total - 1:
        events += stuck["conflate"].take(1)
    numbers = [number_of(event) for event in events if not event.is_gap]
    assert numbers == sorted(set(numbers)) and len(numbers) < total
    last = {number % 8: number for number in numbers}
    assert last == {key: max(n for n in range(total) if n % 8 == key) for key in range(8)}
    for stream in stuck.values():
        stream.close()


def test_a_reader_stuck_within_a_large_event_may_be_cut_there(start_hub):
    """The rest of a large event is not kept for a stuck reader. It gets no part of it, and resumes before it."""
    hub = start_hub({"history.bytes": "1MiB", "timeouts.write": "1h"})
    stuck = Stream(hub.address, "/events/t?lag=skip", receive_buffer=4 * KIB)
    live = Live(hub.address, "/events/t", 1)
    total, size = 64, 512 * KIB
    for start in range(total):
        hub.publish("t", fill(start, size))
        live.read_through(start)
    live.close()
    events = []
    try:
        while len(events) < total:
            events += stuck.take(1)
            if not events[-1].is_gap and number_of(events[-1]) == total - 1:
                break
    except ConnectionError:
        assert events, "the kernel holds more than one event"
        with Stream(hub.address, "/events/t", {"Last-Event-ID": events[-1].id}) as again:
            while events[-1].is_gap or number_of(events[-1]) < total - 1:
                events += again.take(1)
    stuck.close()
    numbers = [number_of(event) for event in events if not event.is_gap]
    assert numbers == sorted(set(numbers)) and numbers[-1] == total - 1
    assert all(len(event.data) == size for event in events if not event.is_gap)
    # Where a number is missing, and only there, a notice stands.
    for before, after in zip(events, events[1:]):
        if not before.is_gap and not after.is_gap:
            assert number_of(after) == number_of(before) + 1
    assert any(event.is_gap for event in events)


def test_a_reader_that_accepts_nothing_is_closed(start_hub):
    # History holds everything, so that it is the deadline that ends the stream and not the policy.
    hub = start_hub({"timeouts.write": "500ms", "history.bytes": "64MiB"})
    stuck = Stream(hub.address, "/events/t", receive_buffer=4 * KIB)
    live = Live(hub.address, "/events/t", 5)
    publish_in_step(hub, live, 12 * MIB // EVENT)
    wait_until(lambda: hub.stats()["streams"]["open"] == 5, "the end of the stuck stream")
    assert hub.stats()["deliveries"]["lapped"] == 0
    with pytest.raises(OSError):
        list(stuck)
    publish_more = 12 * MIB // EVENT
    hub.publish_all("t", [fill(publish_more)])
    live.read_through(publish_more)
    live.close()
    stuck.close()


def test_stalled_http2_streams_beside_a_live_one(start_hub):
    stalled, total = 100, 256
    buffer = 64 * KIB
    settings = {"history.bytes": "1MiB", "limits.h2_streams": stalled + 1, "limits.h2_send_buffer": buffer, "timeouts.write": "1h"}
    hub = start_hub(settings)
    with Http2(hub.address) as connection:
        stuck = [connection.get("/events/t", flowing=False) for _ in range(stalled)]
        live = connection.get("/events/t")
        connection.turn_until(lambda: len(connection.status) == stalled + 1 and all(connection.received.values()))
        before = hub.memory()
        for start in range(0, total, BATCH):
            hub.publish_all("t", [fill(n) for n in range(start, start + BATCH)])
            connection.turn_until(lambda: len(connection.events[live]) == start + BATCH)
        growth = hub.memory() - before
        assert [number_of(event) for event in connection.events[live]] == list(range(total))
        assert hub.stats()["streams"]["h2"] == stalled + 1
        bound = 1 * MIB + (stalled + 1) * (buffer + EVENT) + 4 * MIB
        assert growth <= bound, f"{growth} bytes more, at most {bound}"
        assert all(connection.received[number] <= 65535 for number in stuck)
    wait_until(lambda: hub.stats()["streams"]["open"] == 0, "no stream left open")
