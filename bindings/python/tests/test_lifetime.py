"""Start, stop, fork, exit: nothing leaks, nothing hangs, nothing crashes."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, run_python, until

import fanfare


#: `cargo xtask soak`.
SOAK = "FANFARE_SOAK" in os.environ


def test_a_hundred_cycles_leak_nothing() -> None:
    program = [sys.executable, str(Path(__file__).with_name("cycles.py")), "1000" if SOAK else "100"]
    env = {**os.environ, "PYTHONMALLOC": "malloc"}
    done = subprocess.run(program, capture_output=True, text=True, timeout=3600, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    counted = json.loads(done.stdout)
    assert counted["after"] == counted["before"]
    # A hub is tens of KiB: of two hundred not one has stayed.
    assert counted["more"] < 256 * 1024


def test_importing_starts_nothing() -> None:
    code = """
import os, threading
before = len(os.listdir("/proc/self/task")), threading.active_count()
import fanfare, fanfare.web
assert (len(os.listdir("/proc/self/task")), threading.active_count()) == before
import sys
assert not {"starlette", "flask", "django", "aiohttp", "uvicorn"} & set(sys.modules)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_are_configuration_keys(tmp_path: Path) -> None:
    file = tmp_path / "fanfare.toml"
    file.write_text("[history]\nevents = 3\n", encoding="utf-8")
    with fanfare.Hub(config_file=file, listen="127.0.0.1:0") as hub:
        for number in range(5):
            hub.publish("t", str(number))
        assert hub.stats().history_events == 3
    with fanfare.Hub(config_file=file, config={"history.events": 2}, listen=["127.0.0.1:0", "127.0.0.1:0"]) as hub:
        for number in range(5):
            hub.publish("t", str(number))
        assert hub.stats().history_events == 2
        assert len(hub.urls) == 2
    with fanfare.Hub(listen="127.0.0.1:0", config={"history.events": 2}, history_events=1, console=False, heartbeat=0.5) as hub:
        hub.publish_batch([("t", "a"), ("t", "b")])
        assert hub.stats().history_events == 1
    assert "history.events" in fanfare.config_keys()
    fanfare.check_options(config_file=file, history_events=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"histroy_events": 5}, "history.events"),
        ({"config": {"histroy.events": 5}}, "history.events"),
        ({"history_events": "many"}, "history.events"),
        ({"history_events": 0}, "history.events"),
        ({"listen": "nowhere"}, "listen"),
        ({"listen": object()}, "listen"),
        ({"log": "in\0fo"}, "log"),
        ({"log": "\udcff"}, "log"),
        ({"config_file": "/no/such/file.toml"}, "/no/such/file.toml"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(fanfare.InvalidConfigError) as refused:
        fanfare.Hub(**options)
    assert says in refused.value.message
    with pytest.raises(fanfare.InvalidConfigError) as refused:
        fanfare.check_options(**options)
    assert says in refused.value.message


def test_a_taken_address_is_named(hub: fanfare.Hub) -> None:
    address = hub.url.removeprefix("http://")
    with pytest.raises(fanfare.StartFailedError, match=address):
        fanfare.Hub(listen=address)


def test_after_stop_every_call_says_so(hub: fanfare.Hub) -> None:
    hub.publish("t", "x")
    reader = hub.subscribe("t")
    hub.stop(0)
    hub.stop()
    for call in (
        lambda: hub.publish("t", "x"),
        lambda: hub.publish("t", "x", event="e"),
        lambda: hub.publish_batch([("t", "x")]),
        lambda: hub.subscribe("t"),
        lambda: hub.close_topic("t"),
        lambda: hub.revoke("me"),
    ):
        with pytest.raises(fanfare.StoppingError):
            call()
    assert hub.stats().published == 1
    assert list(reader) == []
    assert reader.closed
    with pytest.raises(fanfare.InvalidParameterError):
        hub.stop(-1)


def test_stop_while_everybody_works() -> None:
    for _ in range(5):
        hub = fanfare.Hub(listen="127.0.0.1:0", lanes=1)
        ended: list[str] = []

        def publish() -> None:
            while True:
                try:
                    hub.publish("t", "x")
                except fanfare.StoppingError:
                    ended.append("publish")
                    return

        def read() -> None:
            for _ in hub.subscribe("t", lag="skip"):
                pass
            ended.append("read")

        async def aread() -> None:
            async for _ in hub.subscribe("t", lag="skip"):
                pass
            ended.append("async")

        work = [publish, publish, read, read, lambda: asyncio.run(aread())]
        workers = [threading.Thread(target=each) for each in work]
        for worker in workers:
            worker.start()
        until(lambda: hub.stats().published > 100 and hub.stats().subscriptions == 3, "work")
        hub.stop(0)
        for worker in workers:
            worker.join(PATIENCE)
        assert sorted(ended) == ["async", "publish", "publish", "read", "read"]


def test_the_hub_lives_as_long_as_its_subscriptions() -> None:
    reader = fanfare.Hub(listen="127.0.0.1:0", lanes=1).subscribe("t")
    gc.collect()
    assert reader.next(0) is None
    assert not reader.closed


def in_child(work: Any) -> int:
    """Runs it in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def refuses_everything(hub: fanfare.Hub, reader: fanfare.Subscription) -> None:
    for call in (
        lambda: hub.publish("t", "x"),
        lambda: hub.publish("t", "x", event="e"),
        lambda: hub.publish_batch([("t", "x")]),
        lambda: hub.subscribe("t"),
        lambda: hub.stats(),
        lambda: hub.stop(),
        lambda: next(reader),
    ):
        with pytest.raises(fanfare.ForkedError, match="fork"):
            call()
    reader.close()
    with fanfare.Hub(listen="127.0.0.1:0", lanes=1) as own:
        own.publish("t", "x")
        own.stop(0)


def test_a_forked_child_is_refused_and_the_parent_goes_on(hub: fanfare.Hub) -> None:
    reader = hub.subscribe("t")
    assert in_child(lambda: refuses_everything(hub, reader)) == 0
    hub.publish("t", "still here")
    assert next(reader).data == "still here"


def child_of_multiprocessing(hub: fanfare.Hub, reader: fanfare.Subscription) -> None:
    refuses_everything(hub, reader)


def test_multiprocessing_fork(hub: fanfare.Hub) -> None:
    reader = hub.subscribe("t")
    child = multiprocessing.get_context("fork").Process(target=child_of_multiprocessing, args=(hub, reader))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
    hub.publish("t", "still here")
    assert next(reader).data == "still here"


def test_a_child_that_exits_normally_leaves_its_parent_alone() -> None:
    code = """
import os, sys, fanfare
hub = fanfare.Hub(listen="127.0.0.1:0")
reader = hub.subscribe("t")
pid = os.fork()
if pid == 0:
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
hub.publish("t", "x")
assert next(reader).data == "x"
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


EXITS = {
    "main ends": "pass",
    "sys.exit": "sys.exit(0)",
    "daemon reader": "r = hub.subscribe('t'); threading.Thread(target=lambda: list(r), daemon=True).start()",
    "daemon publisher": "threading.Thread(target=publish, daemon=True).start()",
    "loop left behind": """
async def wait():
    try:
        await asyncio.wait_for(anext(readers[0]), 0.05)
    except asyncio.TimeoutError:
        pass
loop = asyncio.new_event_loop()
loop.run_until_complete(wait())
loop.close()
""",
}


@pytest.mark.parametrize("how", EXITS)
def test_exit_with_streams_open(how: str) -> None:
    count = 1000 if SOAK else 200
    code = f"""
import asyncio, resource, socket, sys, threading, time, fanfare
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(limits[1], 4096)), limits[1]))
hub = fanfare.Hub(listen="127.0.0.1:0", timeouts_stop=0.2)
def publish():
    try:
        while True:
            hub.publish("t", "x")
    except fanfare.StoppingError:
        pass
address = hub.url.removeprefix("http://").split(":")
streams = []
for _ in range({count}):
    stream = socket.create_connection((address[0], int(address[1])))
    stream.sendall(b"GET /events/t HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n")
    assert stream.recv(12) == b"HTTP/1.1 200"
    streams.append(stream)
readers = [hub.subscribe("t") for _ in range({count})]
{EXITS[how]}
"""
    for _ in range(100 if SOAK else 4):
        done = run_python(code)
        assert done.returncode == 0, done.stderr
        assert not done.stderr


def test_ctrl_c_ends_a_reader() -> None:
    code = """
import _thread, signal, threading, fanfare
# A shell gives its background jobs an ignored SIGINT, and then there is nothing to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
with fanfare.Hub(listen="127.0.0.1:0") as hub:
    threading.Timer(0.3, _thread.interrupt_main).start()
    try:
        for event in hub.subscribe("t"):
            pass
    except KeyboardInterrupt:
        print("interrupted")
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
