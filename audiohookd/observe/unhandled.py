"""Counts errors in timers, ``callFromThread`` and Deferreds of plugins, which no caller handles and Twisted logs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import ILogObserver, LogEvent, Logger, LogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

#: The namespaces in which Twisted logs what no caller handles: of its reactors, of Deferreds, of ``log.err``.
NAMESPACES = ("twisted.internet", "log_legacy")


@implementer(ILogObserver)
class UnhandledErrors(Service):
    """Watches the log while it runs.

    :param plugins: by the names of their tables.
    :param count: counts by name and label, in the reactor thread. Events may come from any thread.
    """

    name = "unhandled-errors"
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        publisher: LogPublisher,
        plugins: Mapping[str, object],
        count: Callable[..., int],
    ) -> None:
        self._reactor = reactor
        self._publisher = publisher
        self._count = count
        self._places = places_of(plugins)

    def startService(self) -> None:
        """Starts to observe the log."""
        super().startService()
        self._publisher.addObserver(self)

    def stopService(self) -> None:
        """Stops observing the log."""
        super().stopService()
        self._publisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """See :class:`ILogObserver`."""
        failure = event.get("log_failure")
        if isinstance(failure, Failure) and str(event.get("log_namespace")).startswith(NAMESPACES):
            found = self._blame(failure)
            if found is not None:
                self._reactor.callFromThread(self._report, *found)

    def _blame(self, failure: Failure) -> tuple[Sequence[str], str] | None:
        """The plugins of the innermost frame that belongs to a plugin, and that frame."""
        for function, file, line, *_ in reversed(failure.frames):
            plugins = plugins_of(file, self._places)
            if plugins:
                return plugins, f"{function} ({file}:{line})"
        return None

    def _report(self, plugins: Sequence[str], where: str) -> None:
        """Counts the error for each table with this class, because a traceback does not show the table."""
        if [plugin for plugin in plugins if self._count("unhandled_plugin_errors", plugin) == 0]:
            text = "plugin {plugin}: an error in {where} was not handled by it; see above, the next are only counted"
            self._log.error(text, plugin=" or ".join(plugins), where=where)


def places_of(plugins: Mapping[str, object]) -> dict[Path, list[str]]:
    """The files and directories of their modules, and their top-level packages where two modules do not share one."""
    modules = {name: type(plugin).__module__ for name, plugin in plugins.items()}
    tops = [module.partition(".")[0] for module in set(modules.values())]
    places: dict[Path, list[str]] = {}
    for name, module in modules.items():
        top = module.partition(".")[0]
        found = {_place(sys.modules.get(one)) for one in ((top, module) if tops.count(top) == 1 else (module,))}
        for place in filter(None, found):
            places.setdefault(place, []).append(name)
    return places


def plugins_of(file: str, places: Mapping[Path, Sequence[str]]) -> Sequence[str]:
    """The plugins that a source file belongs to: to a module rather than to a package."""
    path = Path(file)
    return next((places[place] for place in (path, *path.parents) if place in places), [])


def _place(module: Any) -> Path | None:
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    return Path(file).parent if Path(file).name == "__init__.py" else Path(file)
