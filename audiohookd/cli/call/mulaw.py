"""Encodes audio as µ-law (ITU-T G.711)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BIAS = 33  # of 14 bits: makes the segment bounds powers of two
_CLIP = 8191


def encode(samples: "NDArray[np.int16]") -> "NDArray[np.uint8]":
    """Encodes linear 16-bit samples as µ-law, one byte per sample. Keeps the shape of the array.

    Returns the same bytes as libsndfile: magnitudes are truncated to 14 bits, and zero is 0xFF.
    """
    return _TABLE[samples.view(np.uint16)]


def _codes(samples: "NDArray[np.int16]") -> "NDArray[np.uint8]":
    linear = samples.astype(np.int32)
    magnitude = np.minimum((np.abs(linear) >> 2) + _BIAS, _CLIP)
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    mantissa = (magnitude >> (segment + 1)) & 0x0F
    sign = np.where(linear < 0, 0x80, 0)
    codes: NDArray[Any] = ~(sign | (segment << 4) | mantissa) & 0xFF
    return codes.astype(np.uint8)


_TABLE = _codes(np.arange(65536, dtype=np.uint16).view(np.int16))
_TABLE.setflags(write=False)
