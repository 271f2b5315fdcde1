"""Fixtures: a certificate for the whole run, hubs and proxies for one test."""

import pytest

from support.hub import Hub
from support.proxy import Proxy
from support.tls import self_signed


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def start_hub():
    """Starts hubs that end with the test: `start_hub({"key": value}, ...)`."""
    hubs = []

    def start(settings=None, **options):
        hubs.append(Hub(settings, **options))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.__exit__(None, None, None)


@pytest.fixture
def start_proxy():
    """Starts proxies that end with the test."""
    proxies = []

    def start(upstream, plan=()):
        proxies.append(Proxy(upstream, plan))
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.__exit__(None, None, None)
