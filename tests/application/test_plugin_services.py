"""Plugins that are services: only their starts and stops are called."""

from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from audiohookd.application.plugin_services import PluginService
from audiohookd.runtime.services import HURRIED_LIMIT, OrderedServices


class Odd(Service):
    """A plugin that uses names of the daemon's own services for other things."""

    stop_limit: Any = None
    hurried_limit: Any = 3_600

    def __init__(self, limit: Any) -> None:
        self.stop_limit = limit

    def hurry(self, what: str) -> None:
        raise SystemExit(1)

    def stopService(self) -> "Deferred[None]":
        return Deferred()


@pytest.mark.parametrize("limit", [None, "long", float("inf"), 1e6])
def test_names_of_a_plugin_do_not_change_how_it_is_stopped(limit: Any) -> None:
    clock, below = Clock(), Service()
    below.name = "below"
    root = OrderedServices(clock, stop_timeout=60.0)
    below.setServiceParent(root)
    PluginService("plugins.odd", Odd(limit)).setServiceParent(root)
    root.startService()
    stopped = root.stopService()
    root.hurry()
    clock.advance(HURRIED_LIMIT)
    assert stopped.called
    assert not below.running
