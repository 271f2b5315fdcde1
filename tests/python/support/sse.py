"""Streams read from a bare socket: every byte accounted for, no library between the test and the hub."""

import socket
import zlib
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """An event as a page would get it: the id in force, the type, the data."""

    id: str
    type: str
    data: str

    @property
    def is_gap(self):
        return self.type == "fanfare.gap"


class Parser:
    """The interpretation of WHATWG HTML 9.2.6, from bytes that come in any pieces."""

    def __init__(self):
        self._pending = b""
        self._first = True
        self._id = self._type = ""
        self._data = []
        self.retry = None
        self.comments = 0

    def feed(self, data):
        """Takes bytes; returns the events they complete."""
        text = self._pending + data
        if self._first:
            if text in (b"", b"\xef", b"\xef\xbb"):
                self._pending = text
                return []
            self._first = False
            text = text.removeprefix(b"\xef\xbb\xbf")
        # A CR at the end may be half of a CRLF.
        held = text[-1:] if text.endswith(b"\r") else b""
        text = text[: len(text) - len(held)]
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._pending = rest + held
        events = []
        for line in lines:
            if line:
                self._field(line)
                continue
            if self._data:
                events.append(Event(self._id, self._type or "message", "\n".join(self._data)))
            self._type, self._data = "", []
        return events

    def _field(self, line):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"":
            self.comments += 1
        elif name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id" and "\0" not in value:
            self._id = value
        elif name == b"retry" and value.isascii() and value.isdigit():
            self.retry = int(value)


class Dechunker:
    """RFC 9112, 7.1, strictly: a malformed chunk is an error."""

    def __init__(self):
        self._pending = b""
        self.finished = False

    def feed(self, data):
        """Takes bytes of the wire; returns bytes of the body."""
        wire = self._pending + data
        body, at = [], 0
        while not self.finished:
            end = wire.find(b"\r\n", at)
            if end < 0:
                assert len(wire) - at <= 16, wire[at : at + 64]
                break
            size = int(wire[at:end], 16)
            start = end + 2
            if len(wire) < start + size + 2:
                break
            assert wire[start + size : start + size + 2] == b"\r\n", wire[start + size : start + size + 8]
            body.append(wire[start : start + size])
            at = start + size + 2
            self.finished = size == 0
        self._pending = wire[at:]
        assert not (self.finished and self._pending), self._pending[:64]
        return b"".join(body)


def request_bytes(method, target, headers=None, body=b"", host="localhost"):
    """A request as it goes on the wire. A header value may be bytes or text; `Host: None` leaves Host out."""
    fields = {"Host": host, **(headers or {})}
    if body and not any(name.lower() in ("content-length", "transfer-encoding") for name in fields):
        fields["Content-Length"] = str(len(body))
    out = b"%s %s HTTP/1.1\r\n" % (_bytes(method), _bytes(target))
    for name, value in fields.items():
        if value is not None:
            out += b"%s: %s\r\n" % (_bytes(name), _bytes(value))
    return out + b"\r\n" + body


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def connect(address, receive_buffer=None):
    """A connected socket; a small receive buffer must be asked for before connecting."""
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(60)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def parse_head(head):
    """Status and headers, names in lower case; repeated headers are joined by a comma."""
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return int(lines[0].split(" ")[1]), headers


class Stream:
    """One event stream over HTTP/1.1. Raises ConnectionError where the connection is cut."""

    def __init__(self, address, target, headers=None, receive_buffer=None):
        self.sock = connect(address, receive_buffer)
        self.parser = Parser()
        self.body = b""
        self.ended = False
        self._dechunker = self._inflate = None
        self._queue = deque()
        try:
            self.sock.sendall(request_bytes("GET", target, {"Accept": "text/event-stream", **(headers or {})}))
            raw = b""
            while b"\r\n\r\n" not in raw:
                piece = self.sock.recv(65536)
                if not piece:
                    raise ConnectionError("cut in the head")
                raw += piece
        except OSError:
            self.close()
            raise
        head, _, rest = raw.partition(b"\r\n\r\n")
        self.status, self.headers = parse_head(head)
        if self.headers.get("transfer-encoding") == "chunked":
            self._dechunker = Dechunker()
            if self.headers.get("content-encoding") == "gzip":
                self._inflate = zlib.decompressobj(31).decompress
            self._take(rest)
        else:
            self.ended = self.status == 204

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def _take(self, raw):
        if self._dechunker.finished and raw:
            raise AssertionError(f"bytes behind the last chunk: {raw[:64]!r}")
        body = self._dechunker.feed(raw)
        if self._inflate:
            body = self._inflate(body)
        self.body += body
        self._queue += self.parser.feed(body)
        self.ended = self._dechunker.finished

    def receive(self):
        """Reads once from the socket."""
        raw = self.sock.recv(262144)
        if not raw:
            raise ConnectionError("cut in the body")
        self._take(raw)

    def __iter__(self):
        return self

    def __next__(self):
        while not self._queue:
            if self.ended:
                raise StopIteration
            self.receive()
        return self._queue.popleft()

    def take_ready(self):
        """The events that have been received and not been taken."""
        events = list(self._queue)
        self._queue.clear()
        return events

    def take(self, count):
        """The next `count` events."""
        return [next(self) for _ in range(count)]


def ask(address, method, target, headers=None, body=b"", host="localhost"):
    """One request and its answer: status, headers, body."""
    with connect(address) as sock:
        sock.sendall(request_bytes(method, target, {"Connection": "close", **(headers or {})}, body, host))
        return read_answer(sock)


def ask_raw(address, request):
    """Bytes as they are, and the answer to them."""
    with connect(address) as sock:
        sock.sendall(request)
        return read_answer(sock)


def read_answer(sock):
    """Reads one whole answer from a connection that the hub closes, or whose length is known."""
    raw = b""
    while True:
        head, found, body = raw.partition(b"\r\n\r\n")
        if found:
            status, headers = parse_head(head)
            if len(body) >= int(headers.get("content-length", 1 << 60)) or status in (204, 304):
                return status, headers, body
        try:
            piece = sock.recv(65536)
        except ConnectionError:
            piece = b""
        if not piece:
            assert found, f"closed without an answer: {raw[:200]!r}"
            return status, headers, body
        raw += piece
