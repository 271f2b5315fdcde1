"""Every piece of code in docs/embedding-python.md, run as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from servers import PYTHON, Server, Stream

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "embedding-python.md"
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S))
SERVERS = {
    "fastapi_app.py": [*PYTHON, "uvicorn", "--port", "0", "fastapi_app:app"],
    "flask_app.py": [*PYTHON, "flask", "--app", "flask_app", "run", "--port", "0"],
    "django_app.py": [*PYTHON, "gunicorn", "-w", "1", "-b", "127.0.0.1:0", "django_app"],
    "aiohttp_app.py": [sys.executable, "run.py"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, code in BLOCKS.items():
        # gunicorn would take this one by itself.
        if name != "gunicorn.conf.py":
            (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.setattr("servers.APPS", tmp_path)
    return tmp_path


def test_every_block_is_run() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert text.count("```python") == len(BLOCKS)
    assert set(BLOCKS) == {*SERVERS, "hello.py", "reading.py", "authorize.py", "gunicorn.conf.py", "handlers.py"}


def test_hello() -> None:
    with Server([sys.executable, "hello.py"]) as server:
        stream = Stream(server, "/events/clock")
        assert stream.head() == 200
        assert '"now"' in stream.events(1)[0]["data"]
        stream.close()


def test_reading(folder: Path) -> None:
    done = subprocess.run([sys.executable, "reading.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True jobs message one\nFalse jobs message two\nafter the first: two\n"


@pytest.mark.parametrize("name", SERVERS)
def test_web_applications(name: str, folder: Path) -> None:
    if name == "aiohttp_app.py":
        # As its last line, on a port that is free.
        code = "from aiohttp import web\nimport aiohttp_app, socket\ns = socket.create_server(('127.0.0.1', 0))\n"
        code += "print(f'http://127.0.0.1:{s.getsockname()[1]}', flush=True)\nweb.run_app(aiohttp_app.app, sock=s, print=None)\n"
        (folder / "run.py").write_text(code, encoding="utf-8")
    with Server(SERVERS[name]) as server:
        stream = Stream(server, "/events")
        assert stream.head() == 200
        say = f"http://127.0.0.1:{server.port}/say?text=" + urllib.parse.quote("grüß dich")
        method = "GET" if name == "django_app.py" else "POST"
        urllib.request.urlopen(urllib.request.Request(say, method=method), timeout=60).close()
        assert stream.events(1)[0]["data"] == '{"text":"grüß dich"}'
        stream.close()
        banned = Stream(server, "/events", X_Banned="1")
        assert banned.head() == (403 if name in ("fastapi_app.py", "django_app.py") else 200)
        banned.close()
        assert "Traceback" not in server.log, server.log


def test_authorize() -> None:
    with Server([sys.executable, "-c", "import builtins, threading; builtins.input = threading.Event().wait; import authorize"]) as server:
        for token, status in [("", 401), ("Bearer 123", 200), ("Bearer 12", 401)]:
            stream = Stream(server, "/events/t", Authorization=token)
            assert stream.head() == status
            stream.close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.call("/events/t")
        assert refused.value.code == 403


def test_post_fork(folder: Path) -> None:
    app = "import fanfare\nhub = None\ndef start_hub():\n    global hub\n    hub = fanfare.Hub(listen='127.0.0.1:0')\n"
    app += "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [hub.publish('t', 'x').encode()]\n"
    (folder / "myapp.py").write_text(app, encoding="utf-8")
    (folder / "gunicorn.conf.py").write_text(BLOCKS["gunicorn.conf.py"], encoding="utf-8")
    with Server([*PYTHON, "gunicorn", "--preload", "-w", "1", "-b", "127.0.0.1:0", "myapp:app"]) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=60) as answer:
            assert b"-1" in answer.read()
