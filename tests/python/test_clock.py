"""The clock is set while the hub runs: back a day, forward a year. Nothing that is promised depends on it (checklist O1)."""

import email.utils
import json
import time

from support.faketime import Clock
from support.http2 import Http2
from support.sse import Stream, ask
from support.wait import wait_until

DAY = 86_400
HEARTBEAT = {"heartbeat": "200ms"}


class Readers:
    """A reader in a lane and one over HTTP/2, and what they have to have got."""

    def __init__(self, hub):
        self._hub = hub
        self.ids = []
        self._lane = Stream(hub.address, "/events/t")
        self._http2 = Http2(hub.address)
        self._number = self._http2.get("/events/t")
        self._http2.turn_until(lambda: self._number in self._http2.status)
        self._seen = []

    def publish(self):
        """One more event. It goes out on a connection of its own, so that no deadline of an old one has to do with it."""
        data = f"data {len(self.ids)}"
        status, _, body = ask(self._hub.address, "POST", "/events/t", body=data.encode())
        assert status == 200, body
        self.ids.append(json.loads(body)["id"])

    def check(self):
        """Everybody gets what was published, in order; then signs of life go on."""
        expected = [(each, f"data {number}") for number, each in enumerate(self.ids)]
        self._seen += self._lane.take(len(expected) - len(self._seen))
        assert [(event.id, event.data) for event in self._seen] == expected
        events = self._http2.events[self._number]
        self._http2.turn_until(lambda: len(events) >= len(expected))
        assert [(event.id, event.data) for event in events] == expected
        comments = self._lane.parser.comments
        while self._lane.parser.comments < comments + 3:
            self._lane.receive()
        comments = self._http2.comments(self._number)
        self._http2.turn_until(lambda: self._http2.comments(self._number) >= comments + 3)

    def close(self):
        self._lane.close()
        self._http2.close()


def replayed(hub, count, last_id=None):
    """The ids that a reader gets who comes now."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with Stream(hub.address, "/events/t?replay=all", headers) as stream:
        return [event.id for event in stream.take(count)]


def hub_time(hub):
    """The time that the hub takes it to be."""
    with Stream(hub.address, "/events/other") as stream:
        return email.utils.parsedate_to_datetime(stream.headers["date"]).timestamp()


def in_one_row(ids):
    """One epoch, and positions without a hole."""
    epochs, positions = zip(*(each.rsplit("-", 1) for each in ids))
    assert len(set(epochs)) == 1, ids
    assert [int(position) for position in positions] == list(range(1, len(ids) + 1))


def ends_well(hub, readers):
    readers.close()
    assert hub.stop() == 0
    assert "panic" not in hub.log(), hub.log()


def test_the_clock_is_set_back_a_day_and_forward_a_year(start_hub, tmp_path):
    clock = Clock(tmp_path)
    hub = start_hub(HEARTBEAT, variables=clock.variables)
    readers = Readers(hub)
    readers.publish()
    readers.check()
    for offset, days in [("-1d", -1), ("+1y", 365), ("-1d", -1), ("+0", 0)]:
        clock.set(offset)
        assert abs(hub_time(hub) - time.time() - days * DAY) < DAY / 2, "the clock was not set"
        readers.publish()
        readers.publish()
        readers.check()
        # Kept for an hour, as is the default: an hour that has passed, not one that a clock shows.
        assert replayed(hub, len(readers.ids)) == readers.ids
        assert replayed(hub, len(readers.ids) - 1, readers.ids[0]) == readers.ids[1:]
    in_one_row(readers.ids)
    ends_well(hub, readers)


def test_events_age_whatever_the_clock_shows(start_hub, tmp_path):
    clock = Clock(tmp_path)
    hub = start_hub({**HEARTBEAT, "history.age": "1s"}, variables=clock.variables)
    readers = Readers(hub)
    for offset in ["+0", "-1d", "+1y"]:
        readers.publish()
        clock.set(offset)
        readers.check()
        wait_until(lambda: hub.stats()["history"]["events"] == 0, f"retention by age at {offset}")
    in_one_row(readers.ids)
    ends_well(hub, readers)


def test_the_monotonic_clock_jumps_a_year(start_hub, tmp_path):
    # As a machine does that slept, on systems where this clock counts sleep.
    clock = Clock(tmp_path, monotonic=True)
    hub = start_hub(HEARTBEAT, variables=clock.variables)
    readers = Readers(hub)
    readers.publish()
    readers.check()
    uptime = ask_uptime(hub)
    clock.set("+1y")
    readers.publish()
    readers.check()
    assert ask_uptime(hub) > uptime + 364 * DAY * 1000, "the clock did not jump"
    readers.publish()
    readers.check()
    # A year is more than the hour that events are kept.
    assert replayed(hub, 2) == readers.ids[1:]
    in_one_row(readers.ids)
    ends_well(hub, readers)


def ask_uptime(hub):
    status, _, body = ask(hub.address, "GET", "/stats")
    assert status == 200
    return json.loads(body)["uptime_ms"]
