"""The speech of a bot on the timeline of its call, for the second channel of a recording."""

from array import array

from audiohookd.protocol.media import Format


class BotTrack:
    """Audio that was sent to the client, by the position at which the caller hears it.

    The daemon sends a second or two ahead, so little is kept.

    :param position: the position, in samples, of the next sample that is recorded.
    """

    def __init__(self, encoding: Format, position: int) -> None:
        self._silence = encoding.silence
        self._bytes = encoding.sample_bytes
        self._position = position
        self._audio = bytearray()  # from ``position`` on

    def add(self, start: int, data: bytes) -> None:
        """Adds audio that the caller hears from ``start`` on, or as soon as the audio before it has ended."""
        missing = (start - self._position) * self._bytes - len(self._audio)
        if missing > 0:
            self._audio += self._silence * (missing // self._bytes)
        self._audio += data

    def cut(self, start: int) -> None:
        """Removes the audio from ``start`` on, because the caller interrupted the bot."""
        del self._audio[max(0, start - self._position) * self._bytes :]

    def take(self, samples: int) -> bytes:
        """Removes the next ``samples``: silence where the bot says nothing."""
        size = samples * self._bytes
        audio = bytes(self._audio[:size])
        del self._audio[:size]
        self._position += samples
        return audio + self._silence * (samples - len(audio) // self._bytes)


def interleaved(encoding: Format, external: bytes, bot: bytes) -> bytes:
    """Two channels of the same length, sample by sample."""
    code = "B" if encoding is Format.PCMU else "H"
    both = array(code, bytes(2 * len(external)))
    both[0::2], both[1::2] = array(code, external), array(code, bot)
    return both.tobytes()
