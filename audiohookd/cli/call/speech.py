"""What the server of an Audio Connector says in a call, for a WAV file."""

from pathlib import Path

from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav


class Speech:
    """The server's audio on the timeline of the call: silence where it says nothing."""

    def __init__(self) -> None:
        self._media: Media | None = None
        self._audio = bytearray()

    def start(self, media: Media | None) -> None:
        """The session is open with this medium."""
        self._media = media

    def add(self, start: int, data: bytes) -> None:
        """Adds audio that is played from position ``start`` on, or after the audio before it."""
        if self._media is not None:
            missing = start - len(self._audio) // self._media.frame_bytes
            self._audio += self._media.silence(max(0, missing)) + data

    def cut(self, start: int) -> None:
        """Removes the audio from ``start`` on."""
        if self._media is not None:
            del self._audio[start * self._media.frame_bytes :]

    def write(self, path: Path) -> None:
        """Writes the file.

        :raises OSError: it cannot be written.
        """
        if self._media is not None:
            size = len(self._audio)
            path.write_bytes(wav.header(self._media, size) + self._audio + wav.padding(size))
