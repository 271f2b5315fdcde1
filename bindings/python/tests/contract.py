"""Runs contract scenarios (`bindings/contract/README.md`) with this binding: `python contract.py FILE...`"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import fanfare

#: A wait that takes longer hangs.
PATIENCE = 10.0


class Wrong(Exception):
    """The scenario fails here."""


def text(data: bytes) -> str:
    """Text, with the nearest thing to what is no UTF-8 that a user could pass: a lone surrogate."""
    return data.decode("utf-8", "surrogateescape")


def value(word: str) -> bytes:
    times = 1
    if repeated := re.match(r"\*(\d{1,7}):", word):
        times, word = int(repeated[1]), word[repeated.end() :]
    out = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), word.encode())
    if len(out) * times > 1 << 24:
        raise Wrong(f"a value of {len(out) * times} bytes")
    return out * times


class Words:
    """Fields and bare words of a command; what nobody asks for is an error."""

    def __init__(self, words: list[str]) -> None:
        self.bare = [word for word in words if not re.match(r"[a-z_]+=", word)]
        self.fields = dict(word.split("=", 1) for word in words if re.match(r"[a-z_]+=", word))
        if len(self.fields) + len(self.bare) != len(words):
            raise Wrong("a field is given twice")

    def word(self) -> str:
        if not self.bare:
            raise Wrong("a word is missing")
        return text(value(self.bare.pop(0)))

    def bytes(self, name: str) -> bytes | None:
        found = self.fields.pop(name, None)
        return None if found is None else value(found)

    def text(self, name: str) -> str | None:
        found = self.bytes(name)
        return None if found is None else text(found)

    def list(self, name: str) -> list[str] | None:
        found = self.fields.pop(name, None)
        return None if found is None else [text(value(item)) for item in found.split(",")]

    def end(self) -> None:
        if self.bare or self.fields:
            raise Wrong(f"not understood: {' '.join([*self.bare, *self.fields])}")


class Scenario:
    def __init__(self) -> None:
        self.config: dict[str, str] = {}
        self.hub: fanfare.Hub | None = None
        self.readers: dict[str, fanfare.Subscription] = {}
        self.saved: dict[str, str] = {}
        self.batch: list[fanfare.Draft] | None = None

    def line(self, words: list[str]) -> None:
        if words[0] == "refused":
            at = words.index(":")
            code, mentions = words[1], [text(value(word)) for word in words[2:at]]
            try:
                self.command(words[at + 1 :])
            except fanfare.FanfareError as error:
                if error.code != code:
                    raise Wrong(f"refused as {error.code}, not {code}: {error}") from None
                for mention in mentions:
                    if mention not in error.message:
                        raise Wrong(f"the message does not mention {mention!r}: {error}") from None
                return
            raise Wrong(f"not refused as {code}")
        again = words[0] == "again"
        done = self.command(words[1:] if again else words)
        if done is not (not again):
            raise Wrong("had nothing to do" if not again else "had something to do")

    def running(self) -> fanfare.Hub:
        if self.hub is None:
            raise Wrong("no hub was started")
        return self.hub

    def reader(self, name: str) -> fanfare.Subscription:
        if name not in self.readers:
            raise Wrong(f"no subscription {name}")
        return self.readers[name]

    def id(self, name: str) -> str:
        if name not in self.saved:
            raise Wrong(f"nothing was saved as {name}")
        return self.saved[name]

    def command(self, words: list[str]) -> bool:
        name, given = words[0], Words(words[1:])
        method = getattr(self, "do_" + name, None)
        if method is None:
            raise Wrong(f"unknown command {name}")
        done = method(given)
        given.end()
        return done is not False

    def do_config(self, given: Words) -> None:
        key = given.word()
        value = given.word() if given.bare else ""
        fanfare.check_options(config={key: value})
        self.config[key] = value

    def do_start(self, given: Words) -> None:
        config = {"listen": "127.0.0.1:0", "console": "false", "log": "error", **self.config}
        self.hub = fanfare.Hub(config=config)

    def draft(self, given: Words, data: bytes | None = None) -> tuple[fanfare.Draft, str | None]:
        retry = given.text("retry")
        body = given.bytes("data") if data is None else data
        topic = given.text("topic")
        if topic is None:
            raise Wrong("no topic")
        draft = fanfare.Draft(
            topic,
            b"" if body is None else body,
            given.text("event"),
            given.text("id"),
            given.text("except"),
            given.text("key"),
            None if retry is None else int(retry),
        )
        return draft, given.text("save")

    def do_publish(self, given: Words, data: bytes | None = None) -> None:
        draft, save = self.draft(given, data)
        given.end()
        if self.batch is not None:
            self.batch.append(draft)
            return
        id = self.running().publish(**draft._asdict())
        if save is not None:
            self.saved[save] = id

    def do_repeat(self, given: Words) -> None:
        times, what = int(given.word()), given.word()
        if what != "publish":
            raise Wrong(f"repeat {what}")
        for number in range(1, times + 1):
            again = Words([])
            again.bare, again.fields = list(given.bare), dict(given.fields)
            self.do_publish(again, str(number).encode())
        given.bare, given.fields = [], {}

    def do_batch(self, given: Words) -> None:
        self.batch = []

    def do_commit(self, given: Words) -> None:
        if self.batch is None:
            raise Wrong("commit without batch")
        batch, self.batch = self.batch, None
        if len(self.running().publish_batch(batch)) != len(batch):
            raise Wrong("not an id for each event")

    def do_subscribe(self, given: Words) -> None:
        name, saved, replay = given.word(), given.text("since_saved"), given.text("replay")
        since = given.text("since") if saved is None else self.id(saved)
        self.readers[name] = self.running().subscribe(
            *(given.list("topics") or []),
            since=since,
            replay=int(replay) if replay and replay.isdigit() else replay,
            client=given.text("client"),
            events=given.list("events"),
            lag=given.text("lag"),
        )

    def do_add(self, given: Words) -> bool:
        return self.reader(given.word()).add(given.word())

    def do_remove(self, given: Words) -> bool:
        return self.reader(given.word()).remove(given.word())

    def do_unsubscribe(self, given: Words) -> None:
        reader = self.reader(given.word())
        if reader.closed:
            # As everywhere in Python, closing twice is fine; that it is over is what `add` says.
            reader.add("t")
        reader.close()

    def do_close(self, given: Words) -> bool:
        return self.running().close_topic(given.word())

    def do_delete(self, given: Words) -> None:
        self.running().delete_history(given.word())

    def do_stop(self, given: Words) -> None:
        self.running().stop(0)

    def do_load(self, given: Words) -> None:
        file, name, topics = given.text("file"), given.text("name"), given.text("topics") or ""
        source: str | bytes = file if file is not None else given.bytes("bytes") or b""
        self.running().load_handler(topics, source, name=name, settings=given.text("settings"))

    def do_unload(self, given: Words) -> bool:
        return self.running().unload_handler(given.word())

    def do_handlers(self, given: Words) -> None:
        names = [given.word() for _ in list(given.bare)]
        found = [handler.name for handler in self.running().handlers()]
        if found != names:
            raise Wrong(f"there are {found}")

    def do_handler(self, given: Words) -> None:
        name = given.word()
        found = {handler.name: handler._asdict() for handler in self.running().handlers()}
        if name not in found:
            raise Wrong(f"no handler {name}")
        for key, expected in given.fields.items():
            if found[name].get(key) != int(expected):
                raise Wrong(f"{key} is {found[name].get(key)}, not {expected}")
        given.fields = {}

    def do_stats(self, given: Words) -> None:
        stats = self.running().stats()._asdict()
        for key, expected in given.fields.items():
            if stats.get(key) != int(expected):
                raise Wrong(f"{key} is {stats.get(key)}, not {expected}")
        given.fields = {}

    def do_expect(self, given: Words) -> None:
        reader, what = self.reader(given.word()), given.word()
        if what == "nothing":
            found = reader.next(0)
            if found is not None:
                raise Wrong(f"there is {found}")
        elif what == "end":
            code = given.word()
            try:
                found = reader.next(PATIENCE)
            except fanfare.LappedError:
                found = None
            if found is not None or reader.ended != code or reader.next(0) is not None:
                raise Wrong(f"not the end by {code}: {found}, {reader.ended}")
        elif what == "gap":
            found, requested = reader.next(PATIENCE), given.text("requested")
            if found is None or found.gap is None or set(found.gap) != {"requested", "oldest", "newest"}:
                raise Wrong(f"not a gap: {found}")
            if requested is not None and found.gap["requested"] != requested:
                raise Wrong(f"requested is {found.gap['requested']!r}")
        elif what == "event":
            saved = given.text("id_saved")
            wanted: dict[str, Any] = {"data": given.text("data") or "", "event": given.text("event") or "message"}
            for field in ("topic", "id"):
                if field in given.fields:
                    wanted[field] = given.text(field)
            if saved is not None:
                wanted["id"] = self.id(saved)
            found = reader.next(PATIENCE)
            if found is None:
                raise Wrong(f"nothing came; it ended: {reader.ended}")
            for field, expected in wanted.items():
                if getattr(found, field) != expected:
                    raise Wrong(f"{field} is {getattr(found, field)[:80]!r}, not {expected[:80]!r}")
        else:
            raise Wrong(f"expect {what}")

    def do_count(self, given: Words) -> None:
        reader, count = self.reader(given.word()), int(given.word())
        for number in range(1, count + 1):
            found = reader.next(PATIENCE)
            if found is None or found.data != str(number):
                raise Wrong(f"not {number}: {found}")

    def finish(self) -> None:
        for reader in self.readers.values():
            reader.close()
        if self.hub is not None:
            self.hub.stop(0)


def run(file: Path) -> tuple[int, int]:
    """Runs a file; how many scenarios passed and failed."""
    passed = failed = 0
    name, scenario, wrong = "", None, ""

    def report() -> None:
        nonlocal passed, failed, wrong
        if scenario is None:
            return
        try:
            scenario.finish()
        except Exception as error:  # noqa: BLE001: whatever it is, it is this scenario's failure
            wrong = wrong or f"{file}: at the end: {error!r}"
        print(f"FAIL {name}: {wrong}" if wrong else f"ok {name}", flush=True)
        failed += bool(wrong)
        passed += not wrong

    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        words = line.split(" ")
        if words[0] == "scenario":
            report()
            name, scenario, wrong = words[1], Scenario(), ""
        elif scenario is None:
            raise SystemExit(f"{file}:{number}: not in a scenario")
        elif not wrong:
            try:
                scenario.line(words)
            except Exception as error:  # noqa: BLE001: as above
                wrong = f"{file}:{number}: {error if isinstance(error, Wrong) else repr(error)}"
    report()
    return passed, failed


if __name__ == "__main__":
    results = [run(Path(name)) for name in sys.argv[1:]]
    sys.exit(0 if sum(passed for passed, _ in results) and not any(failed for _, failed in results) else 1)
