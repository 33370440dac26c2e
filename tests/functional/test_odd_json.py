"""Legal but unusual JSON: the call continues, and its sidecar has every message."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.caller import TEXT, Caller
from tests.functional.place import Place

CONFIG = (
    b'{"a": "\\ud800", "b": 1e999, "c": 123456789012345678901234567890, "": "\\u0000\xe2\x80\xa8", '
    b'"d": 1, "d": 2, "e": ' + b"[" * 150 + b"]" * 150 + b"}"
)
READ = {"a": "\ufffd", "b": "1e999", "c": 123456789012345678901234567890, "": "\0\u2028", "d": 2}

SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "in lines": lambda text: json.dumps(json.loads(text), indent=2).replace("\n", "\r\n").encode(),
    "with a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "with white space around": lambda text: b"\r\n\t " + text + b" \n",
    "with decimals": lambda text: text.replace(b'"seq": 1', b'"seq": 1.0').replace(b"8000", b"8000.0"),
    "with escapes in names": lambda text: text.replace(b'"seq"', b'"\\u0073eq"').replace(b'"type"', b'"t\\u0079pe"'),
    "with a further member": lambda text: text.removesuffix(b"}") + b', "x": ' + CONFIG + b"}",
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_call_continues_with_any_spelling_of_its_messages(
    bin: Path,  # noqa: A002
    tmp_path: Path,
    spelled: Callable[[bytes], bytes],
) -> None:
    place = Place(bin, tmp_path)
    with place.daemon(), Caller(place.port) as caller:
        message = caller.message
        caller.message = lambda *given, **more: spelled(message(*given, **more))  # type: ignore[method-assign]
        assert caller.open()["type"] == "opened"
        caller.audio(b"\xff" * 3200)
        caller.say("ping")
        assert caller.hear()["type"] == "pong"
        assert caller.close()["type"] == "closed"
        (sidecar,) = place.sidecars(1)
    assert told(sidecar) == ["open", "opened", "ping", "pong", "close", "closed"]
    assert not [entry for entry in sidecar["body"] if entry["type"] == "logger"]


def test_a_custom_config_of_any_json_is_in_the_sidecar(bin: Path, tmp_path: Path) -> None:  # noqa: A002
    place = Place(bin, tmp_path)
    with place.daemon(), Caller(place.port) as caller:
        message = caller.message
        caller.message = lambda *given, **more: message(*given, **more).replace(  # type: ignore[method-assign]
            b'"participant"', b'"customConfig": ' + CONFIG + b', "participant"'
        )
        assert caller.open()["type"] == "opened"
        assert caller.close()["type"] == "closed"
        (sidecar,) = place.sidecars(1)
    opened = next(entry["data"]["message"] for entry in sidecar["body"] if entry["type"] == "audiohook")
    config = opened["parameters"]["customConfig"]
    assert config.pop("e") == json.loads("[" * 150 + "]" * 150)
    assert config == READ


def test_octets_that_are_not_utf_8_close_the_websocket(bin: Path, tmp_path: Path) -> None:  # noqa: A002
    place = Place(bin, tmp_path)
    with place.daemon(), Caller(place.port) as caller:
        assert caller.open()["type"] == "opened"
        caller.socket.sendall(caller.frame(TEXT, caller.message("ping").replace(b"ping", b"p\xffng")))
        heard = caller.hear()
        assert heard == {"type": "ws-close", "code": 1007}


def told(sidecar: dict[str, Any]) -> list[str]:
    """The types of the messages, in order."""
    return [entry["data"]["message"]["type"] for entry in sidecar["body"] if entry["type"] == "audiohook"]
