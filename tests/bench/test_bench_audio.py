import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.audio import VARIANTS, Talk
from bench.generator.wire import xor

VOICE = bytes(place * 7 % 251 for place in range(VARIANTS * 3200))


@pytest.mark.parametrize(("milliseconds", "size", "frame"), [(200, 3200, 3208), (20, 320, 328)])
def test_a_frame_is_stereo_mulaw_in_one_masked_frame(milliseconds: int, size: int, frame: int) -> None:
    talk = Talk(VOICE, milliseconds)
    assert talk.samples * 2 == size
    assert {len(one) for one in talk.frames} == {frame}
    assert len(set(talk.frames)) == VARIANTS
    assert len({one[4:8] for one in talk.frames}) == VARIANTS


@given(st.integers(0, 40), st.integers(0, 60))
def test_what_was_said_is_what_the_frames_hold(first: int, count: int) -> None:
    talk = Talk(VOICE, 20)
    sent = (talk.frames[(first + number) % VARIANTS] for number in range(count))
    assert talk.said(first, count) == b"".join(xor(frame[8:], frame[4:8]) for frame in sent)


def test_two_calls_say_the_same_with_the_same_masks() -> None:
    assert Talk(VOICE, 200).frames == Talk(VOICE, 200).frames


def test_too_little_voice() -> None:
    with pytest.raises(ValueError, match="320 are needed"):
        Talk(VOICE[:5000], 20)
