"""Where ready recordings go: the plugins that carry them away, and those that tell of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from audiohookd.interfaces import ICarrier, INotifier, IRecording
from audiohookd.spool import paths

#: What an outlet may be called: its name becomes part of file names.
DESTINATION_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Destination(Struct, frozen=True):
    """A carrier or a notifier.

    :param name: of its table in the configuration. A plugin may be both.
    :param mark: the suffix of the file that says that it is done with a recording.
    :param deliver: returns a Deferred or a coroutine; a carrier's fires with the receipt.
    :param concurrency: how many recordings at a time.
    """

    name: str
    done_suffix: str
    deliver: Callable[[IRecording], Any]
    concurrency: int
    is_carrier: bool

    @property
    def rejected_suffix(self) -> str:
        """The suffix of the file that says that it will never take a recording.

        Where a plugin is both, it is the carrier's as long as there is no receipt: notifiers come afterwards.
        """
        return paths.rejected_suffix(self.name)


def is_destination(plugin: object) -> bool:
    """Whether ``plugin`` takes recordings."""
    return bool(ICarrier.providedBy(plugin) or INotifier.providedBy(plugin))


def destinations_of(plugins: Mapping[str, Any]) -> list[Destination]:
    """The outlets among ``plugins``, which are named after their tables."""
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
