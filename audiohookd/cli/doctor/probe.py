"""The connection probe: ``open`` of nobody's call, ``opened``, ``close``, ``closed``, the end of the WebSocket."""

from audiohookd.cli.doctor.steps import Complaint, Deadline, Done, State, Trouble
from audiohookd.cli.doctor.wire import Closed, Wire
from audiohookd.protocol import events
from audiohookd.protocol.client import ClientSession
from audiohookd.protocol.client_checks import offers
from audiohookd.protocol.client_events import Accepted, Disconnected
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

    def __init__(self, session: ClientSession, wire: Wire) -> None:
        self._session = session
        self._wire = wire

    def open(self, deadline: Deadline) -> Done[None]:
        """Until ``opened``.

        :raises Trouble: it did not come, or something else did.
        """
        self._session.start()
        event = self._until(Accepted, deadline, Trouble("no opened within 5 s", Complaint.LATE))
        media = getattr(event, "media", None)
        return Done(None, "opened, without audio" if media is None else f"opened, {media.format.value} audio")

    def close(self, deadline: Deadline) -> Done[None]:
        """Until ``closed``.

        :raises Trouble: it did not come.
        """
        self._session.close("end")
        self._until(events.Ended, deadline, Trouble("no closed in time", Complaint.UNCLOSED))
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

    def _until(self, wanted: type[events.Event], deadline: Deadline, otherwise: Trouble) -> events.Event:
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
                raise Trouble(text, Complaint.CONNECTION) from None

    def _hear(self, deadline: Deadline) -> None:
        data, is_binary = self._wire.receive(deadline)
        if is_binary:
            self._session.receive_audio(data)
        else:
            self._session.receive_text(data)


def _demand_harmless(event: events.Event) -> None:
    match event:
        case events.Fault(detail=detail):
            raise Trouble(f"a message that breaks the protocol: {detail[:300]}", Complaint.MALFORMED)
        case Disconnected(reason="unauthorized"):
            text = "disconnect unauthorized: key, signature or organization are refused; `audiohookctl"
            text += " explain-signature --recent`, where the daemon runs, tells why"
            raise Trouble(text, Complaint.UNAUTHORIZED)
        case Disconnected(reason=reason, info=info):
            said = f": {info[:200]}" if info else ""
            raise Trouble(f"disconnect {reason}{said}; the daemon's log tells why", Complaint.DISCONNECTED)
