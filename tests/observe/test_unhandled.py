"""Errors in timers and Deferreds of plugins."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogPublisher
from twisted.python.failure import Failure

from audiohookd.observe.counters import Counters
from audiohookd.observe.unhandled import UnhandledErrors, places_of, plugins_of

SOURCE = """
import json
class Plugin:
    def tick(self):
        raise SystemExit(1)
    def parse(self):
        json.loads("{")
"""


class Reactor(Clock):
    def callFromThread(self, act: Any, *arguments: Any) -> None:
        self.callLater(0, act, *arguments)


class Site:
    """A plugin of a file of its own, and the log of the daemon."""

    def __init__(self, module: Any) -> None:
        self.reactor = Reactor()
        self.counters = Counters()
        self.events: list[LogEvent] = []
        self.publisher = LogPublisher(self.events.append)  # type: ignore[arg-type]
        self.plugin = module.Plugin()
        self.service = UnhandledErrors(self.reactor, self.publisher, {"evil": self.plugin}, self.counters.count)  # type: ignore[arg-type]
        self.service._log = Logger(observer=self.events.append, namespace="audiohookd.test")  # type: ignore[arg-type]
        self.service.startService()

    def log(self, act: Any, namespace: str = "twisted.internet.base") -> None:
        try:
            act()
        except BaseException:
            Logger(namespace, observer=self.publisher).failure("while handling timed call", Failure())
        self.reactor.advance(0)

    @property
    def count(self) -> int:
        return self.counters.value("unhandled_plugin_errors", "evil")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    (tmp_path / "unhandled_evil.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    import unhandled_evil  # type: ignore[import-not-found]  # noqa: PLC0415

    yield Site(unhandled_evil)
    del sys.modules["unhandled_evil"]


def test_an_error_in_a_timer_is_counted_as_the_plugins_and_named_once(site: Site) -> None:
    site.log(site.plugin.tick)
    site.log(site.plugin.tick, "twisted.internet.defer")
    assert site.count == 2
    told = [event for event in site.events if event.get("plugin") == "evil"]
    assert len(told) == 1
    assert "tick (" in told[0]["where"]


def test_an_error_in_a_library_is_that_of_the_plugin_that_called_it(site: Site) -> None:
    site.log(site.plugin.parse)
    assert site.count == 1


def test_errors_of_others_and_errors_that_were_handled_are_not_counted(site: Site) -> None:
    site.log(lambda: json.loads("{"))
    site.log(site.plugin.tick, "audiohookd.session")
    site.log(site.plugin.tick, "unhandled_evil")
    site.service.stopService()
    site.log(site.plugin.tick)
    assert site.count == 0


def test_a_package_that_two_plugins_share_is_neither_ones() -> None:
    one = type("One", (), {"__module__": "audiohookd.observe.counters"})()
    other = type("Other", (), {"__module__": "audiohookd.observe.unhandled"})()
    places = places_of({"one": one, "other": other})
    assert sorted(places.values()) == [["one"], ["other"]]
    assert plugins_of(str(next(iter(places))), places) == ["one"]
    assert plugins_of(__file__, places) == []


def test_an_error_of_a_class_that_two_tables_use_counts_for_both(site: Site) -> None:
    site.service._places = places_of({"first": site.plugin, "second": site.plugin})
    site.log(site.plugin.tick)
    site.log(site.plugin.tick)
    assert [site.counters.value("unhandled_plugin_errors", name) for name in ("first", "second")] == [2, 2]
    assert [event["plugin"] for event in site.events if "plugin" in event] == ["first or second"]
