"""A rejected connection is freed from memory at once. There may be many of them, and the collector runs rarely."""

import gc
import weakref
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.proxy_headers import v1
from tests.websocket.proxied_rig import FrontedServer
from tests.websocket.websocket_rig import Peer, Server, request_head

HEADER = v1(ip_address("192.0.2.1"))
HEADS = {
    "nothing": b"",
    "half a head": request_head()[:100],
    "no head at all": b"\x16\x03\x01\r\n\r\n",
    "no upgrade": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a bad identity": request_head(Audiohook_Session_Id="1"),
    "another path": request_head("/elsewhere"),
    "no signature": request_head(signed=False),
    "a wrong signature": request_head(Signature="sig1=:AA==:"),
    "a malformed signature": request_head(Signature_Input="("),
}


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def is_freed(server: Server, sent: bytes) -> bool:
    """Whether the protocol is freed after the client has sent ``sent`` and was rejected."""
    peer: Peer = server.connect()
    protocol = weakref.ref(peer.protocol)
    peer.send(sent)
    server.clock.advance(1.0)
    assert not peer.answer().startswith(b"HTTP/1.1 101")
    peer.lose()
    server.clock.advance(60.0)
    del peer
    return protocol() is None


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_rejected_connection_is_freed_at_once(head: bytes) -> None:
    assert is_freed(Server(), head)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("header", [b"", HEADER[:20], HEADER], ids=["without", "with half", "with"])
def test_a_rejected_connection_behind_a_proxy_is_freed_at_once(header: bytes, head: bytes) -> None:
    assert is_freed(FrontedServer(), header + head)
