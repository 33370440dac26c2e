"""The counters of the text messages, both ways (protocol section 4). Binary messages are not counted."""

from audiohookd.protocol.codec import ClientEnvelope
from audiohookd.protocol.errors import RemoteProtocolError


class SequenceNumbers:
    """Counts what the server sent and received. Both directions begin with 1."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self._acknowledged = 0

    def check(self, envelope: ClientEnvelope) -> bool:
        """Counts a message of the client.

        False when its ``serverseq`` went backwards, which is odd and harmless.

        :raises RemoteProtocolError: it is not the next one, or acknowledges what was never sent.
        """
        if envelope.seq != self.received + 1:
            detail = f"seq {envelope.seq} and not {self.received + 1}"
            raise RemoteProtocolError("message out of sequence", detail)
        if envelope.serverseq > self.sent:
            detail = f"serverseq {envelope.serverseq} of {self.sent} sent"
            raise RemoteProtocolError("message out of sequence", detail)
        self.received = envelope.seq
        forwards = envelope.serverseq >= self._acknowledged
        self._acknowledged = envelope.serverseq
        return forwards

    def follow(self, envelope: ClientEnvelope) -> None:
        """Takes the client's counter as it comes, so that what is answered carries it."""
        self.received = envelope.seq
