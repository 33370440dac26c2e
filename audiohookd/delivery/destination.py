"""Destinations of ready recordings: the plugins that store them (carriers) and announce them (notifiers)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from audiohookd.interfaces import ICarrier, INotifier, IRecording
from audiohookd.spool import paths

#: Names of destinations. A name becomes part of file names.
DESTINATION_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Destination(Struct, frozen=True):
    """A carrier or a notifier.

    :param name: of its table in the configuration. One plugin may be both.
    :param done_suffix: the suffix of the file that records a successful delivery.
    :param deliver: returns a Deferred or a coroutine; a carrier's fires with the receipt.
    :param concurrency: how many recordings it accepts at a time.
    """

    name: str
    done_suffix: str
    deliver: Callable[[IRecording], Any]
    concurrency: int
    is_carrier: bool

    @property
    def rejected_suffix(self) -> str:
        """The suffix of the file that records that this destination rejected a recording for good.

        A plugin that is both carrier and notifier has one such file. Without a receipt it is the carrier's rejection,
        since notifiers follow carriers.
        """
        return paths.rejected_suffix(self.name)


def is_destination(plugin: object) -> bool:
    """Whether ``plugin`` is a carrier or a notifier."""
    return bool(ICarrier.providedBy(plugin) or INotifier.providedBy(plugin))


def destinations_of(plugins: Mapping[str, Any]) -> list[Destination]:
    """The destinations among ``plugins``, which are keyed by the names of their tables."""
    carriers = [
        Destination(name, paths.stored_suffix(name), plugin.carry, plugin.concurrency, is_carrier=True)
        for name, plugin in plugins.items()
        if ICarrier.providedBy(plugin)
    ]
    notifiers = [
        Destination(name, paths.notified_suffix(name), plugin.notify, plugin.concurrency, is_carrier=False)
        for name, plugin in plugins.items()
        if INotifier.providedBy(plugin)
    ]
    return carriers + notifiers
