"""Finds, checks and builds the plugins that the configuration names. A broken plugin stops the start-up."""

import re
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec
from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from audiohookd.config.convert import convert
from audiohookd.config.errors import ConfigError, address, did_you_mean
from audiohookd.config.schema import Config
from audiohookd.delivery.destination import DESTINATION_NAME, is_destination
from audiohookd.interfaces import IAdmission, ICarrier, IDaemon, INotifier, IPlugin, IPluginFactory
from audiohookd.plugin_host import Daemon
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, is_mistake, text_of
from audiohookd.runtime.plugin_checks import mistakes_of_plugin
from audiohookd.session.fanout import Watcher

_log = Logger()

GROUP = "audiohookd.plugins"
#: The keys that every plugin table may have, in addition to those of its plugin.
COMMON_KEYS = ("class", "required")
#: Former names of these keys.
RENAMED_KEYS = {"use": "class"}

_dotted = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_one_attribute = re.compile(f"{_dotted}:{_dotted}")


def load_plugins(config: Config, path: Path, daemon: Daemon) -> dict[str, Watcher]:
    """Loads the plugins; returns them by name, in the order of the file.

    :raises ConfigError: one line with file, key and the distribution at fault.
    """
    watchers: dict[str, Watcher] = {}
    for name, table in config.plugins.items():
        watchers[name] = watcher = _load(name, dict(table), path, daemon.of_plugin(name))
        for other in watchers.values():
            if other.plugin is watcher.plugin and other is not watcher:
                where, first = address("plugins", name), address("plugins", other.name)
                raise ConfigError(f"{path}: {where}: its factory returns the plugin of [{first}] and not a new one")
    daemon.is_complete = True
    return watchers


def _load(name: str, table: dict[str, Any], path: Path, daemon: IDaemon) -> Watcher:
    where = address("plugins", name)
    for key in RENAMED_KEYS.keys() & table.keys():  # before the plugin is looked up, which this key may name
        _check_keys({key: table[key]}, msgspec.Struct, f"{path}: {where}")
    dotted = table.pop("class", None)
    required = table.pop("required", False)
    if not isinstance(required, bool):
        raise ConfigError(f"{path}: {where}.required: must be true or false")
    entry = (
        _installed(name, f"{path}: {where}") if dotted is None else _one_file(name, dotted, f"{path}: {where}.class")
    )
    culprit = f"{path}: {where}: {_origin(entry)}"
    factory = _import(entry, culprit)
    _check_keys(table, factory.config_type, f"{path}: {where}")
    options = _checked(culprit, "", convert, table, factory.config_type, path, where)
    plugin = _checked(culprit, "", _build, factory, options, daemon)
    if is_destination(plugin):
        _check_outlet(name, plugin, f"{path}: {where}", culprit)
    return Watcher(name, plugin, required)


def _build(factory: Any, options: Any, daemon: IDaemon) -> Any:
    plugin = factory(options, daemon)
    _verify(plugin)
    for mistake in mistakes_of_plugin(plugin):
        raise ValueError(mistake)
    return plugin


def _checked(culprit: str, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls code of a plugin, and returns the result.

    :raises ConfigError: with one line about what it raised, a ``sys.exit()`` in a library included.
    """
    result = foreign_code.call(function, *arguments)
    if not isinstance(result, Failure):
        return result
    if isinstance(result.value, ConfigError):
        raise result.value
    raise ConfigError(f"{culprit}: {what}{_describe(result)}") from result.value


def _installed(name: str, where: str) -> EntryPoint:
    group = entry_points(group=GROUP)
    found: Sequence[EntryPoint] = [entry for entry in group if entry.name == name]
    if not found:
        raise ConfigError(f"{where}: no plugin of this name is installed{did_you_mean(name, group.names)}")
    if len(found) > 1:
        origins = " and ".join(map(_origin, found))
        raise ConfigError(f"{where}: {len(found)} plugins of this name: {origins}; uninstall all but one")
    return found[0]


def _one_file(name: str, dotted: object, where: str) -> EntryPoint:
    if not isinstance(dotted, str) or not _one_attribute.fullmatch(dotted):
        raise ConfigError(f"{where}: must be 'module:attribute'")
    return EntryPoint(name, dotted, GROUP)


def _import(entry: EntryPoint, culprit: str) -> Any:
    factory = _checked(culprit, "cannot be imported: ", entry.load)
    if not IPluginFactory.providedBy(factory):
        raise ConfigError(f"{culprit}: does not provide IPluginFactory (decorate it with @provider(IPluginFactory))")
    config_type = getattr(factory, "config_type", None)
    if not (isinstance(config_type, type) and issubclass(config_type, msgspec.Struct)):
        raise ConfigError(f"{culprit}: its config_type must be a msgspec.Struct")
    return factory


def _check_keys(table: dict[str, Any], config_type: type[msgspec.Struct], where: str) -> None:
    """Rejects unknown keys, also if the plugin's own structure allows them."""
    known = [field.encode_name for field in msgspec.structs.fields(config_type)]
    renamed = {**RENAMED_KEYS, **getattr(config_type, "renamed_keys", {})}
    for key in table:
        if key in renamed and key not in known:
            raise ConfigError(f"{where}.{address(key)}: this key is named {renamed[key]!r} now")
        if key not in known:
            hint = did_you_mean(key, [*known, *COMMON_KEYS])
            raise ConfigError(f"{where}.{address(key)}: unknown key{hint}")


def _verify(plugin: Any) -> None:
    """Checks every interface that the plugin provides: a missing method would only show during a call."""
    verifyObject(IPlugin, plugin)
    for optional in (IAdmission, ICarrier, INotifier, IService):
        if optional.providedBy(plugin):
            verifyObject(optional, plugin)


def _check_outlet(name: str, plugin: Any, where: str, culprit: str) -> None:
    if not DESTINATION_NAME.fullmatch(name):
        which = "at most 100 letters, digits, _ and -"
        raise ConfigError(f"{where}: gets recordings, and its name becomes part of their files' names: {which} alone")
    if not isinstance(plugin.concurrency, int) or plugin.concurrency < 1:
        raise ConfigError(f"{culprit}: its concurrency must be an integer of at least 1")


def _origin(entry: EntryPoint) -> str:
    return f"{entry.value} of {entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _describe(failure: Failure) -> str:
    """The reason for the operator. Texts of zope name the object by its address in memory; that is cut off."""
    fault = failure.value or Exception()
    text = text_of(fault)
    if isinstance(fault, Invalid):
        return text[max(0, text.find("has failed to implement")) :]
    # A ValueError names a mistake of the operator; any other exception is a mistake of the plugin's author.
    if type(fault) is ValueError and text:
        return text
    if is_mistake(fault):
        _log.failure("a plugin has a mistake", foreign_code.loggable(failure))
    return in_words(fault)
