"""Sequence numbers of the text messages in both directions (protocol section 4). Binary messages are not counted."""

from audiohookd.protocol.codec import ClientEnvelope
from audiohookd.protocol.errors import RemoteProtocolError


class SequenceNumbers:
    """Counts the messages that the server sent and received. Both directions begin with 1."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self._acknowledged = 0

    def check(self, envelope: ClientEnvelope) -> bool:
        """Checks and counts a client message.

        :returns: False if its ``serverseq`` decreased, which is a harmless anomaly.
        :raises RemoteProtocolError: its ``seq`` is not the next number, or it acknowledges an unsent message.
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
        """Adopts the client's counter without a check, so that answers carry it."""
        self.received = envelope.seq
