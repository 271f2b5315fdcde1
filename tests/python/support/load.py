"""Readers and a publisher that keep a hub busy while it is stopped for a time."""

import threading

from support.clients import Reading
from support.sse import Stream
from support.suspend import suspended
from support.wait import wait_until

# History for a whole run.
LOAD = {"history.events": 5_000, "history.bytes": "64MiB"}

READERS = 20
TOTAL = 3_000


def read_under_load(hub, pause):
    """Stops the hub for `pause` seconds in the middle; every request is answered, every reader gets everything in one connection."""
    readings = [Reading() for _ in range(READERS)]
    failures = []

    def guarded(body, *arguments):
        try:
            body(*arguments)
        except Exception as error:
            failures.append(repr(error))

    def read(reading):
        with Stream(hub.address, "/events/t?replay=all") as stream:
            stream.sock.settimeout(pause + 60)
            for event in stream:
                reading.take(event)
                if len(reading.events) == TOTAL:
                    return

    ids = []

    def publish():
        while len(ids) < TOTAL:
            ids.extend(hub.publish_all("t", [str(len(ids) + n) for n in range(10)], within=pause + 60))

    def start(body, *arguments):
        thread = threading.Thread(target=guarded, args=(body, *arguments), daemon=True)
        thread.start()
        return thread

    threads = [start(read, reading) for reading in readings]
    threads.append(start(publish))
    wait_until(lambda: len(ids) >= TOTAL // 4 or failures, "some load")
    with suspended(hub, pause):
        pass
    for thread in threads:
        thread.join(60)
    assert failures == []
    for reading in readings:
        assert [(event.id, event.data) for event in reading.events] == list(zip(ids, map(str, range(TOTAL))))
    assert hub.stop() == 0
