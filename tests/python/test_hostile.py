"""Bad input: each gets its status and a JSON error with a stable code, and changes nothing."""

import json

import pytest

from support.hub import Hub
from support.sse import Stream, ask, ask_raw, connect, read_answer, request_bytes

KIB = 1 << 10
LIMIT = 64 * KIB
BODY_LIMIT = 256 * KIB
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def hub():
    settings = {"limits.event_bytes": "64KiB", "limits.body_bytes": "256KiB", "limits.topics_per_stream": 5}
    with Hub(settings) as hub:
        # A topic that is closed for good, with a reader beside the one that looks on.
        hub.publish("closed", "last")
        hub.close_topic("closed")
        yield hub


@pytest.fixture(scope="module")
def onlooker(hub):
    with Stream(hub.address, "/events?topic=t&topic=x&topic=closed") as stream:
        yield stream


def state(hub):
    """What must not change: events, history, topics and their contents."""
    stats = hub.stats()
    topics = sorted((t["name"], t["published"], t["events"], t["newest"], t["closed"]) for t in stats["topics"]["list"])
    return stats["events"]["published"], stats["history"], stats["topics"]["count"], topics, stats["streams"]


def check(answer, status, code, field=None):
    got, headers, body = answer
    assert got == status, body
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error["code"] == code, error
    assert error["message"] and "\n" not in error["message"] and len(error["message"]) < 500
    if field:
        assert error["field"] == field, error
    return headers, error


@pytest.fixture(autouse=True)
def nothing_changes(hub, onlooker):
    before = state(hub)
    yield
    assert state(hub) == before
    # Events come in order: had anything been published, it would come before this one.
    sentinel = hub.publish("t", "sentinel")
    [event] = onlooker.take(1)
    assert (event.id, event.data) == (sentinel, "sentinel")
    assert hub.process.poll() is None


PUBLISH = {
    "id with LF": ("id=a%0Ab", "invalid_id", "id"),
    "id with CR": ("id=a%0Db", "invalid_id", "id"),
    "id with NUL": ("id=a%00b", "invalid_id", "id"),
    "id with space": ("id=a+b", "invalid_id", "id"),
    "id with letter beyond ASCII": ("id=%C3%A9", "invalid_id", "id"),
    "id too long": ("id=" + "x" * 129, "invalid_id", "id"),
    "id with colon": ("id=a:b", "invalid_id", "id"),
    "event with LF": ("event=a%0Aid:%20forged", "invalid_event", "event"),
    "event with CR": ("event=a%0Db", "invalid_event", "event"),
    "event with NUL": ("event=%00", "invalid_event", "event"),
    "event with DEL": ("event=a%7F", "invalid_event", "event"),
    "event with C1 control": ("event=a%C2%85b", "invalid_event", "event"),
    "event too long": ("event=" + "x" * 256, "invalid_event", "event"),
    "event of ours": ("event=fanfare.gap", "invalid_event", "event"),
    "retry in words": ("retry=soon", "invalid_retry", "retry"),
    "retry below zero": ("retry=-1", "invalid_retry", "retry"),
    "retry with sign": ("retry=%2B1", "invalid_retry", "retry"),
    "retry with point": ("retry=1.5", "invalid_retry", "retry"),
    "retry with exponent": ("retry=1e3", "invalid_retry", "retry"),
    "retry in other digits": ("retry=%D9%A3", "invalid_retry", "retry"),
    "retry too long a time": ("retry=86400001", "invalid_retry", "retry"),
    "retry beyond numbers": ("retry=" + "9" * 30, "invalid_retry", "retry"),
    "retry with LF": ("retry=1%0A2", "invalid_retry", "retry"),
    "except with LF": ("except=a%0Ab", "invalid_client", "except"),
    "except too long": ("except=" + "x" * 129, "invalid_client", "except"),
    "key with control": ("key=%1B", "invalid_key", "key"),
    "key too long": ("key=" + "x" * 256, "invalid_key", "key"),
    "unknown parameter": ("nope=1", "unknown_parameter", "nope"),
    "unknown parameter without value": ("nope", "unknown_parameter", "nope"),
    "parameter in other case": ("Id=a", "unknown_parameter", "Id"),
    "parameter of reading": ("replay=all", "unknown_parameter", "replay"),
    "parameter twice": ("id=a&id=b", "invalid_parameter", "id"),
    "percent alone": ("id=%", "invalid_parameter", "id"),
    "percent with one digit": ("id=%4", "invalid_parameter", "id"),
    "percent with other letters": ("id=%zz", "invalid_parameter", "id"),
    "not UTF-8": ("event=%ff", "invalid_parameter", "event"),
    "overlong UTF-8": ("event=%C0%8A", "invalid_parameter", "event"),
    "surrogate": ("event=%ED%A0%80", "invalid_parameter", "event"),
}


@pytest.mark.parametrize("name", PUBLISH)
def test_publish_parameter(name, hub):
    query, code, field = PUBLISH[name]
    check(ask(hub.address, "POST", f"/events/t?{query}", body=b"x"), 400, code, field)


def test_an_id_of_the_hub_is_reserved(hub):
    epoch = hub.stats()["epoch"]
    for id in (f"{epoch}-1", f"{epoch}-999999", f"{epoch}-01"):
        check(ask(hub.address, "POST", f"/events/t?id={id}", body=b"x"), 400, "invalid_id", "id")


TOPICS = {
    "LF": "a%0Ab",
    "CR": "a%0Db",
    "NUL": "%00",
    "ESC": "%1B",
    "DEL": "%7F",
    "C1 control": "a%C2%85",
    "too long": "x" * 256,
    "too long when decoded": "%C3%A9" * 128,
    "empty": "",
    "not UTF-8": "%ff",
    "overlong": "%C0%AF",
    "surrogate": "%ED%A0%80",
    "percent alone": "a%",
    "other letters": "%gg",
}


@pytest.mark.parametrize("name", TOPICS)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_topic(method, name, hub):
    body = b"x" if method == "POST" else b""
    check(ask(hub.address, method, f"/events/{TOPICS[name]}", body=body), 400, "invalid_topic", "topic")


BODIES = {
    "not UTF-8": (b"a\xff", 400, "invalid_data"),
    "half a character": (b"a\xe2\x82", 400, "invalid_data"),
    "a surrogate": (b"\xed\xa0\x80", 400, "invalid_data"),
    "larger than an event": (b"x" * (LIMIT + 1), 413, "too_large"),
    "larger than a body": (b"x" * (BODY_LIMIT + 1), 413, "too_large"),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_body(name, framing, hub):
    body, status, code = BODIES[name]
    headers = {}
    if framing == "chunks":
        headers = {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    _, error = check(ask(hub.address, "POST", "/events/t", headers, body), status, code)
    if status == 413:
        assert error["limit"] == (LIMIT if name == "larger than an event" else BODY_LIMIT)


def test_a_body_that_comes_after_its_header(hub):
    """The fault is named the same way however the bytes arrive."""
    request = request_bytes("POST", "/events/t", {"Connection": "close"}, b"a\xff")
    with connect(hub.address) as sock:
        sock.sendall(request[:-2])
        # An answer on another connection: by then the hub has seen the header.
        assert ask(hub.address, "GET", "/healthz")[0] == 200
        sock.sendall(request[-2:])
        check(read_answer(sock), 400, "invalid_data", "data")


def test_a_body_announced_too_large_is_refused_before_it_comes(hub):
    with connect(hub.address) as sock:
        sock.sendall(request_bytes("POST", "/events/t", {"Content-Length": str(1 << 40), "Expect": "100-continue"}))
        check(read_answer(sock), 413, "too_large")


GOOD = '{"data":"x"}'
LINES = {
    "no JSON": ("nonsense", 400, "invalid_body"),
    "half an object": ('{"data":"x"', 400, "invalid_body"),
    "two on a line": (GOOD + GOOD, 400, "invalid_body"),
    "array": ("[]", 400, "invalid_body"),
    "string": ('"x"', 400, "invalid_body"),
    "null": ("null", 400, "invalid_body"),
    "no data": ('{"event":"x"}', 400, "invalid_body"),
    "data a number": ('{"data":1}', 400, "invalid_body"),
    "data null": ('{"data":null}', 400, "invalid_body"),
    "unknown member": ('{"data":"x","nope":1}', 400, "invalid_body"),
    "member twice": ('{"data":"x","data":"y"}', 400, "invalid_body"),
    "half a surrogate pair": ('{"data":"\\ud800"}', 400, "invalid_body"),
    "LF in a string": ('{"data":"a\nb"}', 400, "invalid_body"),
    "id a number": ('{"data":"x","id":1}', 400, "invalid_body"),
    "retry a string": ('{"data":"x","retry":"1"}', 400, "invalid_body"),
    "retry with point": ('{"data":"x","retry":1.5}', 400, "invalid_body"),
    "retry below zero": ('{"data":"x","retry":-1}', 400, "invalid_body"),
    "deep": ("[" * 10_000, 400, "invalid_body"),
    "BOM": ("\ufeff" + GOOD, 400, "invalid_body"),
    "retry too long": ('{"data":"x","retry":86400001}', 400, "invalid_retry"),
    "id with LF": ('{"data":"x","id":"a\\nb"}', 400, "invalid_id"),
    "id with NUL": ('{"data":"x","id":"a\\u0000"}', 400, "invalid_id"),
    "event with CR": ('{"data":"x","event":"a\\rb"}', 400, "invalid_event"),
    "event of ours": ('{"data":"x","event":"fanfare.x"}', 400, "invalid_event"),
    "except with LF": ('{"data":"x","except":"a\\nb"}', 400, "invalid_client"),
    "key with LF": ('{"data":"x","key":"a\\nb"}', 400, "invalid_key"),
    "event too large": ('{"data":"%s"}' % ("x" * (LIMIT + 1)), 413, "too_large"),
}


@pytest.mark.parametrize("name", LINES)
def test_one_bad_line_spoils_the_batch(name, hub):
    line, status, code = LINES[name]
    for body in (line, f"{GOOD}\n{GOOD}\n{line}\n{GOOD}\n"):
        _, error = check(ask(hub.address, "POST", "/events/t", NDJSON, body.encode()), status, code)
    if name != "LF in a string":
        assert "3" in error["message"], "the line is named"


def test_a_batch_that_is_not_utf8(hub):
    body = GOOD.encode() + b'\n{"data":"\xff"}\n'
    check(ask(hub.address, "POST", "/events/t", NDJSON, body), 400, "invalid_body")


@pytest.mark.parametrize("query", ["id=a", "event=a", "retry=1", "except=a", "key=a"])
def test_a_batch_takes_its_fields_from_its_lines(query, hub):
    check(ask(hub.address, "POST", f"/events/t?{query}", NDJSON, GOOD.encode()), 400, "unknown_parameter")


def test_a_compressed_body_is_not_taken(hub):
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Encoding": "br", **NDJSON}):
        check(ask(hub.address, "POST", "/events/t", headers, b"x"), 415, "unsupported_media_type")


def test_a_closed_topic_takes_nothing(hub):
    check(ask(hub.address, "POST", "/events/closed", body=b"x"), 409, "topic_closed")
    check(ask(hub.address, "POST", "/events/closed", NDJSON, GOOD.encode()), 409, "topic_closed")
    status, _, body = ask(hub.address, "GET", "/events/closed")
    assert (status, body) == (204, b"")


SUBSCRIBE = {
    "replay in words": ("/events/x?replay=some", "invalid_parameter", "replay"),
    "replay below zero": ("/events/x?replay=-1", "invalid_parameter", "replay"),
    "replay with point": ("/events/x?replay=1.5", "invalid_parameter", "replay"),
    "replay beyond numbers": ("/events/x?replay=" + "9" * 30, "invalid_parameter", "replay"),
    "replay in other digits": ("/events/x?replay=%D9%A3", "invalid_parameter", "replay"),
    "lag in words": ("/events/x?lag=wait", "invalid_parameter", "lag"),
    "unknown parameter": ("/events/x?nope=1", "unknown_parameter", "nope"),
    "parameter of publishing": ("/events/x?id=1", "unknown_parameter", "id"),
    "client with LF": ("/events/x?client=a%0Ab", "invalid_client", "client"),
    "client too long": ("/events/x?client=" + "x" * 129, "invalid_client", "client"),
    "client twice": ("/events/x?client=a&client=b", "invalid_parameter", "client"),
    "event with LF": ("/events/x?event=a%0Ab", "invalid_event", "event"),
    "event too long": ("/events/x?event=" + "x" * 256, "invalid_event", "event"),
    "id too long": ("/events/x?last_event_id=" + "x" * 2000, "invalid_id", "last_event_id"),
    "not UTF-8": ("/events/x?client=%ff", "invalid_parameter", "client"),
    "topic with LF": ("/events?topic=x&topic=a%0Ab", "invalid_topic", "topic"),
    "no topic": ("/events", "invalid_topic", "topic"),
    "empty topic": ("/events?topic=", "invalid_topic", "topic"),
    "too many topics": ("/events?" + "&".join(f"topic=x{n}" for n in range(6)), "invalid_topic", "topic"),
}


@pytest.mark.parametrize("name", SUBSCRIBE)
def test_subscribe(name, hub):
    target, code, field = SUBSCRIBE[name]
    check(ask(hub.address, "GET", target, {"Accept": "text/event-stream"}), 400, code, field)


@pytest.mark.parametrize("value", [b"\xff\xfe", b"a\x01b", b"x" * 2000, "é".encode() * 600])
def test_a_last_event_id_is_refused_or_told_as_a_gap(value, hub):
    status, _, body = ask_raw(hub.address, request_bytes("HEAD", "/events/t", {"Last-Event-ID": value, "Connection": "close"}))
    assert status in (200, 400), body


METHODS = [
    ("PUT", "/events/t"),
    ("PATCH", "/events/t"),
    ("TRACE", "/events/t"),
    ("BREW", "/events/t"),
    ("POST", "/events"),
    ("DELETE", "/events"),
    ("POST", "/stats"),
    ("DELETE", "/healthz"),
    ("PUT", "/metrics"),
    ("POST", "/"),
]


@pytest.mark.parametrize(("method", "path"), METHODS)
def test_method(method, path, hub):
    headers, _ = check(ask(hub.address, method, path, body=b"x"), 405, "method_not_allowed")
    allowed = {name.strip() for name in headers["allow"].split(",")}
    assert "GET" in allowed and method not in allowed


@pytest.mark.parametrize("path", ["/nowhere", "/EVENTS/t", "/event/t", "/eventst", "/stats/x", "//events/t", "/.", "/events%2Ft"])
def test_path(path, hub):
    check(ask(hub.address, "GET", path), 404, "not_found")


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/event-stream;q=0", "text/plain, image/*"])
def test_accept(accept, hub):
    check(ask(hub.address, "GET", "/events/t", {"Accept": accept}), 406, "not_acceptable")


def test_long_targets_and_headers(hub):
    check(ask(hub.address, "GET", "/events/t?client=" + "x" * 70_000), 414, "uri_too_long")
    status, _, _ = ask(hub.address, "GET", "/stats", {"X-Long": "x" * 70_000})
    assert status == 431
    status, _, _ = ask(hub.address, "GET", "/stats", {f"X-{n}": "x" for n in range(300)})
    assert status == 431


FRAMING = {
    "two lengths": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunks": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "unknown coding": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nx",
    "coding not last": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "length with sign": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\nx",
    "length not a number": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\nx",
    "chunk size not a number": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nx\r\n0\r\n\r\n",
    "chunk size too long": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n",
    "body cut short": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "space before colon": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nContent-Length : 1\r\n\r\nx",
    "folded header": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
    "NUL in a header": b"POST /events/t HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx",
    "space in the target": b"POST /events/t x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    "another version": b"POST /events/t HTTP/9.9\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    "no request": b"\0\x01\x02\x03\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\0" * 190,
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing(name, hub):
    with connect(hub.address) as sock:
        sock.sendall(FRAMING[name])
        sock.shutdown(1)
        raw = b""
        try:
            while piece := sock.recv(65536):
                raw += piece
        except ConnectionError:
            pass
    # Refused, or closed without a word; never taken, never two answers.
    assert raw == b"" or raw.split(b" ")[1] in (b"400", b"501", b"505"), raw
    assert raw.count(b"HTTP/1.") <= 1
