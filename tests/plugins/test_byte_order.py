"""Which byte order L16 has."""

import math
from array import array
from random import Random

import pytest

from audiohookd_plugins.byte_order import COMPARED, L16Audio, swapped


def tone(samples: int, amplitude: int = 8_000) -> bytes:
    return array("h", (round(amplitude * math.sin(at / 8)) for at in range(samples))).tobytes()


def noise(samples: int) -> bytes:
    return array("h", (Random(at).randrange(-8_000, 8_000) for at in range(samples))).tobytes()


def suspicions(swaps: bool, *frames: bytes) -> int:
    """How often the order of the frames is suspicious."""
    seen: list[None] = []
    audio = L16Audio(swaps, lambda: seen.append(None))
    for frame in frames:
        converted = audio.convert(frame)
        assert converted == (swapped(frame) if swaps else frame)
    return len(seen)


FRAMES = [tone(COMPARED)[at : at + 3_200] for at in range(0, 2 * COMPARED, 3_200)]


@pytest.mark.parametrize("swaps", [False, True])
def test_sound_in_the_right_order_is_not_suspicious(swaps: bool) -> None:
    assert suspicions(swaps, *(swapped(frame) if swaps else frame for frame in FRAMES)) == 0


@pytest.mark.parametrize("swaps", [False, True])
def test_sound_in_the_wrong_order_is_suspicious_once(swaps: bool) -> None:
    assert suspicions(swaps, *(frame if swaps else swapped(frame) for frame in FRAMES * 3)) == 1


def test_noise_is_not_suspicious() -> None:
    assert suspicions(False, noise(COMPARED)) == 0


def test_silence_decides_nothing() -> None:
    assert suspicions(False, bytes(4 * COMPARED), array("h", [20, -20] * COMPARED).tobytes()) == 0
    assert suspicions(False, bytes(4 * COMPARED), *map(swapped, FRAMES)) == 1


def test_an_empty_frame_decides_nothing() -> None:
    assert suspicions(False, b"") == 0
