"""The scenarios that every binding runs, and a runner that can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCENARIOS = sorted((HERE.parent.parent / "contract" / "scenarios").glob("*.txt"))


def run(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "contract.py"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_scenario_passes() -> None:
    done = run(*SCENARIOS)
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith("ok ")] == []
    wanted = sum(file.read_text().count("\nscenario ") + file.read_text().startswith("scenario ") for file in SCENARIOS)
    assert done.returncode == 0 and len(lines) == wanted > 0, done.stderr


def test_the_runner_fails_what_it_does_not_understand(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    bodies = [
        "start\nfly",
        "start\npublish topic=t data=x color=red",
        "start\nsubscribe r topics=t\npublish topic=t data=x\nexpect r event data=y",
        "start\nrefused invalid_topic : publish topic=t data=x",
        "expect nobody nothing",
        "start\nagain close t",
    ]
    file.write_text("".join(f"scenario s{n}\n{body}\n" for n, body in enumerate(bodies)))
    done = run(file)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"FAIL s{n}" for n in range(len(bodies))]
