"""The hub does not run for a while, and every deadline passes meanwhile. What came in the meantime was in time: nobody is cut
for what the hub did not look at (checklist O2).

On waking the hub learns that its timers are due before it learns what its sockets hold. A peer that had done its part by
then must win.
"""

import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from support.http2 import Http2
from support.load import LOAD, read_under_load
from support.sse import Dechunker, Parser, connect, parse_head, read_answer, request_bytes
from support.suspend import suspended
from support.wait import wait_until

REQUEST_DEADLINE = 0.5
# A kernel tells that a socket is writable when a third of its buffer is free: time for a reader to get that far, and to
# answer an HTTP/2 PING, on a busy machine.
WRITE_DEADLINE = 2.0

# Publishers of each kind in one round.
EACH = 4
READERS_EACH = 2

# A round whose preparation takes a good part of the deadline shows nothing, and is done again; so often at most.
TRIES = 20

# How long the hub is stopped, in deadlines: far longer, and so that they pass just before it goes on, or just after.
PAUSES = [3, 0.9, 0.95, 1, 1.05, 1.2]
READERS_PAUSES = [2, 0.95, 1, 1.05]


def deadlines(seconds):
    """Settings: every deadline of a peer."""
    return {f"timeouts.{name}": f"{round(seconds * 1000)}ms" for name in ("request", "body", "idle", "write")}


def publishing(data, host="localhost"):
    """The bytes of a publish."""
    return request_bytes("POST", "/events/t", body=data.encode(), host=host)


class Plain:
    """A peer in clear: what it sends before the stop and what while the hub is stopped make up one publish."""

    def __init__(self, hub, data, sent, served=False):
        request = publishing(data)
        self.sock = connect(hub.address)
        if served:
            self.sock.sendall(request_bytes("GET", "/healthz"))
            assert read_answer(self.sock)[0] == 200
        cut = sent(request)
        self.sock.sendall(request[:cut])
        self._rest = request[cut:]

    def go_on(self):
        self.sock.sendall(self._rest)

    def status(self):
        return read_answer(self.sock)[0]


class Tls:
    """The same over TLS, cut in the handshake or behind it."""

    def __init__(self, hub, data, in_handshake):
        context = ssl.create_default_context(cafile=hub.certificate.cert)
        self.sock = connect(hub.tls_address)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._request = publishing(data)
        if in_handshake:
            with pytest.raises(ssl.SSLWantReadError):
                self._tls.do_handshake()
            hello = self._out.read()
            self.sock.sendall(hello[:40])
            self._rest = hello[40:]
        else:
            self._call(self._tls.do_handshake)
            self._tls.write(request_bytes("GET", "/healthz"))
            assert b"200" in self._call(lambda: self._tls.read(65536))
            self._tls.write(self._request)
            self._request, self._rest = b"", self._out.read()

    def _call(self, call):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self.sock.sendall(self._out.read())
                piece = self.sock.recv(65536)
                if not piece:
                    raise ConnectionError("cut") from None
                self._in.write(piece)
            finally:
                self.sock.sendall(self._out.read())

    def go_on(self):
        self.sock.sendall(self._rest)

    def status(self):
        if self._request:
            self._call(self._tls.do_handshake)
            self._tls.write(self._request)
        answer = self._call(lambda: self._tls.read(65536))
        if not answer:
            raise ConnectionError("ended")
        return parse_head(answer.partition(b"\r\n\r\n")[0])[0]


class Multiplexed:
    """The same over HTTP/2 in clear, cut in the preface, in the body, or between two requests."""

    def __init__(self, hub, data, how):
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.sock = connect(hub.address)
        self._statuses = {}
        self._http2.initiate_connection()
        if how == "preface":
            self._publish(data)
            wire = self._http2.data_to_send()
            self.sock.sendall(wire[:10])
            self._rest = wire[10:]
            return
        if how == "idle":
            number = self._http2.get_next_available_stream_id()
            self._http2.send_headers(number, self._fields("GET", "/healthz"), end_stream=True)
            assert self._wait(number) == 200
            self._publish(data)
            self._rest = self._http2.data_to_send()
            return
        self._publish(data)
        wire = self._http2.data_to_send()
        self.sock.sendall(wire[: -len(data) // 2])
        self._rest = wire[-len(data) // 2 :]

    def _fields(self, method, path):
        return [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]

    def _publish(self, data):
        self._number = self._http2.get_next_available_stream_id()
        self._http2.send_headers(self._number, self._fields("POST", "/events/t"))
        self._http2.send_data(self._number, data.encode(), end_stream=True)

    def _wait(self, number):
        while number not in self._statuses:
            self.sock.sendall(self._http2.data_to_send())
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError("cut")
            for event in self._http2.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    self._statuses[event.stream_id] = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.StreamReset):
                    self._statuses[event.stream_id] = "reset"
        self.sock.sendall(self._http2.data_to_send())
        return self._statuses[number]

    def go_on(self):
        self.sock.sendall(self._rest)

    def status(self):
        return self._wait(self._number)


PEERS = {
    "silent": lambda hub, data: Plain(hub, data, lambda request: 0),
    "in the request line": lambda hub, data: Plain(hub, data, lambda request: 7),
    "in the header": lambda hub, data: Plain(hub, data, lambda request: request.index(b"\r\n\r\n") - 3),
    "in the body": lambda hub, data: Plain(hub, data, lambda request: len(request) - 2),
    "idle": lambda hub, data: Plain(hub, data, lambda request: 0, served=True),
    "in the second header": lambda hub, data: Plain(hub, data, lambda request: 30, served=True),
    "in the TLS handshake": lambda hub, data: Tls(hub, data, in_handshake=True),
    "idle over TLS": lambda hub, data: Tls(hub, data, in_handshake=False),
    "in the HTTP/2 preface": lambda hub, data: Multiplexed(hub, data, "preface"),
    "in an HTTP/2 body": lambda hub, data: Multiplexed(hub, data, "body"),
    "idle over HTTP/2": lambda hub, data: Multiplexed(hub, data, "idle"),
}


def outcome(call):
    """What the call gives, or how it fails."""
    try:
        return call()
    except (OSError, AssertionError, h2.exceptions.ProtocolError) as error:
        return repr(error)


def prepared_in_time(deadline, prepare, drop):
    """What `prepare` makes, in a part of the deadline."""
    for _ in range(TRIES):
        since = time.monotonic()
        made = prepare()
        if time.monotonic() - since < deadline / 2:
            return made
        drop(made)
    raise AssertionError(f"this machine is too busy: {TRIES} preparations took longer than {deadline / 2} s")


@pytest.mark.parametrize("pause", PAUSES)
def test_requests_that_came_meanwhile_are_served(pause, start_hub, certificate):
    hub = start_hub(deadlines(REQUEST_DEADLINE), certificate=certificate)
    # Only those that publish are looked at: a reader would be one more thing that wakes the hub.
    kinds = [kind for kind in PEERS for _ in range(EACH)]

    def prepare():
        return [(f"{kind} {number}", PEERS[kind](hub, f"data {number}")) for number, kind in enumerate(kinds)]

    def drop(peers):
        for _, peer in peers:
            peer.sock.close()

    peers = prepared_in_time(REQUEST_DEADLINE, prepare, drop)
    with suspended(hub, pause * REQUEST_DEADLINE):
        for _, peer in peers:
            peer.go_on()
    outcomes = {name: outcome(peer.status) for name, peer in peers}
    drop(peers)
    assert {name: found for name, found in outcomes.items() if found != 200} == {}
    assert hub.stats()["events"]["published"] == len(peers)


# Together more than the buffers of two kernels take for a socket.
EVENTS = 24
SIZE = 500_000
# Together more than the window of an HTTP/2 stream, and no more than a slow reader takes in one go.
WINDOW_SIZE = 20_000


class Reader:
    """Reads nothing until it is told to, then all there is while the hub is stopped, then on to the last event."""

    def __init__(self, address, topic, context=None):
        self._numbers = []
        self._io = connect(address, receive_buffer=65_536)
        if context:
            self._io = context.wrap_socket(self._io, server_hostname="localhost")
        self._io.sendall(request_bytes("GET", f"/events/{topic}", {"Accept": "text/event-stream"}))
        self._dechunker, self._parser = Dechunker(), Parser()
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += self._io.recv(4_096)
        assert raw.startswith(b"HTTP/1.1 200"), raw
        self._take(raw.partition(b"\r\n\r\n")[2])

    def _take(self, raw):
        self._numbers += [number_of(event) for event in self._parser.feed(self._dechunker.feed(raw))]

    def go_on(self):
        self._io.settimeout(0.05)
        try:
            while raw := self._io.recv(65_536):
                self._take(raw)
        except TimeoutError:
            self._io.settimeout(60)

    def numbers(self):
        while len(self._numbers) < EVENTS:
            raw = self._io.recv(65_536)
            if not raw:
                return [*self._numbers, "cut"]
            self._take(raw)
        return self._numbers

    def close(self):
        self._io.close()


class MultiplexedReader:
    """The same on an HTTP/2 stream: it opens its window while the hub is stopped, and not before."""

    def __init__(self, address, topic):
        self._http2 = Http2(address)
        self._stream = self._http2.get(f"/events/{topic}", flowing=False)
        self._http2.turn_until(lambda: self._stream in self._http2.status)

    def go_on(self):
        self._http2.flow(self._stream)

    def numbers(self):
        events = self._http2.events[self._stream]
        self._http2.turn_until(lambda: len(events) >= EVENTS or self._stream in self._http2.ended)
        return [number_of(event, WINDOW_SIZE) for event in events]

    def close(self):
        self._http2.close()


def data_of(number, size):
    """The data of one of the events."""
    return f"{number} ".ljust(size, "x")


def number_of(event, size=SIZE):
    """Which of the events this is, if it is a whole one."""
    number = event.data.partition(" ")[0]
    return int(number) if event.data == data_of(number, size) else event


@pytest.mark.parametrize("pause", READERS_PAUSES)
def test_readers_that_took_meanwhile_are_not_cut(pause, start_hub, certificate):
    # Wide enough that the events are still there: what is looked at is the deadline.
    hub = start_hub({**deadlines(WRITE_DEADLINE), "history.bytes": "64MiB", "limits.history_bytes": "512MiB"}, certificate=certificate)
    context = ssl.create_default_context(cafile=hub.certificate.cert)
    topics = iter(range(TRIES))

    def prepare():
        topic = f"t{next(topics)}"
        readers = {}
        for number in range(READERS_EACH):
            readers[f"plain {number}"] = Reader(hub.address, topic)
            readers[f"TLS {number}"] = Reader(hub.tls_address, topic, context)
            readers[f"HTTP/2 {number}"] = MultiplexedReader(hub.address, f"{topic}-small")
        partial = _partial(hub)
        for number in range(EVENTS):
            hub.publish(topic, data_of(number, SIZE))
            hub.publish(f"{topic}-small", data_of(number, WINDOW_SIZE))
        wait_until(lambda: _partial(hub) >= partial + READERS_EACH, "full sockets")
        return readers

    def drop(readers):
        for reader in readers.values():
            reader.close()

    readers = prepared_in_time(WRITE_DEADLINE, prepare, drop)
    with suspended(hub, pause * WRITE_DEADLINE):
        for reader in readers.values():
            reader.go_on()
    # All at once: one that waited for its turn would be slow by itself.
    with ThreadPoolExecutor(len(readers)) as pool:
        outcomes = dict(zip(readers, pool.map(lambda reader: outcome(reader.numbers), readers.values())))
    drop(readers)
    assert {name: found for name, found in outcomes.items() if found != list(range(EVENTS))} == {}


def _partial(hub):
    """Writes of lanes that a socket did not take whole."""
    return sum(lane["partial"] for lane in hub.stats()["lanes"])


def test_stopped_and_continued_under_load(start_hub):
    # Longer than the heartbeat and the write deadline: all timers are overdue when it goes on.
    read_under_load(start_hub({**LOAD, "heartbeat": "200ms", "timeouts.write": "500ms"}), pause=1.5)
