"""Audio that says whose it is: any byte that is lost, doubled or another call's shows."""

import hashlib

#: Bytes of a sample of both channels in PCMU, and samples in a second.
FRAME_BYTES = 2
RATE = 8000


class Voice:
    """The audio of one call: a stream without end, the same each time it is asked for, like no other call's.

    To a listener it is noise; PCMU has a meaning for every byte.
    """

    def __init__(self, session: str) -> None:
        self._seed = session.encode()
        self._known = b""

    def speak(self, start: int, samples: int) -> bytes:
        """``samples`` from the sample ``start`` on, of both channels."""
        return self.until(start + samples)[start * FRAME_BYTES :]

    def until(self, end: int) -> bytes:
        """All samples before ``end``."""
        size = end * FRAME_BYTES
        if len(self._known) < size:
            self._known = hashlib.shake_128(self._seed).digest(max(size, 2 * len(self._known), 80_000))
        return self._known[:size]
