"""Fifty readers on a busy topic, each cut again and again: everybody gets everything once, in one order."""

import random
import threading

import pytest

from support.clients import CUT, Reading
from support.proxy import Cut
from support.sse import Stream

READERS = 50
EVENTS = 1_000


def read(address, reading):
    while reading.count < EVENTS:
        headers = {"Last-Event-ID": reading.last_id} if reading.last_id else {}
        try:
            with Stream(address, "/events/t?replay=all", headers) as stream:
                for event in stream:
                    reading.take(event)
                    if reading.count >= EVENTS:
                        break
        except CUT:
            continue


@pytest.mark.parametrize("seed", range(6))
def test_random_cuts(seed, start_hub, start_proxy):
    hub = start_hub({"history.events": EVENTS, "limits.connections": 20_000})
    source = random.Random(seed)
    # Each reader is cut some ten times, most of them while it replays what came meanwhile.
    plan = [Cut(source.randint(1, 12_000), source.choice(["fin", "rst"])) for _ in range(READERS * 10)]
    proxy = start_proxy(hub.address, plan)
    readings = [Reading() for _ in range(READERS)]
    threads = [threading.Thread(target=read, args=(proxy.address, reading), daemon=True) for reading in readings]
    for thread in threads:
        thread.start()
    ids = []
    while len(ids) < EVENTS:
        size = min(source.randint(1, 20), EVENTS - len(ids))
        ids += hub.publish_all("t", [str(len(ids) + n) for n in range(size)])
    for thread in threads:
        thread.join(120)
    expected = list(zip(ids, map(str, range(EVENTS))))
    for number, reading in enumerate(readings):
        assert [(event.id, event.data) for event in reading.events] == expected, f"reader {number} of seed {seed}"
    assert proxy.cuts >= READERS
