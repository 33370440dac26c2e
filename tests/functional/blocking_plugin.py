"""A plugin that blocks the reactor in the way that its configuration names."""

import gc
import re
import threading
import time
from typing import Any

import msgspec
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import SessionObserver

#: A pattern that takes twice as long to match for each character, and holds the interpreter lock during that time.
SLOW_PATTERN = re.compile(r"(a|a)*b")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    how: str


def sleep() -> None:
    time.sleep(0.3)


def match() -> None:
    """Matches longer texts until one match has taken 0.3 s."""
    for length in range(16, 40):
        began = time.monotonic()
        SLOW_PATTERN.match("a" * length)
        if time.monotonic() - began > 0.3:
            break


def collect() -> None:
    """Builds containers that the garbage collector takes longer to examine than this function takes to build."""
    containers = [[] for _ in range(300_000)]  # type: ignore[var-annotated]
    for _ in range(40):
        gc.collect()
    del containers


@provider(IPluginFactory)
@implementer(IPlugin)
class BlockingPlugin:
    config_type = Config

    def __init__(self, config: Config, daemon: IDaemon) -> None:
        self.how = config.how
        self.reactor: Any = daemon.reactor
        self.workers = daemon.workers("blocking", 1, 2)

    def observe(self, session: ISession) -> "Watcher":
        return Watcher(self)


class Watcher(SessionObserver):
    def __init__(self, plugin: BlockingPlugin) -> None:
        self.plugin = plugin

    def opened(self) -> None:
        match self.plugin.how:
            case "sleep":
                sleep()
            case "match":
                match()
            case "timer":
                self.plugin.reactor.callLater(0, sleep)
            case "from-thread":
                threading.Thread(target=self.plugin.reactor.callFromThread, args=(sleep,)).start()
            case "thread":
                for _ in range(3):  # the watchdog may miss one while the reactor is idle
                    self.plugin.workers.do(match)
            case "collect":
                collect()
            case "daemon":
                self.plugin.reactor.callLater(0, time.sleep, 0.3)
