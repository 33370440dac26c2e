"""The tables, keys and defaults of the configuration, from its structures."""

from typing import Any

import msgspec
import msgspec.inspect

from audiohookd.config.schema import Config, Route
from audiohookd.units import UNIT, written
from audiohookd_plugins.agentassist import AgentAssistConfig
from audiohookd_plugins.echobot import EchoBotConfig
from audiohookd_plugins.menubot import MenuBotConfig
from audiohookd_plugins.publish import PublishConfig
from audiohookd_plugins.recorder import RecorderConfig
from audiohookd_plugins.s3 import S3Config
from audiohookd_plugins.webhook import WebhookConfig

#: The tables in the order of the file.
PLUGINS: dict[str, type[Any]] = {
    "recorder": RecorderConfig,
    "s3": S3Config,
    "webhook": WebhookConfig,
    "publish": PublishConfig,
    "agentassist": AgentAssistConfig,
    "echobot": EchoBotConfig,
    "menubot": MenuBotConfig,
}


def defaults_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Each key of a table, with its default as in TOML."""
    found = msgspec.to_builtins(kind(), enc_hook=str)
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    unit = {
        field.encode_name: field.type.extra[UNIT]
        for field in info.fields
        if isinstance(field.type, msgspec.inspect.Metadata) and field.type.extra
    }
    found |= {key: written(found[key], unit[key]) for key in unit}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _with_inner(name: str, kind: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """A table, and the tables in it."""
    inner = {field.name: field.type for field in msgspec.structs.fields(kind) if is_table(field.type)}
    keys = {key: default for key, default in defaults_of(kind).items() if key not in inner}
    tables = {name: keys}
    for key, table in inner.items():
        tables |= _with_inner(f"{name}.{key}", table)
    return tables


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def tables() -> dict[str, dict[str, Any]]:
    """All tables of the structures, with their keys and defaults."""
    found = {}
    for field in msgspec.structs.fields(Config):
        if field.name == "route":
            found["route"] = defaults_of(Route)
        elif field.name != "plugins":
            found |= _with_inner(field.name, field.type)
    return found | {f"plugins.{name}": defaults_of(kind) for name, kind in PLUGINS.items()}
