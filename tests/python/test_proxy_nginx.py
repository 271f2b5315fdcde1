"""Behind nginx: events pass one by one, without any setting for it, with buffering and compression on."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from support.sse import Stream, ask
from support.wait import wait_until

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {settings}
        location / {{ proxy_pass http://127.0.0.1:{hub}; }}
    }}
}}
"""

# `proxy_http_version` is 1.0 unless it is set: then the hub sends no chunks, and the end of the connection is the end.
SETTINGS = {
    "as it comes": "",
    "HTTP/1.1": "proxy_http_version 1.1; proxy_set_header Connection '';",
    "buffering": "proxy_buffering on; proxy_buffers 8 64k; proxy_http_version 1.1;",
    "no buffering": "proxy_buffering off;",
    "gzip": "gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0; proxy_http_version 1.1;",
    "host passed on": "proxy_set_header Host $host:$server_port;",
}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def nginx(tmp_path, start_hub):
    """Starts nginx before a new hub; returns the hub and the address of nginx."""
    command = shutil.which("nginx") or "/usr/sbin/nginx"
    started = []

    def start(settings, hub_settings=None):
        hub = start_hub(hub_settings)
        port = free_port()
        file = tmp_path / "nginx.conf"
        file.write_text(CONFIGURATION.format(folder=tmp_path, port=port, hub=hub.address[1], settings=settings))
        log = (tmp_path / "log").open("w+")
        process = subprocess.Popen([command, "-c", str(file), "-p", str(tmp_path), "-e", "stderr"], stderr=log)
        started.append(process)
        address = ("127.0.0.1", port)

        def is_up():
            assert process.poll() is None, Path(tmp_path / "log").read_text()
            try:
                return ask(address, "GET", "/healthz")[0] == 200
            except ConnectionRefusedError:
                return False

        wait_until(is_up, "nginx")
        return hub, address

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", SETTINGS)
def test_events_pass_one_by_one(name, nginx):
    hub, address = nginx(SETTINGS[name])
    headers = {"Accept-Encoding": "gzip"} if name == "gzip" else {}
    with Stream(address, "/events/t", headers) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        # nginx compresses in spite of `no-transform`, event by event because of `X-Accel-Buffering: no`.
        assert stream.headers.get("content-encoding") == ("gzip" if name == "gzip" else None)
        for number in range(50):
            # The next one is published only when this one has come.
            id = hub.publish("t", str(number))
            [event] = stream.take(1)
            assert (event.id, event.data) == (id, str(number))
    wait_until(lambda: hub.stats()["streams"]["open"] == 0, "the reader's end to reach the hub")


def test_the_first_bytes_come_before_any_event(nginx):
    hub, address = nginx("")
    with Stream(address, "/events/t") as stream:
        while stream.parser.comments == 0 or stream.parser.retry is None:
            stream.receive()
        assert hub.stats()["streams"]["open"] == 1


def test_resume_through_nginx(nginx):
    hub, address = nginx(SETTINGS["HTTP/1.1"])
    ids = hub.publish_all("t", [str(n) for n in range(100)])
    with Stream(address, "/events/t", {"Last-Event-ID": ids[49]}) as stream:
        assert [event.id for event in stream.take(50)] == ids[50:]
    with Stream(address, "/events/t?last_event_id=other-7") as stream:
        notice, *events = stream.take(101)
        assert notice.is_gap
        assert [event.id for event in events] == ids


def test_pages_behind_nginx_are_of_one_place(nginx):
    _, address = nginx(SETTINGS["host passed on"])
    origin = "http://127.0.0.1:%d" % address[1]
    assert ask(address, "POST", "/events/t", {"Origin": origin}, b"x", host=origin[7:])[0] == 200
    assert ask(address, "POST", "/events/t", {"Origin": "http://evil.example"}, b"x", host=origin[7:])[0] == 403


def test_heartbeats_pass(nginx):
    _, address = nginx("proxy_read_timeout 2s;", {"heartbeat": "200ms"})
    with Stream(address, "/events/t") as stream:
        # Twice as long as nginx allows without a byte.
        while stream.parser.comments < 20:
            stream.receive()
