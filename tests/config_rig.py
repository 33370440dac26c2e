"""The tables that the configuration has, as its structures say."""

from typing import Any

import msgspec

from audiohookd.config import Config, Route
from audiohookd_plugins.agentassist import AgentAssistConfig
from audiohookd_plugins.publish import PublishConfig
from audiohookd_plugins.recorder import RecorderConfig
from audiohookd_plugins.s3 import S3Config
from audiohookd_plugins.webhook import WebhookConfig

#: In the order of the file.
PLUGINS = {
    "recorder": RecorderConfig,
    "s3": S3Config,
    "webhook": WebhookConfig,
    "publish": PublishConfig,
    "agentassist": AgentAssistConfig,
}


def defaults_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Each key of a table and its default, as it would stand in TOML."""
    return msgspec.to_builtins(kind(), enc_hook=str)


def tables() -> dict[str, dict[str, Any]]:
    """Each table of the structures: its keys and their defaults."""
    found = {}
    for field in msgspec.structs.fields(Config):
        if field.name == "route":
            found["route"] = defaults_of(Route)
        elif field.name != "plugins":
            found[field.name] = defaults_of(field.type)
    return found | {f"plugins.{name}": defaults_of(kind) for name, kind in PLUGINS.items()}
