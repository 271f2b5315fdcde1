"""Real servers in processes of their own, and a client that sees every byte."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from conftest import PATIENCE, until

APPS = Path(__file__).parent / "apps"
PYTHON = [sys.executable, "-X", "dev", "-W", "ignore", "-m"]


class Server:
    """A server that has said where it listens. Its output is kept."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None, tls: bool = False) -> None:
        own = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.tls = tls
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, cwd=APPS, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.port = 0
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        until(lambda: self.port or self.process.poll() is not None, "the server's address")
        assert self.port, self.log

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"https?://127\.0\.0\.1:(\d+)", line):
                self.port = self.port or int(found[1])

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def call(self, path: str, method: str = "POST") -> Any:
        scheme = "https" if self.tls else "http"
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{self.port}{path}", method=method)
        context = trusting() if self.tls else None
        with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:
            return json.load(answer)

    def hub_stats(self) -> dict[str, Any]:
        """What the hub in it says on its own listener."""
        with urllib.request.urlopen(self.call("/info", "GET") + "/stats", timeout=PATIENCE) as answer:
            stats: dict[str, Any] = json.load(answer)
            return stats

    def stop(self) -> int:
        """By SIGTERM; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"did not stop:\n{self.log}") from None
        self._reading.join(PATIENCE)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            print(self.log)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Stream:
    """A request on a socket of its own, and its answer as it comes."""

    def __init__(self, server: Server, path: str = "/stream", *, version: str = "1.1", **headers: str) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        if server.tls:
            self.socket = trusting().wrap_socket(self.socket)
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1\r\n{head}\r\n".encode())
        self._file = self.socket.makefile("rb")
        self._decoded = b""

    def head(self) -> int:
        """Reads status and headers."""
        line = self._file.readline().split(b" ")
        self.headers: list[tuple[str, str]] = []
        while (header := self._file.readline().decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            self.headers.append((name.lower(), value.strip()))
        self.chunked = ("transfer-encoding", "chunked") in self.headers
        return int(line[1])

    def header(self, name: str) -> str | None:
        return next((value for own, value in self.headers if own == name), None)

    def _more(self) -> bool:
        if not self.chunked:
            data = self._file.read1(65536)
        else:
            size = self._file.readline().strip()
            data = self._file.read(int(size, 16)) if size else b""
            self._file.readline()
        self._decoded += data
        return bool(data)

    def events(self, count: int) -> list[dict[str, str]]:
        """The next events; fewer only if the stream ends."""
        found: list[dict[str, str]] = []
        while len(found) < count:
            while b"\n\n" not in self._decoded:
                if not self._more():
                    return found
            block, self._decoded = self._decoded.split(b"\n\n", 1)
            lines = [line for line in block.decode().split("\n") if line and not line.startswith(":")]
            fields = dict((name, value.removeprefix(" ")) for name, _, value in (line.partition(":") for line in lines))
            if "data" in fields:
                found.append(fields)
        return found

    def close(self) -> None:
        self._file.close()
        self.socket.close()
