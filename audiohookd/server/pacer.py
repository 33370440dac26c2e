"""How much one client may send, counted on its way to its connection."""

from collections.abc import Callable

from audiohookd.server.connection import Connection, Shared
from audiohookd.server.door import Paces
from audiohookd.server.rates import Allowance


class Pacer:
    """Passes on what comes in, until that is too much: then the client is asked to close.

    It may send some more until it has seen that; after that it is dropped.

    :param drop: called with the name of the limit.
    """

    __slots__ = (
        "_audio_bytes",
        "_connection",
        "_drop",
        "_frames",
        "_is_dropped",
        "_is_restrained",
        "_messages",
        "_shared",
    )

    def __init__(self, connection: Connection, paces: Paces, shared: Shared, drop: Callable[[str], object]) -> None:
        since = shared.clock.seconds()
        self._connection = connection
        self._shared = shared
        self._drop = drop
        self._frames = Allowance(paces.frames, since)
        self._messages = Allowance(paces.messages, since)
        self._audio_bytes = Allowance(paces.audio_bytes, since)
        self._is_restrained = False
        self._is_dropped = False

    def audio(self, data: bytes) -> None:
        """A binary message."""
        frames, audio_bytes = self._frames, self._audio_bytes
        frames.left -= 1
        audio_bytes.left -= len(data)
        if (frames.left >= 0 or self._has_more(frames, "frames")) and (
            audio_bytes.left >= 0 or self._has_more(audio_bytes, "audio-bytes")
        ):
            self._connection.audio(data)

    def text(self, data: bytes) -> None:
        """A text message."""
        self._messages.left -= 1
        if self._messages.left >= 0 or self._has_more(self._messages, "messages"):
            self._connection.text(data)

    def part(self) -> bool:
        """A control frame, or a part of a message: counted like audio. False when the client has been dropped."""
        self._frames.left -= 1
        return self._frames.left >= 0 or self._has_more(self._frames, "frames") or not self._is_dropped

    def _has_more(self, allowance: Allowance, what: str) -> bool:
        if allowance.renew(self._shared.clock.seconds()):
            return True
        if self._is_dropped:
            return False
        if self._is_restrained:
            self._is_dropped = True
            self._drop(what)
        else:
            self._is_restrained = True
            self._shared.counters.count("limits", what)
            allowance.indulge()
            self._connection.restrain(f"too many {what}")
        return False
