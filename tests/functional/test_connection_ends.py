"""The log and the sidecar name how a connection ended: real daemon, real sockets, with and without TLS."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import write_certificate
from tests.functional.caller import CLOSE, Caller, SecureCaller
from tests.functional.listener_rig import MakePlace, configured, wait

TLS = {"tls_certificate": "tls.pem", "tls_key": "tls.key"}


def closes_the_websocket(caller: Caller) -> None:
    caller.socket.sendall(caller.frame(CLOSE, struct.pack("!H", 1001) + b"reload"))
    caller.socket.close()


def closes_tcp(caller: Caller) -> None:
    caller.socket.close()


def resets_tcp(caller: Caller) -> None:
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.socket.close()


ENDS = {
    "a close frame": (
        closes_the_websocket,
        {"cause": "close-frame", "by": "client", "code": 1001, "reason": "reload"},
        "(the peer closed the WebSocket with 1001 'reload')",
    ),
    "an end of the stream": (
        closes_tcp,
        {"cause": "eof", "by": "client"},
        "(the peer closed TCP without a WebSocket close frame)",
    ),
    "a reset": (
        resets_tcp,
        {"cause": "reset", "by": "client"},
        "(TCP was reset by the peer or a device on the path)",
    ),
}


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(("end", "recorded", "words"), ENDS.values(), ids=ENDS)
def test_each_end_of_a_connection_is_named(
    place: MakePlace, end: Callable[[Caller], None], recorded: dict[str, Any], words: str, is_secure: bool
) -> None:
    there = configured(place, TLS if is_secure else None)
    certificate: Path = write_certificate(there.directory)[0]
    with there.daemon() as daemon:
        with SecureCaller(there.port, certificate) if is_secure else Caller(there.port) as caller:
            assert caller.open()["type"] == "opened"
            caller.audio(bytes(1600))
            caller.say("ping")
            assert caller.hear()["type"] == "pong"
            end(caller)
        (sidecar,) = there.sidecars(1)
        assert sidecar["recording"]["closeReason"] == "connection-lost"
        assert sidecar["recording"]["connectionEnd"] == recorded
        assert sidecar["recording"]["samples"] == 800
        wait(lambda: f"ended after 0.1 s: connection-lost {words}" in daemon.log())
        assert "broke the protocol" not in daemon.log()
