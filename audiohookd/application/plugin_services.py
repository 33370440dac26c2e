"""The services of plugins, and the services that watch plugins."""

from collections.abc import Mapping
from typing import Any

from twisted.application.service import IService, Service
from twisted.logger import globalLogPublisher

from audiohookd.application.environment import Environment
from audiohookd.config.errors import address
from audiohookd.observe.unhandled import UnhandledErrors
from audiohookd.observe.watchdog import Watchdog
from audiohookd.plugin_frames import plugin_call
from audiohookd.plugin_host import Daemon
from audiohookd.session.fanout import Watcher


def plugin_services(environment: Environment, daemon: Daemon, watchers: Mapping[str, Watcher]) -> list[IService]:
    """The plugins that are services, their worker pools, and the reporters of their blocks and unhandled errors."""
    counters, reactor = environment.counters, environment.reactor
    plugins = {name: watcher.plugin for name, watcher in watchers.items()}
    unhandled = UnhandledErrors(reactor, globalLogPublisher, plugins, counters.count)
    services = [
        PluginService(address("plugins", name), watcher.plugin)
        for name, watcher in watchers.items()
        if IService.providedBy(watcher.plugin)
    ]
    watchdog = Watchdog(reactor, plugins, counters, plugin_call)
    return [watchdog, unhandled, *daemon.pools, *services]


class PluginService(Service):
    """Starts and stops the service of a plugin.

    Only the methods of IService are called. ``hurry``, ``stop_limit`` and ``hurried_limit``, which the daemon's own
    services may have, are ordinary names in a plugin.

    :param name: ``plugins.NAME``. Twisted does not accept two services of one name.
    """

    def __init__(self, name: str, service: IService) -> None:
        self.name = name
        self._service = service

    def privilegedStartService(self) -> None:
        """See IService. Errors of the plugin pass."""
        self._service.privilegedStartService()

    def startService(self) -> object:
        """See IService. Errors of the plugin pass.

        :returns: a Deferred or coroutine, if the plugin returns one.
        """
        super().startService()
        return self._service.startService()

    def stopService(self) -> Any:
        """See IService. Errors of the plugin pass.

        :returns: a Deferred or coroutine, if the plugin returns one.
        """
        super().stopService()
        return self._service.stopService()
