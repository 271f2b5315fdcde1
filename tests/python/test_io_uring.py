"""`lanes.io_uring`: where the kernel permits it, where it does not, and where it stops to in the middle."""

import pytest
from support.seccomp import IO_URING_ENTER, IO_URING_SETUP, forbid, has_io_uring
from support.sse import Stream
from support.wait import wait_until

READERS = 150
EVENTS = 300


def by_ring(hub):
    return [lane["io_uring"] for lane in hub.stats()["lanes"]]


@pytest.mark.parametrize(
    "forbidden, at_first, at_last",
    [((), True, True), ((IO_URING_SETUP,), False, False), ((IO_URING_ENTER,), True, False)],
    ids=["permitted", "no rings, as in a container", "rings that fail"],
)
def test_everybody_gets_everything_once(start_hub, forbidden, at_first, at_last):
    # Where this kernel forbids it anyway, all three are the second.
    forbidden = forbidden if has_io_uring() else (IO_URING_SETUP,)
    at_first, at_last = at_first and has_io_uring(), at_last and has_io_uring()
    hub = start_hub({"lanes": 1, "lanes.io_uring": "true"}, before_exec=forbid(*forbidden))
    wait_until(lambda: by_ring(hub) == [at_first], "a lane that says how it sends")
    streams = [Stream(hub.address, "/events/t") for _ in range(READERS)]
    ids = []
    for start in range(0, EVENTS, 10):
        ids += hub.publish_all("t", [str(start + n) for n in range(10)])
    for stream in streams:
        assert [(event.id, event.data) for event in stream.take(EVENTS)] == list(zip(ids, map(str, range(EVENTS))))
        stream.close()
    assert by_ring(hub) == [at_last]
    metrics = hub.session.get(f"{hub.url}/metrics", timeout=60).text
    assert f'fanfare_lane_io_uring{{lane="0"}} {int(at_last)}\n' in metrics
    assert ("io_uring" in hub.log()) == bool(forbidden), hub.log()
    assert hub.stop() == 0
