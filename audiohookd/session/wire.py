"""What a connection needs of the WebSocket below it."""

from typing import Protocol


class ITextTransport(Protocol):
    """The WebSocket below."""

    def send(self, message: bytes) -> None:
        """Sends a text message. Harmless when the connection is gone."""

    def close(self, why: str) -> None:
        """Ends the WebSocket with code 1000; ``why`` is for the log and the recording."""

    def abort(self) -> None:
        """Drops the connection."""
