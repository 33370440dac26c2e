import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.wire import BINARY, TEXT, ServerFrames, client_frame, xor

masks = st.binary(min_size=4, max_size=4)
payloads = st.binary(max_size=70_000).filter(lambda payload: len(payload) < 65_536)


def unmasked(frame: bytes) -> tuple[int, bytes]:
    """Opcode and payload of a client's frame, read byte by byte as in RFC 6455, section 5.2."""
    assert frame[0] & 0xF0 == 0x80
    assert frame[1] & 0x80
    length, start = frame[1] & 0x7F, 2
    assert length < 127
    if length == 126:
        length, start = frame[2] << 8 | frame[3], 4
        assert length >= 126, "not the shortest form"
    mask, masked = frame[start : start + 4], frame[start + 4 :]
    assert len(masked) == length
    return frame[0] & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


def of_server(opcode: int, payload: bytes) -> bytes:
    """Builds a frame of a server."""
    length = len(payload)
    return bytes([0x80 | opcode]) + (bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2)) + payload


@given(payloads, masks)
def test_a_server_reads_the_frames_of_a_client(payload: bytes, mask: bytes) -> None:
    assert unmasked(client_frame(BINARY, payload, mask)) == (BINARY, payload)


@pytest.mark.parametrize("length", [0, 125, 126, 3200, 65_535])
def test_frames_of_boundary_lengths_are_readable(length: int) -> None:
    payload = bytes(range(256)) * 256
    assert unmasked(client_frame(TEXT, payload[:length], b"\1\2\3\4")) == (TEXT, payload[:length])


@given(st.binary(max_size=500), masks)
def test_masking_twice_returns_the_payload(payload: bytes, mask: bytes) -> None:
    assert xor(xor(payload, mask), mask) == payload


@given(st.lists(st.tuples(st.sampled_from([1, 8, 9]), st.binary(max_size=400)), max_size=6), st.data())
def test_frames_are_parsed_wherever_the_stream_is_split(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(of_server(opcode, payload) for opcode, payload in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = ServerFrames()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == frames


@pytest.mark.parametrize("frame", [b"\x01\x00", b"\x81\x80\0\0\0\0", b"\x81\x7f" + bytes(8)], ids=str)
def test_a_frame_that_no_response_has_is_rejected(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"a (message|frame)"):
        list(ServerFrames().feed(frame))
