"""The steps of the connection probe, over a blocking socket: the upgrade, ``open``, ``close``, and the end."""

import socket
from collections.abc import Iterator

from audiohookd.cli import websocket
from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, State, StepFailed
from audiohookd.cli.upgrade import NotUpgraded, Request, Response, check_upgrade, meaning, read_response
from audiohookd.protocol import events
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.events import Accepted, Disconnected
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import NULL_UUID, Open, Participant

_READ = 65_536
_MAX_BODY = 2_048
#: Seconds to wait for the body of a response that rejects the upgrade.
_BODY_TIME = 0.3


def upgrade(connection: socket.socket, request: Request, deadline: Deadline) -> Done[bytes]:
    """Sends the request. The value of the step is the bytes that arrived after the head of the 101 response.

    :raises StepFailed: the server did not upgrade to a WebSocket.
    """
    connection.settimeout(deadline.left())
    connection.sendall(request.head)
    try:
        response = _response(connection, deadline)
        if response.status == 101:
            check_upgrade(response, request.key)
            return Done(response.rest, str(response))
    except NotUpgraded as error:
        raise StepFailed(str(error)) from None
    complaint = ActivationError.UNAUTHORIZED if response.status == 401 else ActivationError.CONNECTION
    text = f"{response.status} {response.phrase}: {meaning(response)}{_author(response, connection)}"
    raise StepFailed(text, complaint)


def _response(connection: socket.socket, deadline: Deadline) -> Response:
    data = b""
    while (response := read_response(data)) is None:
        try:
            connection.settimeout(deadline.left())
            piece = connection.recv(_READ)
        except TimeoutError:
            raise StepFailed("timed out: no response to the request: can the proxy reach the daemon?") from None
        if not piece:
            raise StepFailed("the response is not HTTP" if data else "the connection was closed without a response")
        data += piece
    return response


def _author(response: Response, connection: socket.socket) -> str:
    """Names the server that responded. The daemon sends only a status line; a proxy adds a page of its own."""
    body = response.rest or _body(connection)
    server = response.headers.get("server", "")[:60]
    if body.strip(b"0\r\n"):
        sender = server or "a proxy or another server"
        return f" (sent by {sender}, not by the daemon: the response has a page of its own)"
    return f" (through {server})" if server else ""


def _body(connection: socket.socket) -> bytes:
    connection.settimeout(_BODY_TIME)
    try:
        return connection.recv(_MAX_BODY)
    except OSError:
        return b""


class Closed(Exception):
    """The WebSocket is closed. ``code`` is from the server's close frame; None if there was no close frame."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".strip() if code is not None else "without a close frame")
        self.code = code


class WebSocketClient:
    """The client side of a WebSocket, after the upgrade.

    :param data: the bytes that arrived after the head of the response.
    """

    def __init__(self, connection: socket.socket, data: bytes) -> None:
        self._connection = connection
        self._frames = websocket.ServerFrames()
        self._incoming: Iterator[tuple[int, bytes]] = self._frames.feed(data)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Sends a frame.

        :raises Closed: the connection was lost.
        """
        self._connection.settimeout(deadline.left())
        try:
            self._connection.sendall(data)
        except ConnectionError:
            raise Closed(None) from None

    def receive(self, deadline: Deadline) -> tuple[bytes, bool]:
        """Waits for the next message.

        :returns: its payload, and whether it is binary.
        :raises Closed: the server closed the WebSocket, or the connection was lost.
        :raises TimeoutError: no whole message arrived before the deadline.
        :raises StepFailed: a frame or message is not legal for a server, or is longer than 1 MiB.
        """
        while True:
            try:
                for opcode, payload in self._incoming:
                    if opcode == websocket.CLOSE:
                        raise Closed(*websocket.read_close(payload))
                    if opcode == websocket.PING:
                        self.send(websocket.frame(websocket.PONG, payload), deadline)
                    elif opcode != websocket.PONG:
                        return payload, opcode == websocket.BINARY
            except websocket.MalformedFrame as error:
                raise StepFailed(str(error), ActivationError.MALFORMED) from None
            self._incoming = self._frames.feed(self._read(deadline))

    def _read(self, deadline: Deadline) -> bytes:
        self._connection.settimeout(deadline.left())
        try:
            data = self._connection.recv(_READ)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            raise Closed(None)
        return data


def opening(organization: str, channels: int) -> Open:
    """The parameters of ``open`` for a probe: as for a call, with null ids for conversation and participant."""
    return Open(
        organization_id=organization,
        conversation_id=NULL_UUID,
        participant=Participant(NULL_UUID),
        media=offers(channels),
    )


class Probe:
    """One probe session over a WebSocket."""

    def __init__(self, session: ClientSession, websocket: WebSocketClient) -> None:
        self._session = session
        self._websocket = websocket

    def open(self, deadline: Deadline) -> Done[None]:
        """Opens the session, and waits for ``opened``.

        :raises StepFailed: ``opened`` did not arrive in time, or another message did.
        """
        self._session.start()
        event = self._until(Accepted, deadline, StepFailed("no opened within 5 s", ActivationError.LATE))
        media = getattr(event, "media", None)
        return Done(None, "opened, without audio" if media is None else f"opened, {media.format.value} audio")

    def close(self, deadline: Deadline) -> Done[None]:
        """Closes the session, and waits for ``closed``.

        :raises StepFailed: ``closed`` did not arrive in time.
        """
        self._session.close("end")
        self._until(events.Ended, deadline, StepFailed("no closed in time", ActivationError.UNCLOSED))
        return Done(None, "closed")

    def end(self, deadline: Deadline) -> Done[None]:
        """Closes the WebSocket. This never fails: Genesys Cloud has activated the integration by then."""
        try:
            self._websocket.send(websocket.close_frame(), deadline)
            while True:
                self._websocket.receive(deadline)
        except Closed as closed:
            return Done(
                None,
                f"WebSocket closed: {closed}",
                State.OK if closed.code in (websocket.NORMAL_CLOSURE, websocket.NO_CODE) else State.NOTE,
            )
        except TimeoutError:
            return Done(None, "the server does not close the WebSocket", State.NOTE)

    def _until(self, wanted: type[events.Event], deadline: Deadline, otherwise: StepFailed) -> events.Event:
        while True:
            try:
                for message in self._session.take_outgoing():
                    self._websocket.send(websocket.frame(websocket.TEXT, message), deadline)
                for event in iter(self._session.next_event, None):
                    if isinstance(event, wanted):
                        return event
                    _raise_for_error(event)
                self._receive(deadline)
            except TimeoutError:
                raise otherwise from None
            except Closed as closed:
                text = f"the server closed the WebSocket instead: {closed}"
                raise StepFailed(text, ActivationError.CONNECTION) from None

    def _receive(self, deadline: Deadline) -> None:
        data, is_binary = self._websocket.receive(deadline)
        if is_binary:
            self._session.receive_audio(data)
        else:
            self._session.receive_text(data)


def _raise_for_error(event: events.Event) -> None:
    match event:
        case events.Fault(detail=detail):
            raise StepFailed(f"a message violates the protocol: {detail[:300]}", ActivationError.MALFORMED)
        case Disconnected(reason="unauthorized"):
            text = "disconnect unauthorized: key, signature or organization rejected: run `audiohookctl"
            text += " explain-signature --recent` on the daemon's machine"
            raise StepFailed(text, ActivationError.UNAUTHORIZED)
        case Disconnected(reason=reason, info=info):
            said = f": {info[:200]}" if info else ""
            raise StepFailed(f"disconnect {reason}{said}; see the daemon's log", ActivationError.DISCONNECTED)
