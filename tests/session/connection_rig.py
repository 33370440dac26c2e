"""Calls through one connection, and what is to be seen of them."""

import json
from typing import Any

from audiohookd.session.fanout import Watcher
from audiohookd.testing import CapturingSink
from audiohookd.testing.client import ScriptedClient

FRAME = b"\xff" * 3_200
PROBE = {"conversationId": "00000000-0000-0000-0000-000000000000"}
#: An event that any product would ignore.
ENTITY: Any = {"type": "note", "data": {"text": "hello"}}


def opened(*watchers: Watcher, **options: Any) -> ScriptedClient:
    client = ScriptedClient(*watchers, **options)
    client.open()
    return client


def seen_types(sink: CapturingSink) -> list[str]:
    """The protocol messages that an observer was shown: ``>`` from the client, ``<`` to it."""
    return [("<" if call[1] else ">") + message_type(call[2]) for call in sink.calls if call[0] == "message"]


def message_type(data: bytes) -> str:
    return str(json.loads(data)["type"])


def without_messages(sink: CapturingSink) -> list[tuple[Any, ...]]:
    return [call for call in sink.calls if call[0] != "message"]


def gone(client: ScriptedClient) -> bool:
    """Nothing is left of the call: no timer, no place in the registry."""
    return client.clock.getDelayedCalls() == [] and not list(client.registry) and not len(client.registry)
