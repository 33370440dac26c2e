"""The interface of the WebSocket that a session driver uses."""

from typing import Protocol


class ITextTransport(Protocol):
    """A WebSocket that sends text messages."""

    def send(self, message: bytes) -> None:
        """Sends a text message. Has no effect after the connection is lost."""

    def close(self, why: str) -> None:
        """Closes the WebSocket with code 1000; ``why`` is for the log and the recording."""

    def abort(self) -> None:
        """Drops the connection."""
