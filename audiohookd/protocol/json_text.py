"""JSON text as RFC 8259 allows it, where that is more than msgspec reads or one line of a file holds.

What cannot be kept as it came is replaced: half of a surrogate pair by U+FFFD, a number beyond the range of a double
by its text. A byte order mark is ignored (section 8.1). Nesting may be limited (section 9): msgspec ends at some
hundreds of levels, and a line of a file has :data:`MAX_DEPTH`.

All of this works on tokens, in few steps of :mod:`re`: a client may send 64 KiB of them fifty times a second.
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
#: Levels of arrays and objects in a line. The sidecar adds three, and jq 1.6 reads 256.
MAX_DEPTH: Final = 200

#: Bytes of a text in which numbers are replaced. A longer one takes milliseconds, which the reactor waits for.
MAX_NUMBERS: Final = 16_384

#: What msgspec raises for text that it cannot read.
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# No group is repeated possessively: Python 3.11.2 of Debian 12 then goes on inside an alternative that has failed.
_STRING = rb'"(?:[^"\\]++|\\.)*"'
_surrogate = re.compile(rb"\\u[dD][89a-fA-F]")
#: Half of a pair: a high surrogate before no low one, or a low one behind no high one. Not for text with ``\\\\``.
_half = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
#: An octet that no UTF-8 has.
_NO_UTF8: Final = b"\xff"
_LARGE = rb"-?[0-9]++(?:\.[0-9]++)?[eE]\+?[0-9]++|-?[0-9]{309,}+(?:\.[0-9]++)?(?:[eE]-[0-9]++)?"
#: All up to a number that may be too large, and that number, if there is one.
_before_large = re.compile(
    rb"((?:" + _STRING + rb'|[^"0-9.eE+-]++|(?!' + _LARGE + rb")[0-9.eE+-]++)*)(" + _LARGE + rb")?", re.DOTALL
)
#: The integers of the protocol, as some writers of JSON spell them.
_integer = re.compile(
    rb'("(?:seq|serverseq|clientseq|code|rate)"[ \t\r\n]*+:[ \t\r\n]*+[0-9]{1,16}+)\.0++(?![0-9eE])'
)
#: A bracket as what it adds to the depth, in one octet with a sign.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - {*b"[{]}"})


def decode(decoder: "msgspec.json.Decoder[_T]", data: bytes | Raw) -> _T:
    """JSON as what ``decoder`` makes of it.

    :raises ValueError: no JSON, or not what the decoder wants.
    """
    text, tried = data, set[Replace]()
    while True:
        try:
            return decoder.decode(text)
        except _FAULTS as fault:
            reason = str(fault)  # only that: a traceback in a variable keeps the frames of the call in a cycle
        fitting = (replace for word, replace in _REPLACEMENTS.items() if word in reason)
        replace = next((replace for replace in fitting if replace not in tried), None)
        if replace is None:
            raise ValueError(reason)
        tried.add(replace)
        text = replace(bytes(text))


def one_line(data: bytes) -> bytes:
    """JSON on one line, that can be part of another JSON text.

    :raises ValueError: no JSON in UTF-8, or more than can be re-encoded: nested deeper than :data:`MAX_DEPTH`, or a
        number out of range in more than :data:`MAX_NUMBERS`.
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
    """Without byte order mark and halves of surrogate pairs."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    if not _surrogate.search(data) or _NO_UTF8 in data:
        return data
    # Without escaped backslashes each backslash begins an escape, and one pattern finds halves wherever they are.
    text = data.replace(rb"\\", _NO_UTF8 * 2)
    return _half.sub(rb"\\ufffd", text).replace(_NO_UTF8 * 2, rb"\\")


def _with_whole_numbers(data: bytes) -> bytes:
    """With 12 in place of 12.0, for the integers of the protocol."""
    return _integer.sub(rb"\1", data)


def _without_large_numbers(data: bytes) -> bytes:
    """With the text of numbers that no double holds in place of them, in at most :data:`MAX_NUMBERS`."""
    if len(data) > MAX_NUMBERS:
        return data
    pieces = _pieces(_before_large, data)
    return b"".join(text + (b'"%b"' % number if _is_out_of_range(number) else number) for text, number in pieces)


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


#: Of any JSON. msgspec itself takes 16 µs for a number such as 7.1e300, and 64 KiB of them for 0.13 s.
ANYTHING: Final = msgspec.json.Decoder(float_hook=_finite)


def _is_out_of_range(number: bytes) -> bool:
    return bool(number) and abs(float(number)) == float("inf")


def _pieces(pattern: re.Pattern[bytes], data: bytes) -> list[tuple[bytes, bytes]]:
    """The two groups of ``pattern``, again and again; all in one piece where it does not match: that is no JSON."""
    pieces, end = [], 0
    for match in pattern.finditer(data):
        if match.end() == end < len(data):
            return [(data, b"")]
        pieces.append((match[1], match[2] or b""))
        end = match.end()
    return pieces


def _depth(data: bytes) -> int:
    """Levels of valid JSON."""
    text = data.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(text.split(b'"')[::2])
    steps = memoryview(outside_strings.translate(_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps))


#: What to replace, by a word of msgspec's reason to reject a text. Nothing else is tried: a client may send 64 KiB of
#: what is wrong for another reason, again and again.
_REPLACEMENTS: Final[dict[str, Replace]] = {
    "(byte 0)": _without_halves,  # a byte order mark
    "escape": _without_halves,
    "surrogate": _without_halves,
    "truncated": _without_halves,
    "got `float`": _with_whole_numbers,
    "out of range": _without_large_numbers,
}
