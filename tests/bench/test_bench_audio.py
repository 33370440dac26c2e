import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.websocket import xor
from bench.generator.audio import VARIANTS, Talk

VOICE = bytes(place * 7 % 251 for place in range(VARIANTS * 3200))


@pytest.mark.parametrize(("milliseconds", "size", "frame_size"), [(200, 3200, 3208), (20, 320, 328)])
def test_a_frame_is_stereo_mulaw_in_one_masked_frame(milliseconds: int, size: int, frame_size: int) -> None:
    talk = Talk(VOICE, milliseconds)
    assert talk.samples * 2 == size
    assert {len(frame) for frame in talk.frames} == {frame_size}
    assert len(set(talk.frames)) == VARIANTS
    assert len({frame[4:8] for frame in talk.frames}) == VARIANTS


@given(st.integers(0, 40), st.integers(0, 60))
def test_the_audio_of_a_call_is_the_audio_of_its_frames(first: int, count: int) -> None:
    talk = Talk(VOICE, 20)
    sent = (talk.frames[(first + number) % VARIANTS] for number in range(count))
    assert talk.audio_of(first, count) == b"".join(xor(frame[8:], frame[4:8]) for frame in sent)


def test_two_talks_have_the_same_frames_and_masks() -> None:
    assert Talk(VOICE, 200).frames == Talk(VOICE, 200).frames


def test_a_voice_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="16 frames of 320 are needed"):
        Talk(VOICE[:5000], 20)
