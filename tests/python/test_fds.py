"""Descriptors run out and come back."""

import time
from pathlib import Path

from support.sse import Stream, ask, connect
from support.wait import wait_until

NOFILE = 96


def test_descriptors_run_out(start_hub):
    hub = start_hub(nofile=NOFILE)
    reader = Stream(hub.address, "/events/t")
    hub.publish("t", "before")
    crowd = [connect(hub.address) for _ in range(NOFILE * 2)]
    wait_until(lambda: hub.stats()["connections"]["open"] > NOFILE // 2, "a full table")
    # Accepting fails again and again now. A loop that spins would use a whole core.
    used, since = hub.processor_seconds(), time.monotonic()
    time.sleep(2)
    share = (hub.processor_seconds() - used) / (time.monotonic() - since)
    assert share < 0.2, f"{share:.0%} of a core while nothing can be accepted"
    assert hub.process.poll() is None
    hub.publish("t", "meanwhile")
    assert [event.data for event in reader.take(2)] == ["before", "meanwhile"]
    for sock in crowd:
        sock.close()
    # Those of the crowd that were never accepted fill the table once more: whoever is served has come behind the last of them.
    wait_until(lambda: is_served(hub), "an answer")
    wait_until(lambda: open_connections(hub) < NOFILE // 4, "an empty table")
    assert is_served(hub)
    with Stream(hub.address, "/events/t?replay=all") as stream:
        assert [event.data for event in stream.take(2)] == ["before", "meanwhile"]
    reader.close()


def is_served(hub):
    """Whether a new connection is, and not turned away."""
    try:
        return ask(hub.address, "GET", "/healthz")[0] == 200
    except (OSError, AssertionError):
        return False


def open_connections(hub):
    """How many there are; more than the table holds while it is full, because then whoever asks may be turned away."""
    try:
        return hub.stats()["connections"]["open"]
    except OSError:
        return NOFILE


def test_descriptors_are_given_back(start_hub):
    hub = start_hub()
    folder = Path(f"/proc/{hub.process.pid}/fd")
    with Stream(hub.address, "/events/t") as stream:
        hub.publish("t", "warm")
        stream.take(1)
    wait_until(lambda: hub.stats()["streams"]["open"] == 0, "the first reader gone")
    before = len(list(folder.iterdir()))
    for _ in range(5):
        streams = [Stream(hub.address, "/events/t") for _ in range(100)]
        hub.publish("t", "x")
        for stream in streams:
            stream.take(1)
            stream.close()
    wait_until(lambda: hub.stats()["streams"]["open"] == 0, "no reader left")
    wait_until(lambda: len(list(folder.iterdir())) <= before, "the descriptors of 500 readers")
