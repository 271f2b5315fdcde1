"""Options of a hub and of a reader, from Python's values to the library's."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fanfare import _constants as c
from fanfare._event import Event, Greeting, Greetings, payload
from fanfare._lib import Views, check, ffi, lib
from fanfare._publish import check_retry
from fanfare.errors import InvalidConfigError, InvalidParameterError

_LAGS = {name.removeprefix("LAG_").lower(): value for name, value in vars(c).items() if name.startswith("LAG_")}
_KEY_SIZE = ffi.sizeof("fanfare_key")


def config_keys() -> dict[str, str]:
    """Every option of the library, and what its values look like."""
    keys: dict[str, str] = {}
    key = ffi.new("fanfare_key *")
    key.size = _KEY_SIZE
    while check(lib.fanfare_config_key, len(keys), key) == c.OK:
        keys[ffi.string(key.name).decode()] = ffi.string(key.expects).decode()
    return keys


def _value(key: str, value: Any) -> str:
    """A value as the library's text: durations in seconds, lists with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        # Only times and percentages have fractions; whole numbers keep their looks.
        return str(int(value)) if value.is_integer() else f"{round(value * 1000)}ms"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return f"{round(value.total_seconds() * 1000)}ms"
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        return ",".join(_value(key, item) for item in value)
    raise InvalidConfigError(f"{key}: {type(value).__name__} is no value of an option")


def new_config(file: str | os.PathLike[str] | None, config: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Any:
    """A configuration of the library; the caller frees it. Keywords win over `config`, which wins over the file."""
    slot = ffi.new("fanfare_config **")
    check(lib.fanfare_config_new, c.ABI_VERSION, slot)
    try:
        if file is not None:
            check(lib.fanfare_config_file, slot[0], _c_text("config_file", os.fsdecode(file)))
        for key, value in (config or {}).items():
            _set(slot[0], key, value)
        if options:
            names: dict[str, list[str]] = {}
            for key in config_keys():
                names.setdefault(key.replace(".", "_"), []).append(key)
            for name, value in options.items():
                keys = names.get(name, [name])
                if len(keys) > 1:
                    raise InvalidConfigError(f"{name} may be {' or '.join(keys)}: write config={{{keys[0]!r}: ...}}")
                _set(slot[0], keys[0], value)
    except BaseException:
        free_config(slot)
        raise
    return slot


def handler_list(handlers: Mapping[str, str | os.PathLike[str]] | None) -> list[str] | None:
    """Handlers by topic as the library's option."""
    if handlers is None:
        return None
    entries = [f"{topics}={_value('handlers', file)}" for topics, file in handlers.items()]
    for entry in entries:
        if "," in entry:
            raise InvalidConfigError(f"handlers: {entry!r} holds a comma, which the option cannot say: use load_handler")
    return entries


def check_options(
    *, config: Mapping[str, Any] | None = None, config_file: str | os.PathLike[str] | None = None, **options: Any
) -> None:
    """Refuses each option that `Hub` would refuse, and starts nothing. What options need of each other, and of the machine, only
    starting shows.
    """
    free_config(new_config(config_file, config, options))


def free_config(slot: Any) -> None:
    lib.fanfare_config_free(slot)


def _set(config: Any, key: str, value: Any) -> None:
    if value is not None:
        check(lib.fanfare_config_set, config, _c_text("key", key), _c_text(key, _value(key, value)))


def _c_text(name: str, text: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidConfigError(f"{name}: {type(text).__name__} is no text")
    if "\0" in text:
        raise InvalidConfigError(f"{name}: holds a NUL")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidConfigError(f"{name}: is not UTF-8") from None


def subscribe_options(
    views: Views,
    topics: Sequence[str],
    *,
    since: str | Event | None = None,
    replay: int | str | None = None,
    client: str | None = None,
    events: Sequence[str] | None = None,
    lag: str | None = None,
    flags: int = 0,
    greeting: Greetings = None,
) -> Any:
    """A `fanfare_subscribe_options`. `views` keeps its memory."""
    options = ffi.new("fanfare_subscribe_options *")
    options.size = ffi.sizeof("fanfare_subscribe_options")
    names = _texts("topics", topics)
    options.topics = views.many(names)
    options.topics_len = len(names)
    views.text(options.last_event_id, _optional("since", since.id if isinstance(since, Event) else since))
    options.replay = _replay(replay)
    views.text(options.client, _optional("client", client))
    if events is not None:
        types = _texts("events", events)
        options.events = views.many(types)
        options.events_len = len(types)
    if lag is not None:
        if lag not in _LAGS:
            raise InvalidParameterError(f"lag {lag!r}: expected one of {', '.join(_LAGS)}")
        options.lag = _LAGS[lag]
    options.flags = flags
    if greeting:
        listed = [item if isinstance(item, Greeting) else Greeting(*item) for item in greeting]
        options.greeting = views.keep(ffi.new("fanfare_event[]", len(listed)))
        options.greeting_len = len(listed)
        for index, item in enumerate(listed):
            _greet(options.greeting[index], views, item)
    return options


def _greet(event: Any, views: Views, greeting: Greeting) -> None:
    event.size = ffi.sizeof("fanfare_event")
    views.text(event.event, _optional("event", greeting.event))
    views.text(event.data, payload(greeting.data))
    if greeting.retry is not None:
        check_retry(greeting.retry)
        event.retry_ms, event.flags = greeting.retry, c.EVENT_RETRY


def _texts(name: str, texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        return [texts]
    listed = list(texts)
    for text in listed:
        if not isinstance(text, str):
            raise TypeError(f"{name} holds {type(text).__name__}: expected str")
    return listed


def _optional(name: str, text: str | None) -> str | None:
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}: expected str")
    return text


def _replay(replay: int | str | None) -> int:
    if replay is None or replay == "none":
        return 0
    if replay == "all":
        return c.REPLAY_ALL
    if isinstance(replay, int) and 0 <= replay < c.REPLAY_ALL:
        return replay
    raise InvalidParameterError(f"replay {replay!r}: expected a number of events, 'all' or 'none'")
