"""Other people's clients: 10,000 numbered events through twenty cuts and a restart of the hub.

Nothing is lost, nothing comes twice, the order stands; what the restart made unknowable is told by `fanfare.gap`.
"""

import json
import random
import signal
import threading

import pytest

from support.clients import Reading, every_client, follow
from support.proxy import Cut
from support.wait import wait_until

EVENTS = 10_000
CUTS = 20
BATCH = 50
# At least 130 bytes an event on the wire: the sum of all cuts must stay below the whole, and comes near half of it.
PAD = "." * 100
LEAST, MOST = 300, EVENTS * 130 // CUTS

SETTINGS = {"history.events": EVENTS + 1, "history.bytes": "16MiB", "timeouts.stop": "200ms"}


def cut_plan(seed):
    """Cuts at random places, by FIN or RST."""
    source = random.Random(seed)
    return [Cut(source.randint(LEAST, MOST), source.choice(["fin", "rst"])) for _ in range(CUTS)]


def publish_numbers(hub, first, last):
    for start in range(first, last, BATCH):
        hub.publish_all("numbers", [f"{n} {PAD}" for n in range(start, min(start + BATCH, last))])


def numbers(reading):
    return [int(data.split()[0]) for data in reading.data]


@pytest.mark.parametrize("client", every_client(), ids=lambda client: client.name)
def test_numbers_survive_cuts_and_a_restart(client, start_hub, start_proxy, certificate, request):
    hub = start_hub(SETTINGS, certificate=certificate)
    proxy = start_proxy(hub.tls_address if client.tls else hub.address, cut_plan(request.node.name))
    url = f"{proxy.tls_url if client.tls else proxy.url}/events/numbers?replay=all"
    reading = Reading()
    faults = []

    def publish():
        nonlocal hub
        try:
            publish_numbers(hub, 0, EVENTS // 2)
            # Without a stored history only what was read before the end survives it.
            wait_until(lambda: reading.count >= EVENTS // 2, "the first half")
            proxy.upstream = None
            assert hub.stop(signal.SIGTERM) == 0
            hub = start_hub(SETTINGS, certificate=certificate)
            proxy.upstream = hub.tls_address if client.tls else hub.address
            publish_numbers(hub, EVENTS // 2, EVENTS)
        except BaseException as fault:
            faults.append(fault)
            raise

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    follow(client, url, reading, lambda: faults or reading.count >= EVENTS)
    publisher.join(60)
    assert not faults

    assert numbers(reading) == list(range(EVENTS))
    assert len({event.id for event in reading.events if not event.is_gap}) == EVENTS
    assert proxy.cuts == CUTS
    # One notice, between the last event of the old hub and the first of the new one.
    [(place, notice)] = reading.gaps
    assert place == EVENTS // 2
    told = json.loads(notice.data)
    assert told["requested"] == reading.events[place - 1].id
    assert told["requested"].split("-")[0] != reading.events[place + 1].id.split("-")[0]
    follow_up = Reading()
    follow_up.take(notice)
    follow(client, url, follow_up, lambda: follow_up.count >= EVENTS // 2)
    assert numbers(follow_up) == list(range(EVENTS // 2, EVENTS)), "the id of the notice resumes exactly"
    assert not follow_up.gaps[1:]


@pytest.mark.parametrize("client", every_client(), ids=lambda client: client.name)
def test_what_is_evicted_is_told(client, start_hub, certificate):
    hub = start_hub({"history.events": 10}, certificate=certificate)
    ids = hub.publish_all("t", [str(n) for n in range(100)])
    base = hub.tls_url if client.tls else hub.url
    reading = Reading()
    for event in client.events(f"{base}/events/t", ids[4]):
        reading.take(event)
        if reading.count == 10:
            break
    assert reading.data == [str(n) for n in range(90, 100)]
    [(place, notice)] = reading.gaps
    assert place == 0
    assert json.loads(notice.data) == {"requested": ids[4], "oldest": ids[90], "newest": ids[99]}
