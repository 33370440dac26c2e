"""Audio in what was read from a socket: WebSocket frames (RFC 6455, 5.2) of the one kind that nearly all are (pure).

Autobahn takes about 25 µs for a message. So whole binary messages are cut out here, and all else is left to it:
texts, control frames, fragments, large frames, and whatever is wrong.
"""

from functools import lru_cache

#: The first byte of a frame with all of a binary message, without extensions.
BINARY = 0x82
#: In the second byte: there is a mask. The rest of it is the length, or says how many bytes have it.
MASKED = 0x80
SHORT = 126
LONG = 127


def cut(data: bytes) -> tuple[list[bytes], int]:
    """The messages that ``data`` begins with, unmasked, and the place in it where the rest begins.

    Only those in whole, masked, binary frames of up to 65,535 bytes with a length as short as it can be.
    """
    messages = []
    at, end = 0, len(data)
    while end - at >= 6 and data[at] == BINARY:
        size, start = data[at + 1] - MASKED, at + 6
        if size == SHORT:
            size, start = data[at + 2] << 8 | data[at + 3], at + 8
            if size < SHORT:
                break
        elif not 0 <= size < SHORT:
            break
        if start + size > end:
            break
        messages.append(_unmasked(data[start : start + size], data[start - 4 : start]))
        at = start + size
    return messages, at


def may_become_whole(rest: bytes) -> bool:
    """Whether ``rest``, of which :func:`cut` took nothing, is the beginning of something that it takes."""
    if not rest or rest[0] != BINARY:
        return False
    if len(rest) == 1:
        return True
    size = rest[1] - MASKED
    if size == SHORT:
        return len(rest) < 4 or (rest[2] << 8 | rest[3]) >= SHORT
    return 0 <= size < SHORT


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Of what pure Python can do, long integers are the fastest."""
    size = len(payload)
    words = (size + 3) // 4
    key = int.from_bytes(mask, "little") * _ones(words)
    return (int.from_bytes(payload, "little") ^ key).to_bytes(4 * words, "little")[:size]


@lru_cache(maxsize=64)
def _ones(times: int) -> int:
    """With what a number of 32 bits is to be multiplied so that it stands there so many times."""
    return int.from_bytes(b"\1\0\0\0" * times, "little")
