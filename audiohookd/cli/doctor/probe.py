"""The connection probe: ``open`` without a call, ``opened``, ``close``, ``closed``, the end of the WebSocket."""

from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, State, StepFailed
from audiohookd.cli.doctor.wire import Closed, WebSocketClient
from audiohookd.protocol import events
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.events import Accepted, Disconnected
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import NULL_UUID, Open, Participant

#: Close codes of a normal end.
_NORMAL = frozenset({1000, 1005})


def opening(organization: str) -> Open:
    """The parameters of ``open`` for a probe: as for a call, with null ids for conversation and participant."""
    return Open(
        organization_id=organization, conversation_id=NULL_UUID, participant=Participant(NULL_UUID), media=offers(2)
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
            self._websocket.close(deadline)
            while True:
                self._websocket.receive(deadline)
        except Closed as closed:
            return Done(None, f"WebSocket closed: {closed}", State.OK if closed.code in _NORMAL else State.NOTE)
        except TimeoutError:
            return Done(None, "the server does not close the WebSocket", State.NOTE)

    def _until(self, wanted: type[events.Event], deadline: Deadline, otherwise: StepFailed) -> events.Event:
        while True:
            try:
                for message in self._session.take_outgoing():
                    self._websocket.send(message, deadline)
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
