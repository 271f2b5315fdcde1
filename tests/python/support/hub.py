"""A hub process for one test: started on a free port, asked over HTTP, stopped by signal."""

import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import requests

STARTED = re.compile(r"(https?)://([0-9.]+):(\d+)")

# Quick returns after a cut, and no comments between events.
BRISK = {"retry": "10ms", "retry.jitter": "0", "heartbeat": "0"}


def binary():
    """The `fanfare` to test: `FANFARE_BIN`."""
    path = os.environ.get("FANFARE_BIN")
    if not path:
        raise RuntimeError("FANFARE_BIN names no fanfare binary")
    return path


def environment():
    """Ours without FANFARE_*: that is the hub's configuration, and it refuses what it does not know."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FANFARE_")}


class Hub:
    """A running `fanfare serve`. `settings` are configuration keys, `flags` go to the command line as they are,
    `variables` to its environment; `before_exec` is called in its process before it starts."""

    def __init__(self, settings=None, flags=(), nofile=None, certificate=None, variables=None, before_exec=None):
        self.certificate = certificate
        command = [binary(), "serve", "--listen", "127.0.0.1:0", *flags]
        if certificate:
            command += ["--tls-listen", "127.0.0.1:0", "--tls-cert", certificate.cert, "--tls-key", certificate.key]
        for key, value in {**BRISK, **(settings or {})}.items():
            command += ["--set", f"{key}={value}"]
        self._log = tempfile.TemporaryFile("w+")

        def prepare():
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            if before_exec:
                before_exec()

        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, stdin=subprocess.DEVNULL, text=True, preexec_fn=prepare if nofile or before_exec else None,
            env={**environment(), **(variables or {})},
        )
        self._sessions = threading.local()
        self.address, self.tls_address = None, None
        wanted = 2 if certificate else 1
        for line in self.process.stdout:
            for scheme, host, port in STARTED.findall(line):
                if scheme == "https":
                    self.tls_address = (host, int(port))
                else:
                    self.address = (host, int(port))
            if sum(a is not None for a in (self.address, self.tls_address)) == wanted:
                break
        else:
            raise RuntimeError(f"the hub ended with {self.process.wait()}: {self.log()}")
        self._drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self._drain.start()
        self.url = "http://%s:%d" % self.address
        self.tls_url = "https://%s:%d" % self.tls_address if certificate else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.session.close()
        self._drain.join(10)
        self.process.stdout.close()
        self._log.close()

    def log(self):
        """What the hub has written to its standard error."""
        self._log.seek(0)
        return self._log.read()

    @property
    def session(self):
        """This thread's kept-alive connection."""
        if not hasattr(self._sessions, "value"):
            self._sessions.value = requests.Session()
            self._sessions.value.trust_env = False
        return self._sessions.value

    def publish(self, topic, data, **parameters):
        """Publishes one event; returns its id."""
        if isinstance(data, str):
            data = data.encode()
        reply = self.session.post(f"{self.url}/events/{topic}", data=data, params=parameters, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()["id"]

    def publish_all(self, topic, events, within=60):
        """Publishes many events at once; returns their ids. An event is its data, or a dict of members."""
        lines = [json.dumps(e if isinstance(e, dict) else {"data": e}) for e in events]
        reply = self.session.post(
            f"{self.url}/events/{topic}",
            data="\n".join(lines).encode(),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=within,
        )
        assert reply.status_code == 200, reply.text
        return reply.json()["ids"]

    def close_topic(self, topic):
        """Closes a topic; says whether it was open."""
        reply = self.session.delete(f"{self.url}/events/{topic}", timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()["closed"]

    def stats(self):
        """The JSON of `/stats`."""
        return self.session.get(f"{self.url}/stats", timeout=60).json()

    def memory(self):
        """Resident memory of the hub, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def processor_seconds(self):
        """Processor time the hub has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def send_signal(self, number):
        """Sends a signal and goes on."""
        self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, within=60):
        """Sends a signal and waits for the end; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(within)
