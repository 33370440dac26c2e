"""The interface of the WebSocket that a session driver uses."""

from typing import Protocol


class IWebSocket(Protocol):
    """A WebSocket that sends messages. ``send`` and ``send_audio`` have no effect after the connection is lost."""

    def send(self, message: bytes) -> None:
        """Sends a text message."""

    def send_audio(self, data: bytes) -> None:
        """Sends a binary message."""

    def close(self, why: str) -> None:
        """Closes the WebSocket with code 1000; ``why`` is for the log and the recording."""

    def abort(self) -> None:
        """Drops the connection."""
