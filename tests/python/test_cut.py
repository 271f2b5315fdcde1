"""A response cut at every byte: whatever had arrived, coming back with the last id gives each event exactly once.

The topic is closed, so a complete response ends and a resume past its end is answered with 204: no waiting decides anything.
"""

import pytest

from support.clients import CUT, HttpxSse, Reading, SseclientPy
from support.proxy import Cut
from support.sse import Stream, connect, request_bytes

DATA = ["first", "second\nof two lines", "third \u2028 \U0001f389"]


class Bare:
    """The house reader."""

    name = "bare"

    def events(self, url, last_id):
        host, _, path = url.removeprefix("http://").partition("/")
        address = (host.split(":")[0], int(host.split(":")[1]))
        with Stream(address, f"/{path}", {"Last-Event-ID": last_id} if last_id else {}) as stream:
            assert stream.status in (200, 204)
            yield from stream


def exactly_once(client, url):
    """Reads until a whole answer brings nothing more, over as many connections as it takes."""
    reading = Reading()
    for _ in range(10):
        before = reading.count
        try:
            for event in client.events(url, reading.last_id):
                reading.take(event)
        except CUT:
            continue
        # An answer whose head was cut short is an empty one to some clients: only with an id an end is an end.
        if reading.count == before and reading.last_id:
            break
    return reading


def response_length(hub):
    """Bytes of the whole response on the wire."""
    with connect(hub.address) as sock:
        sock.sendall(request_bytes("GET", "/events/t?replay=all", {"Accept": "text/event-stream"}))
        total = 0
        while piece := sock.recv(65536):
            total += len(piece)
    return total


@pytest.fixture
def hub(start_hub):
    hub = start_hub({"topic.idle": "1h"})
    hub.publish_all("t", DATA)
    assert hub.close_topic("t")
    return hub


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("client", [Bare(), SseclientPy(), HttpxSse("h1")], ids=lambda client: client.name)
def test_cut_at_every_byte(client, how, hub, start_proxy):
    length = response_length(hub)
    assert length > sum(len(data) for data in DATA)
    proxy = start_proxy(hub.address)
    url = f"{proxy.url}/events/t?replay=all"
    for at in range(length + 1):
        proxy.plan([Cut(at, how)])
        reading = exactly_once(client, url)
        assert reading.data == DATA, f"cut after {at} of {length} bytes"
        assert not reading.gaps
    assert proxy.cuts >= length


def test_cut_at_every_byte_of_http2(hub, start_proxy):
    client = HttpxSse("h2c")
    complete = []
    proxy = start_proxy(hub.address)
    url = f"{proxy.url}/events/t?replay=all"
    at = 0
    # The length depends on header compression: go on until no cut takes place any more.
    while not complete:
        before = proxy.cuts
        proxy.plan([Cut(at, "fin" if at % 2 else "rst")])
        reading = exactly_once(client, url)
        assert reading.data == DATA, f"cut after {at} bytes"
        if proxy.cuts == before:
            complete.append(at)
        at += 1
    assert at > sum(len(data) for data in DATA)
