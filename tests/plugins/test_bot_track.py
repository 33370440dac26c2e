"""The second channel of a bot's recording."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol.media import Format
from audiohookd_plugins.bot_track import BotTrack, interleaved


def test_speech_is_at_its_position_between_silence() -> None:
    track = BotTrack(Format.PCMU, 100)
    track.add(110, b"abcde")
    assert track.take(12) == b"\xff" * 10 + b"ab"
    assert track.take(5) == b"cde" + b"\xff" * 2


def test_speech_that_comes_late_begins_at_once_and_speech_that_overlaps_follows() -> None:
    track = BotTrack(Format.PCMU, 100)
    track.add(90, b"abc")
    track.add(101, b"def")
    assert track.take(8) == b"abcdef\xff\xff"


def test_speech_after_an_interruption_is_silence() -> None:
    track = BotTrack(Format.PCMU, 0)
    track.add(2, b"abcdef")
    track.cut(4)
    assert track.take(8) == b"\xff\xffab" + b"\xff" * 4
    track.add(8, b"gone")
    track.cut(3)
    assert track.take(4) == b"\xff" * 4


def test_samples_of_two_bytes_are_not_split() -> None:
    track = BotTrack(Format.L16, 0)
    track.add(1, b"aabbcc")
    track.cut(3)
    assert track.take(4) == b"\0\0aabb\0\0"
    assert interleaved(Format.L16, b"xxyy", b"1122") == b"xx11yy22"


def test_channels_are_interleaved_by_sample() -> None:
    assert interleaved(Format.PCMU, b"abc", b"123") == b"a1b2c3"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20), st.integers(0, 40)), max_size=30))
def test_the_track_has_as_many_samples_as_the_call(steps: list[tuple[int, int, int]]) -> None:
    """Each step: how far ahead speech begins, its samples, and the samples that are recorded then."""
    track, position = BotTrack(Format.PCMU, 0), 0
    said = heard = 0
    for ahead, size, samples in steps:
        track.add(position + ahead, b"x" * size)
        said += size
        taken = track.take(samples)
        assert len(taken) == samples
        heard += taken.count(b"x")
        position += samples
    assert heard + track.take(10_000).count(b"x") == said
