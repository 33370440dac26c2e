"""µ-law of ITU-T G.711."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BIAS = 33  # on the scale of 14 bits: makes the segments powers of two
_CLIP = 8191


def encode(samples: "NDArray[np.int16]") -> "NDArray[np.uint8]":
    """Linear samples of 16 bits as µ-law, one byte each; the shape stays.

    The same bytes as libsndfile: each magnitude is cut to 14 bits, zero is 0xFF.
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
