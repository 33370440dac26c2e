"""The frames of a client's WebSocket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.websocket import BINARY, TEXT, MalformedFrame, ServerFrames, frame, xor

server_frames = st.tuples(st.just(TEXT), st.binary(max_size=400)) | st.tuples(
    st.sampled_from([8, 9]), st.binary(max_size=125)
)
masks = st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=70_000)


def unmasked(data: bytes) -> tuple[int, bytes]:
    """Opcode and payload of a client's frame, read byte by byte as in RFC 6455, section 5.2."""
    assert data[0] & 0xF0 == 0x80
    assert data[1] & 0x80
    length, start = data[1] & 0x7F, 2
    if length == 126:
        length, start = int.from_bytes(data[2:4]), 4
        assert length >= 126, "not the shortest form"
    elif length == 127:
        length, start = int.from_bytes(data[2:10]), 10
        assert length >= 65_536, "not the shortest form"
    mask, masked = data[start : start + 4], data[start + 4 :]
    assert len(masked) == length
    return data[0] & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


def of_server(opcode: int, payload: bytes) -> bytes:
    """Builds a frame of a server."""
    length = len(payload)
    return bytes([0x80 | opcode]) + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2)) + payload


@given(payloads, masks)
def test_a_server_reads_the_frames_of_a_client(payload: bytes, mask: bytes) -> None:
    assert unmasked(frame(BINARY, payload, mask)) == (BINARY, payload)


@pytest.mark.parametrize("length", [0, 125, 126, 3200, 65_535, 65_536])
def test_frames_of_boundary_lengths_are_readable(length: int) -> None:
    payload = bytes(range(256)) * 257
    assert unmasked(frame(TEXT, payload[:length], b"\1\2\3\4")) == (TEXT, payload[:length])


@given(st.binary(max_size=500), masks)
def test_masking_twice_returns_the_payload(payload: bytes, mask: bytes) -> None:
    assert xor(xor(payload, mask), mask) == payload


@given(
    st.lists(
        server_frames,
        max_size=6,
    ),
    st.data(),
)
def test_frames_are_parsed_wherever_the_stream_is_split(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(of_server(opcode, payload) for opcode, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = ServerFrames()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [found for piece in pieces for found in reader.feed(piece)] == frames


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x81aaaax",  # masked
        b"\xc1\x01x",  # compressed
        b"\x81\x7f\x00\x00\x00\x00\x7f\xff\xff\xff",  # 2 GiB
        b"\x83\x00",  # unknown opcode
        b"\x09\x00",  # a ping in fragments
        b"\x89\x7e\x00\x7e" + bytes(126),  # a long ping
        b"\x80\x01x",  # a continuation of nothing
        b"\x01\x01x\x81\x01x",  # a message within a message
        b"\x01\x7f\x00\x00\x00\x00\x00\x10\x00\x00" + bytes(1 << 20) + b"\x80\x01x",  # above 1 MiB
    ],
)
def test_illegal_frames_are_rejected(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        list(ServerFrames().feed(data))
