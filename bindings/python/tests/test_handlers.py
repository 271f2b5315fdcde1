"""Event handlers: refused by name in a library without them, which a default build is; used in one with them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fanfare

#: A core module that drops events whose data has four bytes. In text it is in ffi/tests/handlers.rs.
DROPS_FOUR_BYTES = bytes.fromhex(
    "0061736d0100000001170260047f7f7f7f017f600a7f7f7f7f7f7f7f7f7f7f017f03030200010503010001072503066d656d"
    + "6f727902000c636162695f7265616c6c6f630000097472616e73666f726d00010a160205004180080b0e0041002009410446"
    + "3a000041000b"
)


def test_a_handler_is_used_or_refused_by_name(hub: fanfare.Hub, tmp_path: Path) -> None:
    file = tmp_path / "four.wasm"
    file.write_bytes(DROPS_FOUR_BYTES)
    try:
        name = hub.load_handler("votes*", file)
    except fanfare.UnsupportedError as refused:
        assert "WITH_HANDLERS" not in os.environ, "this library was to have handlers"
        assert "without event handlers" in refused.message
        with pytest.raises(fanfare.UnsupportedError):
            hub.load_handler("votes*", DROPS_FOUR_BYTES, name="four")
        with pytest.raises(fanfare.UnsupportedError, match=r"four\.wasm"):
            fanfare.Hub(listen="127.0.0.1:0", handlers={"votes": file})
        assert hub.handlers() == []
        return
    assert name == "four"
    assert hub.load_handler("votes*", DROPS_FOUR_BYTES, name="four") == "four-2"
    hub.publish("votes/1", "four")
    hub.publish("votes/1", "other")
    first, second = hub.handlers()
    assert (first.name, first.topics, first.calls, first.dropped, first.passed) == ("four", "votes*", 2, 1, 1)
    assert (second.name, second.calls) == ("four-2", 1)
    # What is dropped has the id of what came before.
    last = hub.publish("votes/1", "other")
    assert hub.publish("votes/1", "four") == hub.publish("votes/1", "four", event="e") == last
    ids = hub.publish_batch([("votes/1", "four"), ("votes/1", "other"), ("votes/1", "four")])
    assert ids[0] == last != ids[1] == ids[2]
    assert hub.unload_handler("four")
    assert [handler.name for handler in hub.handlers()] == ["four-2"]
    with pytest.raises(fanfare.InvalidConfigError, match="broken"):
        hub.load_handler("votes*", b"no module", name="broken")
    with fanfare.Hub(listen="127.0.0.1:0", handlers={"votes": file}) as other:
        assert [handler.name for handler in other.handlers()] == ["four"]
        other.stop(0)


def test_the_program_of_the_guide(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs" / "embedding-python.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", guide, re.S))
    (tmp_path / "handlers.py").write_text(blocks["handlers.py"], encoding="utf-8")
    done = subprocess.run([sys.executable, "handlers.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if "WITH_HANDLERS" in os.environ:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "YES\nhandler votes refused the event: vote yes or no\n2 calls\n"
    else:
        assert done.returncode == 1 and "fanfare.errors.UnsupportedError" in done.stderr


def test_wrong_arguments(hub: fanfare.Hub) -> None:
    for topics, source, name in [("t", b"x", None), ("t", b"x", ""), ("t", "", None), ("t", "h.wasm", "h"), ("t", b"x", "\ud800")]:
        with pytest.raises(fanfare.InvalidParameterError):
            hub.load_handler(topics, source, name=name)
    with pytest.raises(fanfare.InvalidTopicError):
        hub.load_handler("", b"x", name="h")
    with pytest.raises(TypeError):
        hub.load_handler("t", object(), name="h")  # type: ignore[arg-type]
    with pytest.raises(fanfare.InvalidConfigError, match="comma"):
        fanfare.Hub(listen="127.0.0.1:0", handlers={"a,b": "h.wasm"})
    assert not hub.unload_handler("nobody")
    assert hub.handlers() == []
