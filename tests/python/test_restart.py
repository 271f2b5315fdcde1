"""Hubs that end: by kill -9, by signal, with readers on them; and what readers find when they come back."""

import json
import signal
import subprocess
import threading

import httpx
import pytest
from httpx_sse import connect_sse

from support.clients import CUT, Reading
from support.hub import binary, environment
from support.sse import Stream, connect, request_bytes
from support.wait import wait_until

READERS = 20


def read_until(address, reading, done):
    """A reader that comes back with its last id until `done`."""
    while not done():
        headers = {"Last-Event-ID": reading.last_id} if reading.last_id else {}
        try:
            with Stream(address, "/events/t?replay=all", headers) as stream:
                reading.connections += 1
                for event in stream:
                    reading.take(event)
                    if done():
                        return
        except CUT:
            continue


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_readers_outlive_the_hub(how, start_hub, start_proxy):
    settings = {"timeouts.stop": "200ms"}
    hub = start_hub(settings)
    proxy = start_proxy(hub.address)
    readings = [Reading() for _ in range(READERS)]
    threads = [
        threading.Thread(target=read_until, args=(proxy.address, r, lambda r=r: r.count == 200), daemon=True)
        for r in readings
    ]
    for thread in threads:
        thread.start()
    old = hub.publish_all("t", [str(n) for n in range(100)])
    for reading in readings:
        wait_until(lambda: reading.count == 100, "the first hundred")
    proxy.upstream = None
    assert hub.stop(how) == (-signal.SIGKILL if how == signal.SIGKILL else 0)
    hub = start_hub(settings)
    proxy.upstream = hub.address
    new = hub.publish_all("t", [str(n) for n in range(100, 200)])
    for thread in threads:
        thread.join(60)
    assert not {i.split("-")[0] for i in old} & {i.split("-")[0] for i in new}, "a new epoch"
    for reading in readings:
        assert reading.data == [str(n) for n in range(200)]
        assert [event.id for event in reading.events if not event.is_gap] == old + new
        [(place, notice)] = reading.gaps
        assert place == 100
        told = json.loads(notice.data)
        assert told["requested"] == old[-1]
        assert told["oldest"] in (None, new[0])


def test_a_quiet_hub_after_a_restart_still_tells(start_hub):
    hub = start_hub()
    last = hub.publish("t", "only")
    hub.stop(signal.SIGKILL)
    hub = start_hub()
    with Stream(hub.address, "/events/t", {"Last-Event-ID": last}) as stream:
        [notice] = stream.take(1)
        assert notice.is_gap
        assert json.loads(notice.data) == {"requested": last, "oldest": None, "newest": None}
        published = hub.publish("t", "after")
        [event] = stream.take(1)
        assert (event.id, event.data) == (published, "after")
    # A client that got no more than the notice resumes from it exactly.
    with Stream(hub.address, "/events/t", {"Last-Event-ID": notice.id}) as stream:
        assert [event.data for event in stream.take(1)] == ["after"]


def test_drain_ends_every_stream_whole(start_hub):
    streams_count = 500
    hub = start_hub({"timeouts.stop": "2s"})
    streams = [Stream(hub.address, "/events/t") for _ in range(streams_count)]
    wait_until(lambda: hub.stats()["streams"]["open"] == streams_count, "all streams")
    ids = hub.publish_all("t", [str(n) for n in range(200)])
    assert hub.stop() == 0
    for stream in streams:
        assert [(event.id, event.data) for event in stream] == list(zip(ids, map(str, range(200))))
        assert stream.ended, "the last chunk has come"
        assert stream.sock.recv(1) == b""
        stream.close()
    hub = start_hub()
    again = hub.publish_all("t", ["a", "b"])
    for _ in range(streams_count):
        with Stream(hub.address, "/events/t", {"Last-Event-ID": ids[-1]}) as stream:
            notice, *events = stream.take(3)
            assert notice.is_gap and json.loads(notice.data)["requested"] == ids[-1]
            assert [event.id for event in events] == again


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_no_connection_holds_up_the_end(how, start_hub):
    hub = start_hub({"timeouts.stop": "500ms", "timeouts.request": "1h", "timeouts.body": "1h", "timeouts.idle": "1h"})
    unfinished = [
        b"",
        b"GET /events/t HTTP/1.1\r\nHost: loc",
        request_bytes("POST", "/events/t", {"Content-Length": "100"}, b"half a body"),
        request_bytes("GET", "/healthz"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ]
    sockets = [connect(hub.address) for _ in unfinished]
    for sock, start in zip(sockets, unfinished):
        sock.sendall(start)
    with httpx.Client(http1=False, http2=True, timeout=60, trust_env=False) as client:
        with connect_sse(client, "GET", f"{hub.url}/events/t") as source, Stream(hub.address, "/events/t"):
            assert source.response.status_code == 200
            wait_until(lambda: hub.stats()["streams"] == {"open": 2, "h1": 1, "h2": 1, "host": 0}, "both streams")
            assert hub.stop(how) == 0
    for sock in sockets:
        sock.close()
    with pytest.raises(ConnectionRefusedError):
        connect(hub.address)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once(number, status, start_hub):
    hub = start_hub({"timeouts.stop": "1h"})
    streams = [Stream(hub.address, "/events/t") for _ in range(50)]
    hub.send_signal(number)
    wait_until(lambda: "stopping" in hub.log(), "the first signal")
    assert hub.stop(number) == status
    for stream in streams:
        stream.close()


def test_a_taken_port_is_named(start_hub):
    hub = start_hub()
    address = "%s:%d" % hub.address
    command = [binary(), "serve", "--listen", address]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert second.returncode == 1
    assert address in second.stderr
    assert hub.stats()["connections"]["open"] == 1, "the first goes on"
