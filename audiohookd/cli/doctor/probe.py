"""The connection probe: ``open`` of nobody's call, ``opened``, ``close``, ``closed``, the end of the WebSocket."""

from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, State, StepFailed
from audiohookd.cli.doctor.wire import Closed, WebSocketClient
from audiohookd.protocol import events
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.events import Accepted, Disconnected
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import NULL_UUID, Open, Participant

#: Codes of a WebSocket that ended as it should.
_NORMAL = frozenset({1000, 1005})


def opening(organization: str) -> Open:
    """What ``open`` says: as for a call, but of nobody."""
    return Open(
        organization_id=organization, conversation_id=NULL_UUID, participant=Participant(NULL_UUID), media=offers(2)
    )


class Probe:
    """One session, over a wire."""

    def __init__(self, session: ClientSession, wire: WebSocketClient) -> None:
        self._session = session
        self._wire = wire

    def open(self, deadline: Deadline) -> Done[None]:
        """Until ``opened``.

        :raises Trouble: it did not come, or something else did.
        """
        self._session.start()
        event = self._until(Accepted, deadline, StepFailed("no opened within 5 s", ActivationError.LATE))
        media = getattr(event, "media", None)
        return Done(None, "opened, without audio" if media is None else f"opened, {media.format.value} audio")

    def close(self, deadline: Deadline) -> Done[None]:
        """Until ``closed``.

        :raises Trouble: it did not come.
        """
        self._session.close("end")
        self._until(events.Ended, deadline, StepFailed("no closed in time", ActivationError.UNCLOSED))
        return Done(None, "closed")

    def end(self, deadline: Deadline) -> Done[None]:
        """The end of the WebSocket. Whatever it is, Genesys Cloud has what it wants."""
        try:
            self._wire.close(deadline)
            while True:
                self._wire.receive(deadline)
        except Closed as closed:
            return Done(None, f"WebSocket closed: {closed}", State.OK if closed.code in _NORMAL else State.NOTE)
        except TimeoutError:
            return Done(None, "the server does not end the WebSocket", State.NOTE)

    def _until(self, wanted: type[events.Event], deadline: Deadline, otherwise: StepFailed) -> events.Event:
        while True:
            try:
                for message in self._session.take_outgoing():
                    self._wire.send(message, deadline)
                for event in iter(self._session.next_event, None):
                    if isinstance(event, wanted):
                        return event
                    _demand_harmless(event)
                self._hear(deadline)
            except TimeoutError:
                raise otherwise from None
            except Closed as closed:
                text = f"the WebSocket was ended instead: {closed}"
                raise StepFailed(text, ActivationError.CONNECTION) from None

    def _hear(self, deadline: Deadline) -> None:
        data, is_binary = self._wire.receive(deadline)
        if is_binary:
            self._session.receive_audio(data)
        else:
            self._session.receive_text(data)


def _demand_harmless(event: events.Event) -> None:
    match event:
        case events.Fault(detail=detail):
            raise StepFailed(f"a message that breaks the protocol: {detail[:300]}", ActivationError.MALFORMED)
        case Disconnected(reason="unauthorized"):
            text = "disconnect unauthorized: key, signature or organization are refused; `audiohookctl"
            text += " explain-signature --recent`, where the daemon runs, tells why"
            raise StepFailed(text, ActivationError.UNAUTHORIZED)
        case Disconnected(reason=reason, info=info):
            said = f": {info[:200]}" if info else ""
            raise StepFailed(f"disconnect {reason}{said}; the daemon's log tells why", ActivationError.DISCONNECTED)
