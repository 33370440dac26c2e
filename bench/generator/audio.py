"""What the calls say: one stretch of a real call, round and round, so that it is known of each sample (pure)."""

import random

from bench.generator.wire import BINARY, client_frame

#: Samples per second and channel.
RATE = 8000
#: External and internal, in PCMU: one byte a sample.
CHANNELS = 2
#: So many different frames there are, each with a mask of its own. The calls begin at different ones.
VARIANTS = 16


class Talk:
    """Stereo PCMU in frames of ``milliseconds``.

    :param voice: interleaved PCMU of two channels, long enough for all variants.
    """

    def __init__(self, voice: bytes, milliseconds: int) -> None:
        #: Per channel, in a frame.
        self.samples = RATE * milliseconds // 1000
        size = self.samples * CHANNELS
        if len(voice) < VARIANTS * size:
            raise ValueError(f"{len(voice)} bytes of voice, and {VARIANTS} frames of {size} are needed")
        self._loop = voice[: VARIANTS * size]
        self._size = size
        chance = random.Random(size)  # noqa: S311 - masks, which hide nothing here
        #: As they go over the wire.
        self.frames = tuple(
            client_frame(BINARY, self._loop[start : start + size], chance.randbytes(4))
            for start in range(0, len(self._loop), size)
        )

    def said(self, first: int, frames: int) -> bytes:
        """The audio of a call that sent so many ``frames``, beginning with the variant ``first``."""
        start, size = first % VARIANTS * self._size, frames * self._size
        rounds = (start + size) // len(self._loop) + 1
        return (self._loop * rounds)[start : start + size]
