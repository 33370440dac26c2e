"""The services of plugins, and the services that watch plugins."""

from collections.abc import Mapping

from twisted.application.service import IService
from twisted.logger import globalLogPublisher

from audiohookd.application.environment import Environment
from audiohookd.config.errors import address
from audiohookd.observe.unhandled import UnhandledErrors
from audiohookd.observe.watchdog import Watchdog
from audiohookd.plugin_calls import plugin_call
from audiohookd.plugin_host import Daemon
from audiohookd.session.fanout import Watcher


def plugin_services(environment: Environment, daemon: Daemon, watchers: Mapping[str, Watcher]) -> list[IService]:
    """The plugins that are services, their worker pools, and the reporters of their blocks and unhandled errors.

    Each service gets the name of its table, because names must be unique.
    """
    counters, reactor = environment.counters, environment.reactor
    plugins = {name: watcher.plugin for name, watcher in watchers.items()}
    unhandled = UnhandledErrors(reactor, globalLogPublisher, plugins, counters.count)
    services = [(name, watcher.plugin) for name, watcher in watchers.items() if IService.providedBy(watcher.plugin)]
    for name, service in services:
        service.setName(address("plugins", name))
    watchdog = Watchdog(reactor, plugins, counters, plugin_call)
    return [watchdog, unhandled, *daemon.pools, *(service for _, service in services)]
