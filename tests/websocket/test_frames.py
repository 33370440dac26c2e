"""Frames that are cut out of what was read: only whole ones of audio, and as Autobahn reads them."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.websocket.fastpath import frames
from audiohookd.websocket.fastpath.frames import (
    CUT_LIMIT,
    TEXT,
    encode_frame,
    first_frame_length,
    is_partial_fast_frame,
    parse_binary_messages,
    parse_binary_messages_in_python,
    parse_text_message,
    parse_text_message_in_python,
)
from tests.programs import needs_compiler
from tests.websocket.websocket_rig import binary, frame, text, unframed

PAYLOADS = st.binary(max_size=300) | st.sampled_from([125, 126, 127, 3_200, 65_535]).map(lambda size: b"\xd5" * size)


@given(st.lists(PAYLOADS, max_size=5))
def test_whole_messages_are_cut_out(payloads: list[bytes]) -> None:
    data = b"".join(map(binary, payloads))
    assert parse_binary_messages(data) == (payloads, len(data))


@given(PAYLOADS, st.data())
def test_the_beginning_of_a_message_is_left_and_known_as_such(payload: bytes, data: st.DataObject) -> None:
    whole = binary(payload)
    begun = whole[: data.draw(st.integers(1, len(whole) - 1))]
    assert parse_binary_messages(binary(b"first") + begun) == ([b"first"], len(binary(b"first")))
    assert is_partial_fast_frame(begun)


@pytest.mark.parametrize(
    "other",
    [
        frame(1, b"text"),
        frame(2, b"a part", fin=False),
        frame(0, b"another"),
        frame(8),
        frame(9, b"ping"),
        frame(2, b"bare", masked=False),
        frame(2, b"-" * 200, masked=False),
        frame(2, b"-" * 65_536),
        b"\xc2" + binary(b"compressed")[1:],
        b"\x82\xfe\x00\x7d" + bytes(4 + 125),  # could be shorter
        b"\x82\xff" + bytes(8 + 4),
    ],
    ids=lambda other: str(other[:4]),
)
def test_all_else_is_left_to_autobahn(other: bytes) -> None:
    assert parse_binary_messages(binary(b"audio") + other) == ([b"audio"], len(binary(b"audio")))
    assert not is_partial_fast_frame(other)


@given(st.lists(st.binary(max_size=40) | PAYLOADS.map(binary), max_size=6).map(b"".join), st.data())
def test_it_does_not_matter_where_a_stream_is_torn(stream: bytes, data: st.DataObject) -> None:
    torn = data.draw(st.integers(0, len(stream)))
    first, at = parse_binary_messages(stream[:torn])
    rest = stream[at:torn]
    second, further = parse_binary_messages(rest + stream[torn:])
    assert (first + second, at + further) == parse_binary_messages(stream)
    assert not second or not rest or is_partial_fast_frame(rest)


def test_one_byte_tells_little() -> None:
    assert not is_partial_fast_frame(b"")
    assert is_partial_fast_frame(b"\x82")


@given(st.lists(st.binary(max_size=40) | PAYLOADS.map(binary), max_size=6).map(b"".join))
def test_compiled_or_not_is_the_same(stream: bytes) -> None:
    assert parse_binary_messages(stream) == parse_binary_messages_in_python(stream)


@pytest.mark.parametrize("size", range(140))
def test_masks_are_taken_off_to_the_last_byte(size: int) -> None:
    payload = bytes(range(size))
    assert (
        parse_binary_messages(binary(payload))
        == parse_binary_messages_in_python(binary(payload))
        == ([payload], len(binary(payload)))
    )


@needs_compiler
def test_the_compiled_parser_is_used_if_there_is_a_compiler() -> None:
    assert frames.parse_binary_messages is not parse_binary_messages_in_python
    assert frames.parse_text_message is not parse_text_message_in_python


@needs_compiler
@pytest.mark.parametrize("data", ["text", None, bytearray(b"\x82\x80" + bytes(4))], ids=str)
def test_the_compiled_parser_takes_only_bytes(data: Any) -> None:
    with pytest.raises(TypeError):
        parse_binary_messages(data)


@given(st.integers(0, 15), PAYLOADS, st.booleans(), st.booleans(), st.binary(max_size=20))
def test_any_frame_is_told_from_what_follows(
    opcode: int, payload: bytes, fin: bool, masked: bool, more: bytes
) -> None:
    whole = frame(opcode, payload, fin=fin, masked=masked)
    assert first_frame_length(whole + more) == len(whole)
    assert first_frame_length(whole[:-1]) == len(whole) - 1


TOLD = pytest.mark.parametrize(
    "told", [parse_text_message, parse_text_message_in_python], ids=["as-installed", "in-python"]
)


@TOLD
@given(st.text().map(str.encode), PAYLOADS)
def test_texts_are_known(told: Callable[[bytes], bytes | None], words: bytes, audio: bytes) -> None:
    assert told(text(words)) == words
    assert told(binary(audio)) is None
    assert told(text(words)[:-1]) is None
    assert told(text(words) + b"\x81") is None


@TOLD
@pytest.mark.parametrize(
    "other",
    [text(b"\xff"), text(b"\xed\xa0\x80"), frame(1, b"part", fin=False), frame(1, b"bare", masked=False), b""],
)
def test_a_frame_that_may_be_no_text_is_left_to_autobahn(told: Callable[[bytes], bytes | None], other: bytes) -> None:
    assert told(other) is None


@given(st.binary(max_size=40) | st.binary(max_size=300).map(text), st.integers(0, 9))
def test_texts_are_the_same_compiled_or_not(frame: bytes, cut_off: int) -> None:
    torn = frame[: len(frame) - cut_off]
    assert parse_text_message(torn) == parse_text_message_in_python(torn)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_texts_are_framed_as_a_server_does(size: int) -> None:
    words = b"." * size
    assert unframed(encode_frame(TEXT, words)) == [(1, words)]


def test_so_many_messages_are_cut_out_at_a_time() -> None:
    data = binary(b"") * (CUT_LIMIT + 1)
    assert (
        parse_binary_messages(data)
        == parse_binary_messages_in_python(data)
        == ([b""] * CUT_LIMIT, len(data) - len(binary(b"")))
    )
