"""WebSocket frames (RFC 6455, 5.2) of the kinds that nearly all are: whole messages, audio above all (pure).

Autobahn takes about 25 µs for a message, and as much to send one. So whole messages are cut out of what was read
here, and texts are framed. All else is left to it: control frames, fragments, large frames, and whatever is wrong.
"""

from collections.abc import Callable

try:
    from audiohookd.websocket.fastpath import _frames
except ImportError:  # there was no compiler
    _frames = None  # type: ignore[assignment]

#: The first byte of a frame with all of a message, without extensions.
TEXT = 0x81
BINARY = 0x82
PONG = 0x8A
#: In the second byte: there is a mask. The rest of it is the length, or says how many bytes have it.
MASKED = 0x80
SHORT = 126
LONG = 127
#: Bytes of the mask.
MASK = 4
#: Messages cut out at a time. One read holds 12 frames of 20 ms, or 680 empty ones, which take 5 ms.
CUT_LIMIT = 16


def parse_binary_messages_in_python(data: bytes) -> tuple[list[bytes], int]:
    """The messages that ``data`` begins with, unmasked, and the place in it where the rest begins.

    Only those in whole, masked, binary frames of up to 65,535 bytes with a length as short as it can be, and at most
    :data:`CUT_LIMIT`.
    """
    messages: list[bytes] = []
    at, end = 0, len(data)
    while len(messages) < CUT_LIMIT and end - at >= 2 + MASK and data[at] == BINARY:
        size, start = data[at + 1] - MASKED, at + 2 + MASK
        if size == SHORT:
            size, start = data[at + 2] << 8 | data[at + 3], start + 2
            if size < SHORT:
                break
        elif not 0 <= size < SHORT:
            break
        if start + size > end:
            break
        messages.append(_unmasked(data[start : start + size], data[start - MASK : start]))
        at = start + size
    return messages, at


#: The same, compiled if it can be: 1.5 µs for a frame of 200 ms instead of 9.9 µs.
parse_binary_messages: Callable[[bytes], tuple[list[bytes], int]] = getattr(
    _frames, "parse_binary_messages", parse_binary_messages_in_python
)


def is_partial_fast_frame(rest: bytes) -> bool:
    """Whether ``rest``, which :func:`parse_binary_messages` did not take, may begin a frame that it takes later."""
    if not rest or rest[0] != BINARY:
        return False
    if len(rest) == 1:
        return True
    size = rest[1] - MASKED
    if size == SHORT:
        return len(rest) < 4 or (rest[2] << 8 | rest[3]) >= SHORT
    return 0 <= size < SHORT


def parse_text_message_in_python(frame: bytes) -> bytes | None:
    """The text message of ``frame``, if it is a whole, masked, unfragmented text frame in UTF-8; else None."""
    if not frame or frame[0] != TEXT:
        return None
    messages, end = parse_binary_messages_in_python(bytes((BINARY,)) + frame[1:])
    return messages[0] if len(messages) == 1 and end == len(frame) and _is_utf8(messages[0]) else None


#: The same, compiled if it can be.
parse_text_message: Callable[[bytes], bytes | None] = getattr(
    _frames, "parse_text_message", parse_text_message_in_python
)


def encode_pong(payload: bytes) -> bytes:
    """A frame of the server's that answers a ping with this payload, of 125 bytes at most."""
    return bytes((PONG, len(payload))) + payload


def encode_text_frame(text: bytes) -> bytes:
    """A frame of the server's with all of a text."""
    size = len(text)
    if size < SHORT:
        return bytes((TEXT, size)) + text
    if size < 1 << 16:
        return bytes((TEXT, SHORT)) + size.to_bytes(2) + text
    return bytes((TEXT, LONG)) + size.to_bytes(8) + text


def first_frame_length(data: bytes) -> int:
    """The bytes of the frame that ``data`` begins with, whatever it is; all of them when it is not whole."""
    if len(data) < 2:
        return len(data)
    size, length = data[1] & ~MASKED, _length_bytes(data)
    if length:
        size = int.from_bytes(data[2 : 2 + length])
    return min(len(data), header_length(data) + size)


def header_length(data: bytes) -> int:
    """The bytes of the head of the frame that ``data`` begins with; 2 when ``data`` is shorter than that."""
    if len(data) < 2:
        return 2
    return 2 + _length_bytes(data) + (MASK if data[1] & MASKED else 0)


def _length_bytes(data: bytes) -> int:
    """Bytes of the extended payload length."""
    return {SHORT: 2, LONG: 8}.get(data[1] & ~MASKED, 0)


def is_control(first: int) -> bool:
    """Whether a frame with this first byte is a control frame: close, ping, pong."""
    return bool(first & 0x08)


def is_fragment(first: int) -> bool:
    """Whether a data frame with this first byte is a part of a message: a continuation, or not final."""
    return first & 0x8F not in (TEXT, BINARY)


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Of what pure Python can do, long integers are the fastest."""
    size = len(payload)
    words = (size + MASK - 1) // MASK
    key = int.from_bytes(mask * words, "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(MASK * words, "little")[:size]
