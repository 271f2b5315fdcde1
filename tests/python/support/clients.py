"""Other people's clients behind one door: `events(url, last_id)` yields events until the connection ends.

A client that resumes by itself is left to it; the others are asked again by `follow`, with the id of the last event they gave.
"""

import asyncio
import subprocess
import time
from datetime import timedelta

import aiohttp
import h2.exceptions
import httpx
import requests
import requests_sse
import sseclient
from aiohttp_sse_client2 import client as aiohttp_sse
from httpx_sse import connect_sse

from support.sse import Event, Parser

# How a client says that its connection has ended before its time. httpx lets an error of its HTTP/2 library through: a
# server that ends gently sends GOAWAY and then PING, and that library takes no PING after GOAWAY.
CUT = (OSError, requests.RequestException, httpx.HTTPError, h2.exceptions.ProtocolError, aiohttp.ClientError)

ACCEPT = {"Accept": "text/event-stream"}


def _headers(last_id):
    return {**ACCEPT, "Last-Event-ID": last_id} if last_id else dict(ACCEPT)


class SseclientPy:
    """sseclient-py over requests: reads by block, so it needs chunks."""

    name = "sseclient-py"
    tls = False

    def events(self, url, last_id):
        with requests.get(url, headers=_headers(last_id), stream=True, timeout=60) as response:
            response.raise_for_status()
            if response.status_code == 204:
                return
            for event in sseclient.SSEClient(response).events():
                yield Event(event.id or "", event.event, event.data)


class HttpxSse:
    """httpx-sse, over HTTP/1.1, HTTP/2 in clear, or HTTP/2 over TLS."""

    def __init__(self, protocol):
        self.name = f"httpx-sse-{protocol}"
        self.tls = protocol == "h2-tls"
        self._options = {"h1": {}, "h2c": {"http1": False, "http2": True}, "h2-tls": {"http2": True}}[protocol]
        self._version = "HTTP/1.1" if protocol == "h1" else "HTTP/2"

    def events(self, url, last_id):
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with httpx.Client(timeout=60, trust_env=False, verify=False, **self._options) as client:
            with connect_sse(client, "GET", url, headers=headers) as source:
                assert source.response.http_version == self._version
                if source.response.status_code == 204:
                    return
                for event in source.iter_sse():
                    # It reports every blank line, once it has seen an id: ours must not send one without an event.
                    yield Event(event.id, event.event, event.data)


class RequestsSse:
    """requests-sse resumes by itself, with the id it has got and the time that `retry:` told it."""

    name = "requests-sse"
    tls = False

    def events(self, url, last_id):
        source = requests_sse.EventSource(
            url, reconnection_time=timedelta(milliseconds=5), max_connect_retry=9, timeout=60, headers=_headers(last_id)
        )
        with source:
            for event in source:
                yield Event(event.last_event_id, event.type, event.data)


class AiohttpSse:
    """aiohttp-sse-client2."""

    name = "aiohttp-sse-client2"
    tls = False

    def events(self, url, last_id):
        loop = asyncio.new_event_loop()
        source = loop.run_until_complete(self._open(url, last_id))
        try:
            while True:
                try:
                    event = loop.run_until_complete(source.__anext__())
                except StopAsyncIteration:
                    return
                yield Event(event.last_event_id, event.message or "message", event.data)
        finally:
            loop.run_until_complete(source.__aexit__())
            loop.close()

    @staticmethod
    async def _open(url, last_id):
        # No reconnecting of its own: it waits for seconds, and only after a clean end.
        source = aiohttp_sse.EventSource(url, headers=_headers(last_id), reconnection_time=timedelta(days=1))
        try:
            await source.connect()
        except BaseException:
            await source.__aexit__()
            raise
        return source


class Curl:
    """`curl -N`, and the house parser behind it."""

    name = "curl"
    tls = False

    def events(self, url, last_id):
        command = ["curl", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--max-time", "120"]
        command += [f"-H{name}: {value}" for name, value in _headers(last_id).items()]
        process = subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        parser = Parser()
        try:
            while piece := process.stdout.read1(65536):
                yield from parser.feed(piece)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def every_client():
    """One of each."""
    return [SseclientPy(), HttpxSse("h1"), HttpxSse("h2c"), HttpxSse("h2-tls"), RequestsSse(), AiohttpSse(), Curl()]


class Reading:
    """What one reader has got so far, over all its connections."""

    def __init__(self):
        self.events = []
        self.count = 0
        self.connections = 0

    def take(self, event):
        """One more."""
        self.events.append(event)
        self.count += not event.is_gap

    @property
    def last_id(self):
        return self.events[-1].id if self.events else None

    @property
    def data(self):
        """Data of the events, notices left out."""
        return [event.data for event in self.events if not event.is_gap]

    @property
    def gaps(self):
        """Where in the stream notices came: (events before it, notice)."""
        return [(at, event) for at, event in enumerate(self.events) if event.is_gap]


def follow(client, url, reading, done, within=120):
    """Reads until `done()`, coming back with the last id after every cut."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, f"{len(reading.events)} events after {reading.connections} connections"
        reading.connections += 1
        stream = client.events(url, reading.last_id)
        try:
            for event in stream:
                reading.take(event)
                if done():
                    break
        except CUT:
            # The other end is gone for a moment: no need to ask a thousand times.
            time.sleep(0.005)
        finally:
            stream.close()
    return reading
