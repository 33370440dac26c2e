"""Decodes JSON that RFC 8259 allows but msgspec rejects, and formats JSON as one line.

It replaces values that cannot be represented: half of a surrogate pair by U+FFFD, a number out of the range of a
double by its text. It ignores a byte order mark (section 8.1). Nesting is limited (section 9): by msgspec to some
hundreds of levels, in a line to :data:`MAX_DEPTH`.

All replacements are a few calls of :mod:`re`, because a client may send 64 KiB of such tokens fifty times a second.
"""

import math
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

_T = TypeVar("_T")
Replace = Callable[[bytes], bytes]

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: The most levels of arrays and objects in a line. The sidecar adds three; jq 1.6 reads 256.
MAX_DEPTH: Final = 200

#: The longest text, in bytes, in which numbers are replaced. A longer one would block the reactor for milliseconds.
MAX_NUMBERS: Final = 16_384

#: The exceptions of msgspec for invalid text.
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# No group is repeated possessively: Python 3.11.2 of Debian 12 then continues inside an alternative that has failed.
_STRING = rb'"(?:[^"\\]++|\\.)*"'
_surrogate = re.compile(rb"\\u[dD][89a-fA-F]")
#: An unpaired surrogate: a high one without a low one after it, or vice versa. Not for text with ``\\\\``.
_half = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
#: An octet that is invalid in UTF-8.
_NO_UTF8: Final = b"\xff"
_LARGE = rb"-?[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]++|-?[0-9]{309,}+(?:\.[0-9]++)?(?:[eE]-[0-9]++)?"
#: The text before a number that may be too large, and that number, if there is one.
_before_large = re.compile(
    rb"((?:" + _STRING + rb'|[^"0-9.eE+-]++|(?!' + _LARGE + rb")[0-9.eE+-]++)*)(" + _LARGE + rb")?", re.DOTALL
)
#: The integers of the protocol, written with a decimal point as some clients do.
_integer = re.compile(
    rb'("(?:seq|serverseq|clientseq|code|rate)"[ \t\r\n]*+:[ \t\r\n]*+[0-9]{1,16}+)\.0++(?![0-9eE])'
)
#: Maps brackets to the change of depth, as a signed octet.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - {*b"[{]}"})


def decode(decoder: "msgspec.json.Decoder[_T]", data: bytes | Raw) -> _T:
    """Decodes JSON, after replacing values that msgspec rejects.

    :raises ValueError: ``data`` is not JSON, or does not match the type of the decoder.
    """
    text, tried = data, set[Replace]()
    while True:
        try:
            return decoder.decode(text)
        except _FAULTS as fault:
            reason = str(fault)  # not the exception: its traceback would form a cycle with this frame
        fitting = (replace for word, replace in _REPLACEMENTS.items() if word in reason)
        replace = next((replace for replace in fitting if replace not in tried), None)
        if replace is None:
            raise ValueError(reason)
        tried.add(replace)
        text = replace(bytes(text))


def one_line(data: bytes) -> bytes:
    """Formats JSON as one line that can be embedded in another JSON text.

    :raises ValueError: ``data`` is not JSON in UTF-8, is nested deeper than :data:`MAX_DEPTH`, or has a number out of
        range and is longer than :data:`MAX_NUMBERS` bytes.
    """
    try:
        line = _formatted(data)
    except _FAULTS:
        try:
            text = _without_halves(data)
            line = _formatted(_without_large_numbers(text))
        except _FAULTS as fault:
            raise ValueError(str(fault)) from fault
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return line


def _formatted(data: bytes) -> bytes:
    data.decode()
    ANYTHING.decode(data)  # format() takes numbers of any size
    return msgspec.json.format(data, indent=-1)


def _without_halves(data: bytes) -> bytes:
    """Removes the byte order mark and replaces unpaired surrogates."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    if not _surrogate.search(data) or _NO_UTF8 in data:
        return data
    # Without escaped backslashes, each backslash begins an escape, and one pattern finds all unpaired surrogates.
    text = data.replace(rb"\\", _NO_UTF8 * 2)
    return _half.sub(rb"\\ufffd", text).replace(_NO_UTF8 * 2, rb"\\")


def _with_whole_numbers(data: bytes) -> bytes:
    """Replaces 12.0 by 12 for the integers of the protocol."""
    return _integer.sub(rb"\1", data)


def _without_large_numbers(data: bytes) -> bytes:
    """Replaces numbers out of the range of a double by their text, in up to :data:`MAX_NUMBERS` bytes."""
    if len(data) > MAX_NUMBERS:
        return data
    pieces = _pieces(_before_large, data)
    return b"".join(text + (b'"%b"' % number if _is_out_of_range(number) else number) for text, number in pieces)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


#: Decodes any JSON. msgspec itself needs 16 µs for a number such as 7.1e300, and 0.13 s for 64 KiB of them.
ANYTHING: Final = msgspec.json.Decoder(float_hook=_finite)


def _is_out_of_range(number: bytes) -> bool:
    return bool(number) and abs(float(number)) == float("inf")


def _pieces(pattern: re.Pattern[bytes], data: bytes) -> list[tuple[bytes, bytes]]:
    """The two groups of each match of ``pattern``; ``data`` as one piece if it does not match, as it is not JSON."""
    pieces, end = [], 0
    for match in pattern.finditer(data):
        if match.end() == end < len(data):
            return [(data, b"")]
        pieces.append((match[1], match[2] or b""))
        end = match.end()
    return pieces


def _depth(data: bytes) -> int:
    """The depth of nesting of valid JSON."""
    text = data.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(text.split(b'"')[::2])
    steps = memoryview(outside_strings.translate(_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps))


#: The replacement to try, by a word in msgspec's error. Other errors are final, because a client may send 64 KiB of
#: invalid text again and again.
_REPLACEMENTS: Final[dict[str, Replace]] = {
    "(byte 0)": _without_halves,  # a byte order mark
    "escape": _without_halves,
    "surrogate": _without_halves,
    "truncated": _without_halves,
    "got `float`": _with_whole_numbers,
    "out of range": _without_large_numbers,
}
