"""The audio of the calls: a part of a real call in a loop, so that every sample is known (pure)."""

import random

from audiohookd.cli.websocket import BINARY, frame

#: Samples per second and channel.
RATE = 8000
#: External and internal, in PCMU: one byte a sample.
CHANNELS = 2
#: The number of different frames. Each has its own mask, and the calls begin with different frames.
VARIANTS = 16


class Talk:
    """Stereo PCMU audio in frames of ``milliseconds``.

    :param voice: interleaved PCMU of two channels, long enough for all variants.
    :raises ValueError: ``voice`` is too short.
    """

    def __init__(self, voice: bytes, milliseconds: int) -> None:
        #: Samples per channel in a frame.
        self.samples = RATE * milliseconds // 1000
        size = self.samples * CHANNELS
        if len(voice) < VARIANTS * size:
            raise ValueError(f"voice has {len(voice)} bytes; {VARIANTS} frames of {size} are needed")
        self._loop = voice[: VARIANTS * size]
        self._size = size
        chance = random.Random(size)  # noqa: S311 - masks, which hide nothing here
        #: Masked WebSocket frames.
        self.frames = tuple(
            frame(BINARY, self._loop[start : start + size], chance.randbytes(4))
            for start in range(0, len(self._loop), size)
        )

    def audio_of(self, first: int, frames: int) -> bytes:
        """The audio of a call that sent ``frames`` frames, beginning with the variant ``first``."""
        start, size = first % VARIANTS * self._size, frames * self._size
        rounds = (start + size) // len(self._loop) + 1
        return (self._loop * rounds)[start : start + size]
