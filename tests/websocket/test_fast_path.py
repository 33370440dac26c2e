"""Audio is cut out of the stream before Autobahn sees it: everything happens as if Autobahn had read it all."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.websocket.listened import Fast, Listened, Stock, torn
from tests.websocket.websocket_rig import OPEN, binary, frame, text

SIZES = st.integers(0, 300) | st.sampled_from([125, 126, 127, 3_200, 65_535, 65_536, 131_072, 131_073])
PAYLOADS = SIZES.map(lambda size: (b"\xd5\x55\x2a" * (size // 3 + 1))[:size])
FRAMES = st.one_of(
    PAYLOADS.map(binary),
    PAYLOADS.map(binary),
    st.sampled_from([binary(b"close"), binary(b"abort"), text(b"close"), text(OPEN), text(b"\xff")]),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans(), masked=st.booleans()),
    st.binary(max_size=12),
)
STREAMS = st.lists(FRAMES, max_size=8).map(b"".join)


@settings(deadline=None, max_examples=400)
@given(STREAMS, st.lists(st.integers(0, 500_000), max_size=12))
@example(binary(b"1") + binary(b"close") + binary(b"2") + frame(8) + binary(b"3"), [])
@example(binary(b"1") + binary(b"abort") + binary(b"2"), [])
@example(binary(b"abort") + text(b"2"), [])
@example(frame(2, b"1", fin=False) + frame(9) + frame(0, b"2") + binary(b"3"), [5, 11])
@example(b"\x82\xfe\x00\x05" + bytes(9), [1, 2, 3])
@example(text(b"\xff") + binary(b"after"), [])
def test_whatever_comes_and_wherever_it_is_torn(stream: bytes, places: list[int]) -> None:
    pieces = torn(stream, places)
    assert Listened(Fast).seen(pieces) == Listened(Stock).seen(pieces)


@pytest.mark.parametrize("size", [320, 1_600, 3_200])
@pytest.mark.parametrize(
    "between", [b"", frame(9, b"ping"), text(OPEN), frame(2, b"part", fin=False) + frame(0, b"end")], ids=len
)
@pytest.mark.parametrize("read", [7, 4_096])
def test_audio_never_bothers_autobahn_whatever_came_between(size: int, between: bytes, read: int) -> None:
    class Watched(Fast):
        def _dataReceived(self, data: bytes) -> None:
            assert self.state != self.STATE_OPEN or binary(b"\xd5" * size)[:9] not in self.data + data
            super()._dataReceived(data)

    audio = binary(b"\xd5" * size) * 20
    stream = audio + between + audio
    pieces = [stream[start : start + read] for start in range(0, len(stream), read)]
    _, calls, _, _ = Listened(Watched).seen(pieces)
    assert calls.count(("message", b"\xd5" * size, True)) == 40
