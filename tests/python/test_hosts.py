"""For whom a request is meant: only known names are served, in every form a request can name them (DNS rebinding)."""

import json

import pytest

from support.http2 import Http2
from support.hub import Hub
from support.sse import Stream, ask, ask_raw, connect, request_bytes


@pytest.fixture(scope="module")
def hub():
    with Hub({"hosts": "hub.example"}) as hub:
        hub.publish("t", "secret")
        yield hub


SERVED = [
    "localhost", "LocalHost", "localhost.", "localhost:4780", "a.localhost", "127.0.0.1", "127.0.0.1:1", "192.0.2.1:80",
    "[::1]", "[::1]:4780", "[2001:db8::1]", "hub.example", "HUB.EXAMPLE.:8443",
]
FOREIGN = [
    "evil.example", "evil.example:4780", "localhost.evil.example", "localhost-evil.example", "xhub.example",
    "hub.example.evil", "127.0.0.1.evil.example", "127.1", "0x7f000001", "2130706433",
]
MALFORMED = ["", "localhost/x", "localhost?x", "localhost#x", "a@localhost", "local host", "localhost:x", "localhost:99999", "[::1", "::1", "."]


def is_refused(answer, host):
    status, _, body = answer
    assert status == (421 if host in FOREIGN else 400), (host, body)
    if host in FOREIGN:
        assert json.loads(body)["error"]["code"] == "forbidden_host"
    assert b"secret" not in body


@pytest.mark.parametrize("host", SERVED)
def test_served(host, hub):
    assert ask(hub.address, "GET", "/stats", host=host)[0] == 200
    with Stream(hub.address, "/events/t?replay=all", {"Host": host}) as stream:
        assert [event.data for event in stream.take(1)] == ["secret"]


@pytest.mark.parametrize("host", FOREIGN + MALFORMED)
def test_refused(host, hub):
    before = hub.stats()["events"]
    is_refused(ask(hub.address, "GET", "/events/t?replay=all", host=host), host)
    is_refused(ask(hub.address, "GET", "/stats", host=host), host)
    is_refused(ask(hub.address, "POST", "/events/t", body=b"x", host=host), host)
    is_refused(ask(hub.address, "DELETE", "/events/t", host=host), host)
    is_refused(ask(hub.address, "OPTIONS", "/events/t", host=host), host)
    assert hub.stats()["events"]["published"] == before["published"]


@pytest.mark.parametrize("host", FOREIGN[:3])
def test_absolute_targets(host, hub):
    for target, header in [(f"http://{host}/stats", "localhost"), ("http://localhost/stats", host), (f"http://{host}/stats", host)]:
        assert ask(hub.address, "GET", target, host=header)[0] in (400, 421), (target, header)
    assert ask(hub.address, "GET", "http://localhost/stats", host="localhost")[0] == 200


def test_none_or_two(hub):
    assert ask_raw(hub.address, b"GET /stats HTTP/1.1\r\nConnection: close\r\n\r\n")[0] == 400
    assert ask_raw(hub.address, b"GET /stats HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")[0] == 400
    assert ask_raw(hub.address, b"GET /stats HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[0] == 400
    # HTTP/1.0 knew no Host; a browser always sends one.
    assert ask_raw(hub.address, b"GET /stats HTTP/1.0\r\n\r\n")[0] == 200
    assert ask_raw(hub.address, b"GET /stats HTTP/1.0\r\nHost: evil.example\r\n\r\n")[0] == 421


def authority_status(hub, authority, headers=()):
    """Status of one HTTP/2 request, sent as it is; None if the stream is reset."""
    with Http2(hub.address) as connection:
        number = connection.get("/stats", authority, headers)
        connection.turn_until(lambda: number in connection.status)
        return connection.status[number]


@pytest.mark.parametrize("host", SERVED + FOREIGN)
def test_authority(host, hub):
    assert authority_status(hub, host) == (200 if host in SERVED else 421)
    # A Host besides has to name the same place.
    same = host.lower().removesuffix(".") == "localhost"
    both = authority_status(hub, "localhost", [("host", host)])
    assert both == 200 if same else both in (None, 400, 421)


def test_origin_is_checked_on_a_hub_that_lists_none(hub):
    port = hub.address[1]
    for origin, status in [
        (f"http://127.0.0.1:{port}", 200),
        (f"http://127.0.0.1:{port + 1}", 403),
        (f"http://localhost:{port}", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://", 403),
    ]:
        for method in ("POST", "DELETE"):
            request = request_bytes(method, "/events/o", {"Origin": origin, "Connection": "close"}, b"x", host=f"127.0.0.1:{port}")
            got, _, body = ask_raw(hub.address, request)
            # Own pages publish, and close what they have published to; the second round finds the topic closed.
            assert got == status or (got == 409 and status == 200), (method, origin, body)
    for site, status in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]:
        got, _, body = ask(hub.address, "POST", f"/events/site-{site}", {"Sec-Fetch-Site": site}, b"x")
        assert got == status, (site, body)
