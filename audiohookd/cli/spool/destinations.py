"""The carriers and notifiers in the configuration, and which of them a recording still waits for."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from audiohookd.config.schema import Config
from audiohookd.interfaces import ICarrier, INotifier
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording


class Outlets(NamedTuple):
    """The names of the plugin tables, by role. ``unknown``: an error for each plugin that cannot be imported."""

    carriers: tuple[str, ...] = ()
    notifiers: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def due(self, recording: Recording) -> list[str]:
        """The destinations that the recording still waits for.

        A carrier that rejected the recording is not due, nor is one that was configured after the audio was deleted.
        Notifiers are not due if a carrier rejected the recording.
        """
        refused = paths.names(recording.suffixes, "refused")
        carriers = [name for name in self.carriers if name not in recording.carriers]
        if carriers and _was_carried_away(recording):
            carriers = []
        if refused.intersection(carriers):
            return [name for name in carriers if name not in refused]
        return carriers + [name for name in self.notifiers if name not in recording.notifiers | refused]


def outlets_of(config: Config) -> Outlets:
    """Imports the plugins in the configuration, without building any of them."""
    carriers, notifiers, unknown = [], [], []
    for name, table in config.plugins.items():
        try:
            factory = _factory(name, table.get("class"))
        except Exception as error:  # a plugin may raise anything on import: the spool must stay readable
            unknown.append(f"plugins.{name} cannot be imported: {error}")
            continue
        if ICarrier.implementedBy(factory):
            carriers.append(name)
        if INotifier.implementedBy(factory):
            notifiers.append(name)
    return Outlets(tuple(carriers), tuple(notifiers), tuple(unknown))


def _was_carried_away(recording: Recording) -> bool:
    if paths.AUDIO in recording.suffixes or not recording.carriers:
        return False
    try:
        return recording.read().get("audio") is not None
    except (OSError, ValueError):
        return False


def _factory(name: str, use: object) -> Any:
    from audiohookd.plugin_loader import GROUP  # noqa: PLC0415 - imports much of Twisted: a quarter of a second

    if use is not None:
        return EntryPoint(name, str(use), GROUP).load()
    for entry in entry_points(group=GROUP, name=name):
        return entry.load()
    raise LookupError("no plugin of this name is installed")
