"""Descriptors run out and come back; the process is stopped and goes on."""

import signal
import threading
import time
from pathlib import Path

import pytest

from support.clients import Reading
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
    status, _, _ = ask(hub.address, "GET", "/healthz")
    assert status == 200
    with Stream(hub.address, "/events/t?replay=all") as stream:
        assert [event.data for event in stream.take(2)] == ["before", "meanwhile"]
    reader.close()


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


@pytest.mark.parametrize("pause", [1.5])
def test_stopped_and_continued_under_load(pause, start_hub):
    hub = start_hub({"history.events": 5_000, "history.bytes": "64MiB", "heartbeat": "200ms", "timeouts.write": "500ms"})
    readings = [Reading() for _ in range(20)]
    total = 3_000

    def read(reading):
        with Stream(hub.address, "/events/t?replay=all") as stream:
            for event in stream:
                reading.take(event)
                if len(reading.events) == total:
                    return

    threads = [threading.Thread(target=read, args=(reading,), daemon=True) for reading in readings]
    for thread in threads:
        thread.start()
    ids = []

    def publish():
        while len(ids) < total:
            ids.extend(hub.publish_all("t", [str(len(ids) + n) for n in range(10)]))

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    wait_until(lambda: len(ids) >= total // 4, "some load")
    hub.send_signal(signal.SIGSTOP)
    # Longer than the heartbeat and the write deadline: all timers are overdue when it goes on.
    time.sleep(pause)
    hub.send_signal(signal.SIGCONT)
    publisher.join(60)
    for thread in threads:
        thread.join(60)
    for reading in readings:
        assert [(event.id, event.data) for event in reading.events] == list(zip(ids, map(str, range(total))))
    assert hub.stop() == 0
