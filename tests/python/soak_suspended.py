"""Stopped for a minute under load, with the default deadlines: all of them pass meanwhile (checklist O2)."""

import pytest

from support.load import LOAD, read_under_load


@pytest.mark.parametrize("settings", [{}, {"heartbeat": "15s"}], ids=["no heartbeat", "default heartbeat"])
def test_stopped_for_a_minute(settings, start_hub):
    # One second more than the longest deadline, `timeouts.idle`.
    read_under_load(start_hub({**LOAD, **settings}), pause=61)
