"""Audio that is different for every call, so that a lost, repeated or foreign byte is detected."""

import hashlib

#: Bytes of a sample of both channels in PCMU, and samples in a second.
FRAME_BYTES = 2
RATE = 8000


class Voice:
    """The audio of one call: an endless stream, reproducible from the session's id, and different for each call.

    It sounds like noise; every byte is valid PCMU.
    """

    def __init__(self, session: str) -> None:
        self._seed = session.encode()
        self._known = b""

    def speak(self, start: int, samples: int) -> bytes:
        """The audio of ``samples`` from the sample ``start``, of both channels."""
        return self.until(start + samples)[start * FRAME_BYTES :]

    def until(self, end: int) -> bytes:
        """The audio of all samples before ``end``."""
        size = end * FRAME_BYTES
        if len(self._known) < size:
            self._known = hashlib.shake_128(self._seed).digest(max(size, 2 * len(self._known), 80_000))
        return self._known[:size]
