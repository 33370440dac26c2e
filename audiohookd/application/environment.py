"""What each part of the daemon is built from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import IProtocolFactory

from audiohookd.config.schema import Config
from audiohookd.endpoint import endpoint_of
from audiohookd.observe.counters import Counters
from audiohookd.runtime.services import Listener
from audiohookd.runtime.systemd import Readiness
from audiohookd.runtime.workers import Workers


class Environment(Struct, frozen=True):
    """The configuration, the clocks and the counters that all parts share."""

    config: Config
    #: The configuration file, for error messages.
    path: Path
    #: Its ``seconds()`` are monotonic; they are used for durations.
    reactor: Any
    #: Returns seconds since the epoch, for dates.
    now: Callable[[], float]
    #: The process environment.
    variables: Mapping[str, str]
    counters: Counters
    readiness: Readiness

    def workers(self, name: str, threads: int, waiting: int, **options: Any) -> Workers:
        """Builds a worker pool; see :class:`audiohookd.runtime.workers.Workers`."""
        return Workers(self.reactor, name, threads, waiting, count=self.counters.count, **options)

    def listener(self, name: str, key: str, factory: IProtocolFactory, parsed: str | None = None) -> Listener:
        """Builds a listener for the endpoint in the table ``name`` of the configuration.

        :param key: the address of the endpoint in the configuration, for error messages.
        :param parsed: the part of the endpoint that Twisted parses; all of it by default.
        :raises ConfigError: the endpoint is wrong.
        """
        description = getattr(self.config, key.partition(".")[0]).endpoint
        where = f"{self.path}: {key}"
        endpoint = endpoint_of(self.reactor, description if parsed is None else parsed, where, description)
        return Listener(name, endpoint, description, where, factory)
