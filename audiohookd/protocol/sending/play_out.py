"""Audio to the client of an Audio Connector, paced by the clock of its play-out (protocol sections 3.6 and 9.1).

The client accepts 5 messages per second and plays audio as it arrives. A message for each 20 ms of a bot's speech
would draw error 429; all at once, a caller who interrupts would hear seconds of speech that was sent already.
"""

from typing import Final

from msgspec import Struct

from audiohookd.protocol.media import Media
from audiohookd.protocol.sending.rates import MICROSECONDS, Budget

#: The least audio of a message in seconds, except at the end of the speech.
MIN_CHUNK: Final = 0.4
#: The most audio of a message in seconds, unless a rest below :data:`MIN_CHUNK` would remain.
MAX_CHUNK: Final = 1.0
#: Seconds before the client plays a chunk, at which it is sent.
LEAD: Final = 0.5
#: Seconds without new audio after which less than :data:`MIN_CHUNK` is sent, because the speech has ended. More than
#: the 0.2 s of a client's frame, or an echo would be sent in halves, each 0.2 s late.
REST_AFTER: Final = 0.3
#: Seconds that the client may report the end of its play-out late.
MARGIN: Final = 2.0
#: Bytes that may wait: two minutes in PCMU.
MAX_WAITING: Final = 1 << 20


class Chunk(Struct, frozen=True):
    """Audio of one message, and the time at which the client plays it, in microseconds."""

    data: bytes
    plays_at: int


class PlayOut:
    """Audio that waits, and the clock of what the client plays. Times are in microseconds.

    :param budget: of binary messages.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._audio = bytearray()
        self._added_at = 0
        self._is_flushed = False
        self._ends_at = 0  # when the client has played all that was sent
        self._is_playing = False  # until the client reports the end
        self._per_second = 1  # bytes

    @property
    def waiting(self) -> int:
        """Bytes that wait."""
        return len(self._audio)

    @property
    def waiting_seconds(self) -> float:
        """Seconds of audio that wait."""
        return len(self._audio) / self._per_second

    def start(self, media: Media | None) -> None:
        """Sets the format."""
        if media is not None:
            self._per_second = media.rate * media.frame_bytes

    def add(self, data: bytes, is_last: bool, now: int) -> bool:
        """Appends audio.

        :param is_last: no more follows soon, so that less than :data:`MIN_CHUNK` is sent, too.
        :returns: False if too much waits already.
        """
        if self.waiting + len(data) > MAX_WAITING:
            return False
        if data:
            self._audio += data
            self._added_at = now
        self._is_flushed = is_last
        return True

    def clear(self, now: int) -> None:
        """Drops what waits, and expects the client to drop what it has."""
        self._audio.clear()
        self._ends_at = min(self._ends_at, now)

    def completed(self) -> None:
        """The client reports that it has played what it has."""
        self._is_playing = bool(self._audio)

    @property
    def over_at(self) -> int | None:
        """The time at which all was certainly played; None if it was, or if audio waits, whose time is not known."""
        return None if self._audio or not self._is_playing else self._ends_at + round(MARGIN * MICROSECONDS)

    @property
    def is_over(self) -> bool:
        """True if the client has played all audio, as it reports."""
        return not (self._audio or self._is_playing)

    def next(self) -> int | None:
        """The time at which ``take`` has audio; None if nothing waits."""
        if not self.waiting:
            return None
        is_enough = self._is_flushed or self.waiting >= self._bytes(MIN_CHUNK)
        enough_at = self._added_at if is_enough else self._added_at + round(REST_AFTER * MICROSECONDS)
        return max(enough_at, self._ends_at - round(LEAD * MICROSECONDS), self._budget.ready_at)

    def take(self, now: int) -> list[Chunk]:
        """Removes and accounts for the audio that may be sent now."""
        chunks = []
        while (due := self.next()) is not None and due <= now:
            data = self._cut()
            self._budget.spend(now)
            plays_at = max(now, self._ends_at)
            self._ends_at = plays_at + len(data) * MICROSECONDS // self._per_second
            self._is_playing = True
            chunks.append(Chunk(data, plays_at))
        return chunks

    def _cut(self) -> bytes:
        size = min(self.waiting, self._bytes(MAX_CHUNK))
        if self.waiting - size < self._bytes(MIN_CHUNK):
            size = self.waiting
        chunk = bytes(self._audio[:size])
        del self._audio[:size]
        return chunk

    def _bytes(self, seconds: float) -> int:
        return round(seconds * self._per_second)
