"""A listening port without a socket, and a peer that speaks to it in octets."""

import struct
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.replay.store import MemoryReplayStore, replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE, sign
from audiohookd.edge.policy import HandshakePolicy
from audiohookd.interfaces import IPlugin
from audiohookd.observe.counters import Counters
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.driver import ServerContext
from audiohookd.session.fanout import RoutePlugins, Watcher
from audiohookd.session.quotas import Quotas
from audiohookd.session.registry import Registry
from audiohookd.testing import CORRELATION_ID, ORGANIZATION_ID, PATH, SESSION_ID, START, CapturingSink
from audiohookd.websocket.protocol import AudioHookServerFactory
from tests.websocket.server_rig import watched_by

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = b"MySuperSecretKeyTellNoOne-1!2@3#4$5"
OPEN_KEY = "b3Blbg=="
MASK = b"\x37\xfa\x21\x3d"

OPEN = (
    b'{"version":"2","id":"%s","type":"open","seq":1,"serverseq":0,"position":"PT0S","parameters":{'
    b'"organizationId":"%s","conversationId":"090eaa2f-72fa-480a-83e0-8667ff89c0ec",'
    b'"participant":{"id":"883efee8-3d6c-4537-b500-6d7ca4b92fa0","ani":"","aniName":"","dnis":""},'
    b'"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}}'
) % (SESSION_ID.encode(), ORGANIZATION_ID.encode())


def request_head(
    target: str = PATH, *, signed: bool = True, nonce: str = "VGhpc0lzQVVuaXF1ZU5vbmNl", **changed: Any
) -> bytes:
    """An upgrade request; ``changed`` headers are replaced, or left out when None."""
    headers = {
        "Host": "audiohook.example.com",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        "User-Agent": "GenesysCloud-AudioHook-Client",
        "Audiohook-Organization-Id": ORGANIZATION_ID,
        "Audiohook-Session-Id": SESSION_ID,
        "Audiohook-Correlation-Id": CORRELATION_ID,
        "X-API-KEY": API_KEY,
    }
    if signed:
        request = UpgradeRequest(target, {name.lower(): value for name, value in headers.items()})
        fields = sign(request, SECRET, created=int(START), nonce=nonce, expires=int(START) + 30)
        headers |= {"Signature-Input": fields.signature_input, "Signature": fields.signature}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    size = len(payload)
    first = opcode | (0x80 if fin else 0)
    flag = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, flag | size])
    elif size < 65_536:
        head = bytes([first, flag | 126]) + struct.pack("!H", size)
    else:
        head = bytes([first, flag | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = (MASK * (size // 4 + 1))[:size]
    scrambled = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
    return head + MASK + scrambled


def text(data: bytes) -> bytes:
    return frame(1, data)


def binary(data: bytes) -> bytes:
    return frame(2, data)


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server: opcode and payload."""
    frames = []
    while data:
        opcode, size = data[0] & 0x0F, data[1]
        assert size < 128, "masked"
        offset = 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[2 : 2 + width])
            offset += width
        frames.append((opcode, data[offset : offset + size]))
        data = data[offset + size :]
    return frames


class Server:
    """A listening port without a socket."""

    def __init__(
        self,
        failure: Any = "http",
        *,
        max_pending: int = 100,
        max_sessions: int = 10,
        plugin: IPlugin | None = None,
        quotas: Quotas | None = None,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.sink = CapturingSink()
        self.counters = Counters()
        self.registry = Registry(self.clock, max_sessions, 60.0, quotas=quotas, count=self.counters.count)
        routes = {PATH: RoutePlugins([watched_by(self.sink) if plugin is None else Watcher("plugin", plugin)])}
        shared = ServerContext(self.clock, self.now, Timeouts(), self.registry, self.counters, routes)
        keys = Keys({API_KEY: Key((SECRET,)), OPEN_KEY: Key((b"",))})
        replay = MemoryReplayStore(replay_window(MAX_AGE, CLOCK_SKEW), self.clock.seconds)
        self.authenticator = Authenticator(keys, replay)
        door = HandshakePolicy(self.authenticator, failure)
        self.factory = AudioHookServerFactory(shared, door, max_pending, reactor=self.clock)
        # Autobahn uses timers on the global reactor, which does not run here, so all are turned off.
        self.factory.setProtocolOptions(closeHandshakeTimeout=0, **options)
        self.port: Any = self.factory  # with what stands before it, if anything does

    def now(self) -> float:
        """The date."""
        return START + self.clock.seconds()

    def connect(self, peer: Any = None) -> "Peer":
        return Peer(self, peer)


class Peer:
    """A TCP connection to it."""

    def __init__(self, server: Server, address: Any = None) -> None:
        self.clock = server.clock
        self.transport = StringTransport(peerAddress=address)
        self.protocol = server.port.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def answer(self) -> bytes:
        """Returns the bytes received since the last call."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def status(self) -> bytes:
        """The status line of what came, and nothing more may have come."""
        line, _, rest = self.answer().partition(b"\r\n")
        assert rest == b"\r\n"
        return line

    def frames(self) -> list[tuple[int, bytes]]:
        return unframed(self.answer())

    def upgrade(self, **changed: Any) -> "Peer":
        self.send(request_head(**changed))
        assert self.answer().startswith(b"HTTP/1.1 101 ")
        return self

    def opened(self) -> "Peer":
        self.upgrade().send(text(OPEN))
        ((opcode, message),) = self.frames()
        assert opcode == 1
        assert b'"type":"opened"' in message
        return self

    @property
    def is_closed(self) -> bool:
        return bool(self.transport.disconnecting)

    @property
    def is_aborted(self) -> bool:
        return bool(self.transport.disconnected)

    def lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


def open_peer(**options: Any) -> Peer:
    return Server(**options).connect().opened()
