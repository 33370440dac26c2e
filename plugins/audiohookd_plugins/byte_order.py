"""The byte order of L16, which Genesys does not document (protocol section 8.3)."""

from array import array
from collections.abc import Callable
from itertools import pairwise

#: Samples that are compared: a second.
COMPARED = 8_000
#: Samples below this amplitude in both readings are silence, and say nothing.
QUIET = 64
#: The wrong order is nearly white noise: its steps are several times those of speech.
FACTOR = 3


class L16Audio:
    """Converts L16 to little-endian, as WAV files have it, and checks once whether its order is the configured one.

    :param swaps: the audio arrives big-endian.
    :param suspicious: called once if the first second of sound looks as if it had the other order.
    """

    def __init__(self, swaps: bool, suspicious: Callable[[], object]) -> None:
        self._swaps = swaps
        self._suspicious = suspicious
        self._sound: array[int] | None = array("h")  # until it was checked

    def convert(self, frame: bytes) -> bytes:
        """Returns the audio in little-endian."""
        converted = swapped(frame) if self._swaps else frame
        if self._sound is not None:
            self._check(self._sound, array("h", converted))
        return converted

    def _check(self, sound: "array[int]", samples: "array[int]") -> None:
        if max(max(samples, default=0), -min(samples, default=0)) < QUIET:
            return
        sound.extend(samples)
        if len(sound) >= COMPARED:
            self._sound = None
            if FACTOR * roughness(sound[:COMPARED], True) < roughness(sound[:COMPARED], False):
                self._suspicious()


def roughness(samples: "array[int]", is_swapped: bool) -> int:
    """The sum of the steps from sample to sample."""
    samples = array("h", samples)
    if is_swapped:
        samples.byteswap()
    return sum(abs(after - before) for before, after in pairwise(samples))


def swapped(data: bytes) -> bytes:
    """L16 in the other byte order."""
    samples = array("H", data)
    samples.byteswap()
    return samples.tobytes()
