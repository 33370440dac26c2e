"""Audio to the client: chunks, pace, and what is dropped."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.sending.play_out import LEAD, MAX_CHUNK, MAX_WAITING, MIN_CHUNK, REST_AFTER, PlayOut
from audiohookd.protocol.sending.rates import MICROSECONDS, Budget

MONO = Media(Format.PCMU, ("external",))
#: Bytes of a millisecond.
MS = 8
SECOND = 1_000 * MS


def playing(media: Media = MONO) -> PlayOut:
    play_out = PlayOut(Budget(5.0, 25, 0))
    play_out.start(media)
    return play_out


def at(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def sizes(play_out: PlayOut, seconds: float) -> list[int]:
    """Bytes of the chunks that are sent at this time."""
    return [len(chunk.data) for chunk in play_out.take(at(seconds))]


def test_speech_begins_with_the_first_chunk() -> None:
    play_out = playing()
    for number in range(1, 21):  # a synthesizer in steps of 20 ms
        play_out.add(bytes(20 * MS), False, at(number * 0.02))
        assert sizes(play_out, number * 0.02) == ([400 * MS] if number == 20 else [])


def test_the_end_of_speech_is_sent_without_a_full_chunk() -> None:
    play_out = playing()
    play_out.add(bytes(100 * MS), False, at(1))
    assert play_out.next() == at(1 + REST_AFTER)
    assert sizes(play_out, 1 + REST_AFTER) == [100 * MS]
    play_out.add(bytes(100 * MS), True, at(2))
    assert sizes(play_out, 2) == [100 * MS]


def test_a_long_prompt_is_sent_as_it_is_played() -> None:
    play_out = playing()
    play_out.add(bytes(10 * SECOND), True, 0)
    sent = []
    while (due := play_out.next()) is not None:
        chunks = play_out.take(due)
        sent += [(due / MICROSECONDS, chunk.plays_at / MICROSECONDS, len(chunk.data) / SECOND) for chunk in chunks]
    assert sent[0] == (0, 0, MAX_CHUNK)
    assert [plays_at for _, plays_at, _ in sent] == [float(second) for second in range(10)]
    assert all(plays_at - LEAD <= at <= plays_at for at, plays_at, _ in sent)


def test_a_rest_below_the_smallest_chunk_is_sent_with_the_chunk_before() -> None:
    play_out = playing()
    play_out.add(bytes(int(1.3 * SECOND)), False, 0)
    assert sizes(play_out, 0) == [int(1.3 * SECOND)]


def test_barge_in_drops_what_waits_and_the_next_speech_begins_at_once() -> None:
    play_out = playing()
    play_out.add(bytes(30 * SECOND), True, 0)
    play_out.take(0)
    play_out.clear(at(0.5))
    assert play_out.next() is None
    play_out.add(bytes(SECOND), True, at(0.6))
    (chunk,) = play_out.take(at(0.6))
    assert chunk.plays_at == at(0.6)


def test_too_much_audio_is_not_taken() -> None:
    play_out = playing()
    assert play_out.add(bytes(MAX_WAITING), False, 0)
    assert not play_out.add(b"\xff", False, 0)
    assert play_out.waiting == MAX_WAITING


def test_an_error_429_holds_audio_back() -> None:
    budget = Budget(5.0, 25, 0)
    play_out = PlayOut(budget)
    play_out.start(MONO)
    budget.hold(at(3))
    play_out.add(bytes(SECOND), True, 0)
    assert play_out.next() == at(3)
    assert sizes(play_out, 3) == [SECOND]


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 2_000), st.booleans()), max_size=40),
    st.sampled_from([MONO, Media(Format.L16, ("external",))]),
)
def test_all_audio_is_sent_in_order_within_all_limits(steps: list[tuple[int, int, bool]], media: Media) -> None:
    """Each step: milliseconds of audio, milliseconds of time, and whether the speech ends."""
    play_out = playing(media)
    per_second = 8_000 * media.frame_bytes
    now, ends_at = 0, 0
    added, sent = bytearray(), bytearray()
    times: list[int] = []
    for number, (audio, time, is_last) in enumerate([*steps, (0, 240_000, True)]):
        data = bytes([number]) * (audio * per_second // 1_000)
        assert play_out.add(data, is_last, now)
        added += data
        end = now + time * 1_000
        while (due := play_out.next()) is not None and due <= end:
            now = max(now, due)
            for chunk in play_out.take(now):
                times.append(now)
                sent += chunk.data
                duration = len(chunk.data) / per_second
                assert duration >= MIN_CHUNK or not play_out.waiting
                assert duration <= MAX_CHUNK + MIN_CHUNK
                assert chunk.plays_at == max(now, ends_at)
                assert chunk.plays_at - now <= at(LEAD)
                ends_at = chunk.plays_at + round(duration * MICROSECONDS)
        now = end
    assert sent == added
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 25 + (times[last] - start) / MICROSECONDS * 5
