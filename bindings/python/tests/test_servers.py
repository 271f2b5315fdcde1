"""Real web servers: streams on their routes, handed over where that is possible and written by the host elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from conftest import PATIENCE, until
from servers import PYTHON, Server, Stream, trusting


class Kind(NamedTuple):
    command: list[str]
    #: The socket goes to the hub.
    handed_over: bool
    tls: bool = False


GUNICORN = [*PYTHON, "gunicorn", "-b", "127.0.0.1:0", "--graceful-timeout", "2", "--access-logfile", "-"]
UVICORN = [*PYTHON, "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2"]
TLS = ["--ssl-certfile", "{cert}", "--ssl-keyfile", "{key}"]
KINDS = {
    "uvicorn-h11-asyncio": Kind([*UVICORN, "--http", "h11", "--loop", "asyncio", "asgi_app:app"], True),
    "uvicorn-h11-uvloop": Kind([*UVICORN, "--http", "h11", "--loop", "uvloop", "asgi_app:app"], True),
    "uvicorn-httptools-asyncio": Kind([*UVICORN, "--http", "httptools", "--loop", "asyncio", "asgi_app:app"], True),
    "uvicorn-httptools-uvloop": Kind([*UVICORN, "--http", "httptools", "--loop", "uvloop", "asgi_app:app"], True),
    "uvicorn-tls": Kind([*UVICORN, *TLS, "asgi_app:app"], False, tls=True),
    "hypercorn": Kind([*PYTHON, "hypercorn", "-b", "127.0.0.1:0", "--graceful-timeout", "2", "asgi_app:app"], False),
    "gunicorn-sync": Kind([*GUNICORN, "-w", "1", "flask_app:app"], True),
    "gunicorn-gthread": Kind([*GUNICORN, "-w", "1", "-k", "gthread", "--threads", "2", "flask_app:app"], True),
    "gunicorn-gevent": Kind([*GUNICORN, "-w", "1", "-k", "gevent", "flask_app:app"], True),
    "gunicorn-gevent-tls": Kind(
        [*GUNICORN, "-w", "1", "-k", "gevent", "--certfile", "{cert}", "--keyfile", "{key}", "flask_app:app"], False, tls=True
    ),
    "flask": Kind([*PYTHON, "flask", "--app", "flask_app", "run", "--port", "0"], True),
    "flask-debug": Kind([*PYTHON, "flask", "--app", "flask_app", "run", "--port", "0", "--debug", "--no-reload"], True),
    "django-gunicorn": Kind([*GUNICORN, "-w", "1", "django_app:wsgi"], True),
    "django-uvicorn": Kind([*UVICORN, "--lifespan", "off", "django_app:asgi"], False),
    "aiohttp": Kind([sys.executable, "-X", "dev", "-W", "ignore", "aiohttp_app.py"], True),
    "aiohttp-tls": Kind([sys.executable, "-X", "dev", "-W", "ignore", "aiohttp_app.py"], False, tls=True),
}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *name, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def start(kind: Kind, certificate: tuple[Path, Path], env: dict[str, str] | None = None) -> Server:
    cert, key = map(str, certificate)
    env = {**(env or {}), **({"CERT": cert, "KEY": key} if kind.tls else {})}
    return Server([word.format(cert=cert, key=key) if word[0] == "{" else word for word in kind.command], env, kind.tls)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def server(kind: Kind, certificate: tuple[Path, Path]) -> Iterator[Server]:
    with start(kind, certificate) as server:
        yield server


def streams(server: Server) -> tuple[int, int]:
    """Streams of the hub by who writes them: the hub, the host."""
    by_protocol = server.hub_stats()["streams"]
    return by_protocol["h1"], by_protocol["host"]


def open_streams(server: Server) -> int:
    return sum(streams(server))


def test_streams(kind: Kind, server: Server) -> None:
    """One life of a server: every promise that does not depend on which one it is."""
    # Headers of middleware, after_request and signals reach the client, and so do the stream's own.
    first = Stream(server)
    assert first.head() == 200
    assert (first.header("content-type") or "").startswith("text/event-stream")
    assert "no-cache" in (first.header("cache-control") or "")
    assert first.header("x-accel-buffering") == "no"
    assert (first.header("set-cookie") or "").startswith("seen=yes")
    assert first.chunked
    assert len([name for name, _ in first.headers if name == "content-type"]) == 1
    if "asgi_app:app" not in kind.command:
        assert first.header("access-control-allow-origin") == "https://app.example"
    else:
        cors = Stream(server, Origin="https://app.example")
        assert cors.head() == 200
        assert cors.header("access-control-allow-origin") == "https://app.example"
        cors.close()
        until(lambda: open_streams(server) == 1, "the closed stream to be noticed")
    until(lambda: streams(server) == ((1, 0) if kind.handed_over else (0, 1)), f"one stream, handed over: {kind.handed_over}")

    # Events in order while the server goes on answering: with one synchronous worker too.
    ids = server.call("/publish?count=200")
    events = first.events(200)
    assert [event["id"] for event in events] == ids
    assert [event["data"] for event in events] == [f'{{"n":{n}}}' for n in range(200)]
    assert {event["event"] for event in events} == {"tick"}

    # Resume by header and by query; the header wins.
    for path, headers in [
        ("/stream", {"Last_Event_ID": ids[149]}),
        (f"/stream?last_event_id={ids[149]}", {}),
        (f"/stream?last_event_id={ids[3]}", {"Last_Event_ID": ids[149]}),
    ]:
        resumed = Stream(server, path, **headers)
        assert resumed.head() == 200
        assert [event["id"] for event in resumed.events(50)] == ids[150:]
        resumed.close()
    until(lambda: open_streams(server) == 1, "peers that closed to be noticed")

    # HTTP/1.0 knows no chunks.
    old = Stream(server, f"/stream?last_event_id={ids[190]}", version="1.0")
    assert old.head() == 200
    if not old.chunked:
        assert [event["id"] for event in old.events(9)] == ids[191:]
    old.close()
    until(lambda: open_streams(server) == 1, "the old client to be noticed")

    # The route refuses by itself; a stream of a revoked client ends.
    refused = Stream(server, "/stream?name=nobody")
    assert refused.head() == 403
    refused.close()
    mine = Stream(server, "/stream?client=me")
    assert mine.head() == 200
    until(lambda: open_streams(server) == 2, "both streams")
    server.call("/revoke?client=me")
    assert mine.events(1) == []
    mine.close()

    # A closed topic: its readers end, later ones get 204 and stay away.
    last = Stream(server, "/stream?topic=gone")
    assert last.head() == 200
    until(lambda: open_streams(server) == 2, "both streams")
    server.call("/publish?topic=gone")
    server.call("/close?topic=gone")
    assert [event["data"] for event in last.events(5)] == ['{"n":0}']
    last.close()
    gone = Stream(server, "/stream?topic=gone")
    assert gone.head() == 204
    gone.close()

    # What is wrong is refused before anything is sent.
    wrong = Stream(server, "/stream?topic=")
    assert wrong.head() == 400
    wrong.close()

    # The server stops with a stream open, and nobody complained. What a server says about its own streams when it cuts them is its own.
    before = server.log
    status = server.stop()
    log = server.log if kind.handed_over else before
    first.events(1)
    first.close()
    assert "Traceback" not in log, log
    assert "completing response" not in log, log
    assert status in (0, -15, 143), server.log


def test_500_clients_of_one_synchronous_worker(certificate: tuple[Path, Path]) -> None:
    with start(KINDS["gunicorn-sync"], certificate) as server:
        clients = [Stream(server) for _ in range(500)]
        assert [client.head() for client in clients] == [200] * 500
        until(lambda: streams(server) == (500, 0), "500 streams of the hub")
        ids = server.call("/publish?count=20")
        for client in clients:
            assert [event["id"] for event in client.events(20)] == ids
        for client in clients:
            client.close()
        until(lambda: open_streams(server) == 0, "500 clients that left")
        assert "Traceback" not in server.log, server.log


PRELOAD = [*GUNICORN, "-w", "2", "--preload", "flask_app:app"]


def test_preload_is_refused_with_a_clear_error(certificate: tuple[Path, Path]) -> None:
    with start(Kind(PRELOAD, True), certificate) as server:
        client = Stream(server)
        assert client.head() == 500
        client.close()
        until(lambda: "ForkedError" in server.log, "the reason in the log")


def test_post_fork_works(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("def post_fork(server, worker):\n    import flask_app\n    flask_app.start()\n", encoding="utf-8")
    command = [*GUNICORN, "-w", "1", "--preload", "-c", str(config), "flask_app:app"]
    with start(Kind(command, True), certificate, {"FANFARE_START": "post_fork"}) as server:
        client = Stream(server)
        assert client.head() == 200
        until(lambda: streams(server) == (1, 0), "the stream")
        ids = server.call("/publish?count=3")
        assert [event["id"] for event in client.events(3)] == ids
        client.close()
        assert "Traceback" not in server.log, server.log


@pytest.mark.parametrize("name", ["uvicorn-h11-asyncio", "uvicorn-httptools-uvloop", "hypercorn"])
def test_the_mounted_application(name: str, certificate: tuple[Path, Path]) -> None:
    with start(KINDS[name], certificate) as server:
        one, two = Stream(server, "/mounted/chat"), Stream(server, "/mounted/?topic=chat&topic=other&replay=all")
        assert (one.head(), two.head()) == (200, 200)
        until(lambda: open_streams(server) == 2, "both streams")
        ids = server.call("/publish?count=2") + server.call("/publish?topic=other")
        assert [event["id"] for event in one.events(2)] == ids[:2]
        assert [event["id"] for event in two.events(3)] == ids
        again = Stream(server, "/mounted/chat?replay=1")
        assert again.head() == 200
        assert [event["id"] for event in again.events(1)] == ids[1:2]
        for path, headers, status in [
            ("/mounted/", {}, 404),
            ("/mounted/chat?replay=some", {}, 400),
            ("/mounted/chat?lag=sometimes", {}, 400),
            ("/mounted/?topic=a%0Ab", {}, 400),
            ("/guarded/chat", {}, 403),
            ("/guarded/chat", {"X_Name": "teapot"}, 418),
            ("/guarded/chat", {"X_Name": "crash"}, 500),
            ("/guarded/chat", {"X_Name": "ann"}, 200),
        ]:
            stream = Stream(server, path, **headers)
            assert stream.head() == status, path
            if status == 200:
                until(lambda: open_streams(server) == 4, "the guarded stream")
                server.call("/revoke?client=ann")
                assert stream.events(1) == []
            stream.close()
        for stream in (one, two, again):
            stream.close()
        until(lambda: open_streams(server) == 0, "everybody to be gone")
        assert "this hook fails" in server.log


def test_the_servers_are_all_here() -> None:
    """A server that is not installed would be a test that is not run."""
    for name in ("uvicorn", "hypercorn", "gunicorn", "gevent", "flask", "django", "aiohttp", "h11", "httptools", "uvloop"):
        __import__(name)
    assert os.name == "posix"


def test_http2_is_written_by_the_host(certificate: tuple[Path, Path]) -> None:
    """Many streams on one connection have no socket each: the host writes their frames."""
    hypercorn = [*PYTHON, "hypercorn", "-b", "127.0.0.1:0", "--graceful-timeout", "2"]
    kind = Kind([*hypercorn, "--certfile", "{cert}", "--keyfile", "{key}", "asgi_app:app"], False, tls=True)
    with start(kind, certificate) as server:
        url = f"https://127.0.0.1:{server.port}/stream"
        with http2() as client, client.stream("GET", url) as first, client.stream("GET", url) as second:
            for answer in (first, second):
                assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert "connection" not in answer.headers and "transfer-encoding" not in answer.headers
            until(lambda: streams(server) == (0, 2), "two streams that the host writes")
            ids = server.call("/publish?count=200")
            for answer in (first, second):
                assert take_ids(answer, 200) == ids
        # Their client resets no stream: it closes the connection.
        until(lambda: open_streams(server) == 0, "a closed connection to be noticed")
        with http2() as client, client.stream("GET", url, headers={"Last-Event-ID": ids[149]}) as resumed:
            assert take_ids(resumed, 50) == ids[150:]


def http2() -> httpx.Client:
    return httpx.Client(http2=True, verify=trusting(), timeout=PATIENCE)



def take_ids(answer: httpx.Response, count: int) -> list[str]:
    """The ids of the next events."""
    ids: list[str] = []
    for line in answer.iter_lines():
        if line.startswith("id:"):
            ids.append(line.removeprefix("id:").strip())
        # An event ends with an empty line, and the last one has to be whole.
        if not line and len(ids) == count:
            return ids
    return ids
