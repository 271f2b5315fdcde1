"""The package has types, and they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USER = """
import fanfare

hub = fanfare.Hub(listen="127.0.0.1:0", history_events=10)
id: str = hub.publish("t", {"a": [1]}, event="e")
sub: fanfare.Subscription = hub.subscribe("t", since=id)
for event in sub:
    data: str = event.data
    position: int = event.position


async def read() -> None:
    async for event in sub:
        data: str = event.data


try:
    hub.publish("t", "x")
except fanfare.ForkedError as error:
    code: str = error.code
except fanfare.InvalidError:
    pass
"""


def mypy(*args: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", *args], cwd=cwd, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_package_is_strict(tmp_path: Path) -> None:
    assert mypy("-p", "fanfare", cwd=tmp_path) == ""


def test_a_user_gets_the_types(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    assert mypy("user.py", cwd=tmp_path) == ""
    (tmp_path / "wrong.py").write_text("import fanfare\nfanfare.Hub().publish(5, 5)\n", encoding="utf-8")
    assert 'incompatible type "int"' in mypy("wrong.py", cwd=tmp_path)
