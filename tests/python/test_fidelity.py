"""What goes in comes out: text of every kind, through both ways to publish and every client's parser."""

import json
from urllib.parse import quote

import pytest

from support.clients import Reading, every_client, follow
from support.hub import Hub
from support.sse import Stream

MIB = 1 << 20

CASES = {
    "empty": "",
    "space": " ",
    "spaces around": "  a  ",
    "tab": "\ta\t",
    "colon": ":",
    "field": "data: x",
    "forged id": "x\nid: forged\nevent: forged\n\ndata: forged",
    "forged by CR": "x\rid: forged\revent: forged\r\rdata: forged",
    "LF": "a\nb",
    "CRLF": "a\r\nb",
    "CR": "a\rb",
    "mixed": "a\r\r\nb\n\rc\n\nd",
    "line end last": "a\n",
    "line ends only": "\n\r\n\r",
    "NUL": "a\0b",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "BOM first": "\ufeffa",
    "BOM inside": "a\ufeffb",
    "other line ends": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei",
    "emoji": "\U0001f469\u200d\U0001f680 \U0001f389",
    "bidi": "\u202eabc\u200f",
    "noncharacters": "\ufffe\uffff\U0010ffff",
    "JSON": json.dumps({"a": [1, "\n", None]}),
    "1 MiB line": "x" * MIB,
    "1 MiB in 8,192 lines": "\n".join(["y" * 127] * 8192),
    "1 MiB of two-byte characters": "\u00e9" * (MIB // 2),
}


def as_read(text):
    """Line ends reach every reader as LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def edges_lost(text):
    """What a client makes of it that strips the spaces before each line and the line ends at the end."""
    return "\n".join(line.lstrip(" ") for line in as_read(text).split("\n")).rstrip("\n")


# Faults of the clients, not of the stream: the same text is whole in the others.
KNOWN = {"requests-sse": edges_lost, "aiohttp-sse-client2": edges_lost}
# aiohttp reads by line, of at most 128 KiB.
LONG_LINES = {"1 MiB line", "1 MiB of two-byte characters"}


@pytest.fixture(scope="module")
def hub(certificate):
    settings = {"limits.event_bytes": "1MiB", "history.bytes": "64MiB", "limits.body_bytes": "16MiB", "topic.idle": "1h"}
    with Hub(settings, certificate=certificate) as hub:
        for name, text in CASES.items():
            hub.publish("raw", text, event=name)
            hub.publish_all("lines", [{"data": text, "event": name}])
        for topic in ("raw", "lines"):
            hub.close_topic(topic)
        yield hub


@pytest.mark.parametrize("topic", ["raw", "lines"])
def test_both_ways_to_publish(topic, hub):
    with Stream(hub.address, f"/events/{topic}?replay=all") as stream:
        assert {event.type: event.data for event in stream} == {name: as_read(text) for name, text in CASES.items()}


@pytest.mark.parametrize("client", every_client(), ids=lambda client: client.name)
def test_client(client, hub):
    skipped = LONG_LINES if client.name == "aiohttp-sse-client2" else set()
    names = [name for name in CASES if name not in skipped]
    base = hub.tls_url if client.tls else hub.url
    url = f"{base}/events/raw?replay=all&" + "&".join(f"event={quote(name)}" for name in names)
    reading = Reading()
    follow(client, url, reading, lambda: reading.count == len(names))
    expected = KNOWN.get(client.name, as_read)
    got = {event.type: event.data for event in reading.events}
    assert got == {name: expected(CASES[name]) for name in names}


def test_one_event_may_not_be_larger_than_the_limit(hub):
    reply = hub.session.post(f"{hub.url}/events/other", data=b"x" * (MIB + 1))
    assert reply.status_code == 413
    assert reply.json()["error"]["limit"] == MIB


def test_names_and_ids_arrive_as_they_were(hub):
    topic = "a/b c+d \u00e9 \u2028 \U0001f389"
    path = quote(topic, safe="/")
    own = "Az09._~-" * 16
    event = "type: with colon \u2028"
    with Stream(hub.address, f"/events/{path}") as stream:
        assert hub.publish(path, "x", id=own, event=event, retry="1234") == own
        [got] = stream.take(1)
        assert (got.id, got.type, got.data) == (own, event, "x")
        assert stream.parser.retry == 1234
    assert topic in [t["name"] for t in hub.stats()["topics"]["list"]]
