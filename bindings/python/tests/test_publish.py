"""Publishing: what goes in comes out, and what is wrong is refused with its name and changes nothing."""

from __future__ import annotations

import json
import pathlib
import signal
import threading
from typing import Any

import pytest
from conftest import take, until

import fanfare


def test_an_event_comes_out_as_it_went_in(hub: fanfare.Hub) -> None:
    with hub.subscribe("chat") as reader:
        id = hub.publish("chat", "hé", event="say")
        own = hub.publish("chat", b"bytes", id="own-1")
        event, second = take(reader, 2)
    assert event == fanfare.Event(id, "chat", "say", "hé", 1)
    assert own == "own-1"
    assert (second.id, second.event, second.data, second.position) == ("own-1", "message", "bytes", 2)
    assert event.gap is None


def test_fields_of_one_event_are_not_those_of_the_next(hub: fanfare.Hub) -> None:
    """Structures are used again: nothing of an event may stay in them."""
    reader, me = hub.subscribe("t"), hub.subscribe("t", client="me")
    hub.publish("t", "1", event="e", id="own", except_="me", key="k", retry=5)
    hub.publish("t", "2")
    with pytest.raises(TypeError):
        hub.publish("t", "x", event="e", key=5)  # type: ignore[arg-type]
    with pytest.raises(fanfare.InvalidIdError):
        hub.publish("t", "x", event="e", id="a b")
    hub.publish("t", "3", event="f")
    assert [(event.data, event.event) for event in take(reader, 3)] == [("1", "e"), ("2", "message"), ("3", "f")]
    assert [event.data for event in take(me, 2)] == ["2", "3"]


@pytest.mark.parametrize("value", [{"a": [1, None, "ü\n"]}, [1, 2.5, True], {}, ["\u2028"]])
def test_dicts_and_lists_become_json(hub: fanfare.Hub, value: Any) -> None:
    with hub.subscribe("t") as reader:
        hub.publish("t", value)
        assert take(reader, 1)[0].json() == value


@pytest.mark.parametrize(
    "data",
    ["", " ", "a\nb", "\na\n\n", "\ufeffx", "\u2028\u2029\x85\x0b", "😀" * 10, "x" * (1 << 20), "\n" * 8192, "a\0b"],
    ids=lambda data: repr(data[:8]),
)
def test_data_is_kept(hub: fanfare.Hub, data: str) -> None:
    with hub.subscribe("t") as reader:
        hub.publish("t", data)
        hub.publish("t", data.encode())
        hub.publish("t", bytearray(data.encode()))
        hub.publish("t", memoryview(data.encode()))
        assert [event.data for event in take(reader, 4)] == [data] * 4


def test_line_ends_become_lf(hub: fanfare.Hub) -> None:
    with hub.subscribe("t") as reader:
        hub.publish("t", "a\r\nb\rc\nd")
        assert take(reader, 1)[0].data == "a\nb\nc\nd"


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"topic": ""}, "invalid_topic"),
    ({"topic": "a\nb"}, "invalid_topic"),
    ({"topic": "a\0b"}, "invalid_topic"),
    ({"topic": "x" * 256}, "invalid_topic"),
    ({"topic": "\ud800"}, "invalid_topic"),
    ({"data": b"\xff\xfe"}, "invalid_data"),
    ({"data": "\ud800"}, "invalid_data"),
    ({"data": "x" * (1 << 20) + "y"}, "too_large"),
    ({"event": ""}, "invalid_event"),
    ({"event": "a\nid: 1"}, "invalid_event"),
    ({"event": "a\rb"}, "invalid_event"),
    ({"event": "\0"}, "invalid_event"),
    ({"event": "fanfare.gap"}, "invalid_event"),
    ({"event": "x" * (1 << 20)}, "invalid_event"),
    ({"id": "a b"}, "invalid_id"),
    ({"id": "a\n"}, "invalid_id"),
    ({"id": ""}, "invalid_id"),
    ({"id": "x" * 129}, "invalid_id"),
    ({"id": "é"}, "invalid_id"),
    ({"except_": "a\rb"}, "invalid_client"),
    ({"except_": "\udfff"}, "invalid_client"),
    ({"key": "a\nb"}, "invalid_key"),
    ({"retry": -1}, "invalid_retry"),
    ({"retry": 2**64}, "invalid_retry"),
    ({"retry": 86_400_001}, "invalid_retry"),
]


@pytest.mark.parametrize(("wrong", "code"), HOSTILE, ids=lambda value: repr(value)[:30])
def test_hostile_fields_are_refused_by_name(hub: fanfare.Hub, wrong: dict[str, Any], code: str) -> None:
    with hub.subscribe("t") as reader:
        fields = {"topic": "t", "data": "x", **wrong}
        with pytest.raises(fanfare.FanfareError) as refused:
            hub.publish(**fields)
        assert refused.value.code == code
        assert refused.value.message
        with pytest.raises(fanfare.FanfareError) as refused:
            hub.publish_batch([fanfare.Draft("t", "good"), fanfare.Draft(**fields), fanfare.Draft("t", "good")])
        assert (refused.value.code, refused.value.index) == (code, 1)
        hub.publish("t", "after")
        assert take(reader, 1)[0].data == "after"
        assert reader.next(0) is None
    assert hub.stats().published == 1


@pytest.mark.parametrize("data", [None, 5, 1.5, object(), {1, 2}, True])
def test_data_of_another_kind_is_a_type_error(hub: fanfare.Hub, data: Any) -> None:
    with pytest.raises(TypeError, match="data is"):
        hub.publish("t", data)
    with pytest.raises(TypeError):
        hub.publish(data, "x")
    for field in ("event", "id", "except_", "key"):
        with pytest.raises(TypeError):
            hub.publish("t", "x", **{field: 5})
    assert hub.stats().published == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(hub: fanfare.Hub, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        hub.publish("t", [value])


def test_a_batch_is_whole_and_in_order(hub: fanfare.Hub) -> None:
    with hub.subscribe("a", "b") as reader:
        ids = hub.publish_batch([("a", "1"), fanfare.Draft("b", {"n": 2}, event="two"), ("a", b"3")])
        events = take(reader, 3)
    assert [event.id for event in events] == ids
    assert [event.data for event in events] == ["1", '{"n":2}', "3"]
    assert hub.publish_batch([]) == []


def test_a_batch_takes_what_single_events_take(hub: fanfare.Hub) -> None:
    wide = memoryview(b"eight by").cast("Q")
    drafts: list[fanfare.Draft | tuple[Any, ...]] = [
        ("long", "x" * 5_000),
        ("bytes", b"a"),
        ("array", bytearray(b"b")),
        ("view", memoryview(b"abcdef")[::2]),
        ("wide", wide),
        ("accent-é", "ü"),
        ("nothing",),
        fanfare.Draft("all", "y", "type", "own-id", "somebody", "key", 1_500),
        fanfare.Draft("all", "z", id="other-id", except_="me"),
        fanfare.Draft("all", "", event="type"),
    ]
    topics = [str(draft[0]) for draft in drafts]
    with hub.subscribe(*dict.fromkeys(topics), client="me") as reader:
        ids = hub.publish_batch(drafts)
        events = take(reader, len(drafts) - 1)
        assert reader.next(0) is None, "one was not for us"
    with hub.subscribe(*dict.fromkeys(topics), replay="all") as reader:
        whole = take(reader, len(drafts))
    assert ids[7:9] == ["own-id", "other-id"]
    assert [event.id for event in whole] == ids
    assert [event.topic for event in whole] == topics
    assert [event.data for event in whole] == ["x" * 5_000, "a", "b", "ace", "eight by", "ü", "", "y", "z", ""]
    assert [event.event for event in whole] == ["message"] * 7 + ["type", "message", "type"]
    assert events == whole[:8] + whole[9:]
    for wrong in [("t",) * 8, (), ("t", "x", 5), (5, "x"), ("t", None)]:
        with pytest.raises(TypeError):
            hub.publish_batch([("t", "good"), wrong])
    assert hub.stats().published == len(drafts)


def test_many_threads_publish_in_one_order() -> None:
    threads, each = 8, 500
    with fanfare.Hub(listen="127.0.0.1:0", history_events=threads * each) as hub:
        readers = [hub.subscribe("t") for _ in range(2)]
        ids: list[list[str]] = [[] for _ in range(threads)]

        def work(number: int) -> None:
            for count in range(each):
                ids[number].append(hub.publish("t", f"{number} {count}", event="e" if count % 2 else None))

        writing = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in writing:
            thread.start()
        seen = [take(reader, threads * each) for reader in readers]
        for thread in writing:
            thread.join()
        hub.stop(0)
    assert seen[0] == seen[1]
    assert [event.position for event in seen[0]] == list(range(1, threads * each + 1))
    for number, own in enumerate(ids):
        mine = [event for event in seen[0] if event.data.split()[0] == str(number)]
        assert [event.id for event in mine] == own
        assert [event.data for event in mine] == [f"{number} {count}" for count in range(each)]


def test_a_signal_handler_may_publish(hub: fanfare.Hub) -> None:
    """It runs between any two steps of another publish, and must not see its structures."""
    fired = []

    def handler(*_: object) -> None:
        fired.append(hub.publish("signal", "from the handler", event="s"))

    before = signal.signal(signal.SIGALRM, handler)
    reader = hub.subscribe("t", lag="skip")
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        ids = []
        while len(fired) < 50:
            ids.append(hub.publish("t", "x" * 100))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(set(ids)) == len(ids)
    assert not set(ids) & set(fired)
    until(lambda: (event := reader.next(1)) is not None and event.id == ids[-1], "the last event")


def test_closing_a_topic(hub: fanfare.Hub) -> None:
    reader = hub.subscribe("t")
    hub.publish("t", "last")
    assert hub.close_topic("t") is True
    assert hub.close_topic("t") is False
    assert [event.data for event in reader] == ["last"]
    assert reader.closed
    with pytest.raises(fanfare.TopicClosedError):
        hub.publish("t", "more")
    with pytest.raises(fanfare.InvalidTopicError):
        hub.close_topic("")


def test_deleting_history_outlives_a_restart(tmp_path: pathlib.Path) -> None:
    data = {"listen": "127.0.0.1:0", "data": str(tmp_path / "history")}
    with fanfare.Hub(**data) as hub:
        first = hub.publish("t", "had")
        hub.publish("t", "missed")
        hub.publish("closed", "1")
        hub.publish("other", "kept")
        hub.delete_history("t")
        assert hub.close_topic("closed") is True
        hub.delete_history("closed")
        with pytest.raises(fanfare.InvalidTopicError):
            hub.delete_history("")
        with pytest.raises(TypeError):
            hub.delete_history(5)  # type: ignore[arg-type]
    with fanfare.Hub(**data) as hub:
        assert hub.close_topic("closed") is False
        hub.publish("t", "2")
        with hub.subscribe("t", "other", replay="all") as reader:
            assert [event.data for event in take(reader, 2)] == ["kept", "2"]
        with hub.subscribe("t", since=first) as reader:
            told, new = take(reader, 2)
        assert told.gap is not None and told.gap["requested"] == first
        assert new.data == "2"


def test_errors_have_families_and_codes() -> None:
    assert issubclass(fanfare.InvalidTopicError, fanfare.InvalidError)
    assert issubclass(fanfare.InvalidError, ValueError)
    assert issubclass(fanfare.LimitTopicsError, fanfare.LimitError)
    assert fanfare.ForkedError.code == "forked"
    # Every error of the library has a class, by the library's own names.
    from fanfare._lib import ffi, lib

    number, names = -1, []
    while (name := ffi.string(lib.fanfare_code_name(number)).decode()) != "unknown":
        names.append(name)
        assert fanfare.errors.BY_STATUS[number].code == name
        number -= 1
    assert len(names) == len(fanfare.errors.BY_STATUS)


def test_limits_have_their_own_error() -> None:
    with fanfare.Hub(listen="127.0.0.1:0", limits_topics=1) as hub:
        hub.publish("a", "x")
        with pytest.raises(fanfare.LimitTopicsError) as refused:
            hub.publish("b", "x")
        assert refused.value.code == "limit_topics"
        assert json.dumps(refused.value.message)
