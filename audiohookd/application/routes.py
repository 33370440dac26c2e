"""Determines the plugins of each route, and warns of routes that do not record."""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import structs
from twisted.logger import Logger

from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Config, Route
from audiohookd.protocol.media import MediaPreference
from audiohookd.protocol.product import Product
from audiohookd.session.fanout import RoutePlugins, Watcher

_log = Logger()

#: Seconds after which Genesys Cloud ends a session of an Audio Connector, unless its support raises that.
BOT_TIME_LIMIT = 900.0


def routes_of(
    config: Config, path: Path, watchers: Mapping[str, Watcher], warn: Callable[[str], object]
) -> dict[str, RoutePlugins]:
    """The plugins of each route, by its path. Plugins that record are left out of routes with ``record = false``.

    :param path: of the configuration file.
    :param warn: called with a line for each route that neither records nor has ``record = false``. The line is also
        logged.
    :raises ConfigError: ``record`` contradicts the plugins of its route.
    """
    routes = {
        route.path: _plugins(config, route, f"{path}: route[{number}].record", watchers)
        for number, route in enumerate(config.route)
    }
    for where, warning in _unrecorded(config, routes).items():
        _log.warn("{path}: {where}: {warning}", path=str(path), where=where, warning=warning)
        warn(warning)
    return routes


def _unrecorded(config: Config, routes: Mapping[str, RoutePlugins]) -> dict[str, str]:
    """A warning for each route without recordings and without ``record = false``.

    By the address of the route in the file. Calls there are accepted as everywhere, so nothing else would show it.
    """
    recorders = sorted({plugin.name for route in routes.values() for plugin in route.watchers if plugin.records})
    remedy = 'add a table [plugins.recorder], and "recorder" to plugins of the route if it has that list'
    if recorders:
        remedy = f"add {recorders[0]!r} to its plugins"
    return {
        f"route[{number}]": f"calls on {route.path!r} are not recorded: {remedy}, or set record = false in [[route]]"
        for number, route in enumerate(config.route)
        if routes[route.path].must_record and not routes[route.path].recorders
    }


def _preference(route: Route) -> MediaPreference:
    """Bot Transcription Connector is about the caller alone."""
    channels = route.channels or (("external",) if route.product is Product.BOT_TRANSCRIPTION else ())
    return MediaPreference(route.formats, channels, route.audio)


def _plugins(config: Config, route: Route, where: str, watchers: Mapping[str, Watcher]) -> RoutePlugins:
    limit = route.time_limit
    if limit is None:
        limit = BOT_TIME_LIMIT if route.product is Product.AUDIO else 0.0
    used = [watchers[name] for name in config.plugins_of(route)]
    plugins = RoutePlugins(used, route.record is not False, route.product, limit, _preference(route), route.reconnect)
    if route.record and not plugins.recorders:
        raise ConfigError(f"{where}: is true, but no plugin of this route records: add [plugins.recorder]")
    if route.record is not False:
        return plugins
    if route.plugins is not None and plugins.recorders:
        raise ConfigError(f"{where}: is false, but plugin {plugins.recorders[0]!r} records: remove one of the two")
    silent = [watcher for watcher in plugins.watchers if not watcher.records]
    return structs.replace(plugins, watchers=silent, must_record=False)
