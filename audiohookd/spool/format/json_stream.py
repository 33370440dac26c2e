"""A pull parser that reads one JSON text block by block: a skipped value takes no memory, however large it is.

The caller takes the next value as a whole (:meth:`JsonStream.value`), skips it (:meth:`JsonStream.skip`), or enters
it (:meth:`JsonStream.members`, :meth:`JsonStream.elements`). msgspec and json can only read a whole text.

The text may be UTF-8, or UTF-16 with a byte order mark. In a skipped value the parser checks only strings and
brackets, so it may miss a syntax error there.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final

import msgspec

#: Bytes that are read at a time.
BLOCK: Final = 65_536
#: Bytes of the name of a member.
MAX_NAME: Final = 65_536

_TRUNCATED: Final = "the JSON text is truncated"
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: The characters of a number, ``true``, ``false`` or ``null``: all but these.
_scalar = re.compile(rb"[^][{},:\" \t\r\n]*+")
_space = re.compile(rb"[ \t\r\n]*+")
# No group is repeated possessively: Python 3.11.2 of Debian 12 has a bug there, and read such a file for ever.
#: The rest of a string, as far as the block has it.
_in_string = re.compile(rb'(?:[^"\\]++|\\.)*', re.DOTALL)
#: Whole strings, and the text between them.
_whole_strings = re.compile(rb'(?:[^"]++|"(?:[^"\\]++|\\.)*")*', re.DOTALL)
_string_or_bracket = re.compile(rb'"(?:[^"\\]++|\\.)*"|[][{}]', re.DOTALL)
_no_bracket = re.compile(rb'"(?:[^"\\]++|\\.)*"|[^][{}"]++', re.DOTALL)
#: Maps a bracket to the change of depth, +1 or -1, as a signed byte.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class NotJson(ValueError):
    """The text is not JSON, or not JSON of the expected shape."""


class TooLarge(ValueError):
    """A value has more bytes than the caller's limit."""


class JsonStream:
    """Parses the JSON text that ``read`` returns, with a few blocks of it in memory at a time.

    All methods raise :class:`NotJson`, and the exceptions of ``read``.

    :param read: called with a size; returns at most that many bytes of the text, and none at its end.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._block = b""
        self._at = 0  # the position in the block
        self._taken = 0  # values that were taken, skipped or entered
        self._start()

    def members(self) -> Iterator[str]:
        """Enters an object and yields the name of each member. A value that the caller does not take is skipped."""
        self._enter(b"{")
        if self._closes(b"}"):
            return
        while True:
            name = self._name()
            self._expect(b":")
            taken = self._taken
            yield name
            if self._taken == taken:
                self.skip()
            if self._closes(b"}"):
                return
            self._expect(b",")

    def elements(self) -> Iterator[None]:
        """Enters an array and yields once for each element. A value that the caller does not take is skipped."""
        self._enter(b"[")
        if self._closes(b"]"):
            return
        while True:
            taken = self._taken
            yield
            if self._taken == taken:
                self.skip()
            if self._closes(b"]"):
                return
            self._expect(b",")

    def value(self, limit: int) -> bytes:
        """The bytes of the next value. Its content is not checked.

        :raises TooLarge: the value has more than ``limit`` bytes.
        """
        pieces: list[bytes] = []
        size = 0
        for piece in self._pieces():
            size += len(piece)
            if size > limit:
                raise TooLarge(f"a value has more than {limit:,} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self) -> None:
        """Skips the next value."""
        for _ in self._pieces():
            pass

    def peek(self) -> bytes:
        """The next byte that is not white space; empty at the end of the text."""
        while True:
            found = _space.match(self._block, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._block):
                return self._block[self._at : self._at + 1]
            if not self._fill():
                return b""

    def leave(self) -> None:
        """Leaves an object after its last member, and checks that the text ends there."""
        self._expect(b"}")
        self.end()

    def end(self) -> None:
        """Checks that only white space follows.

        :raises NotJson: other text follows.
        """
        if self.peek():
            raise NotJson("unexpected data after the end of the JSON text")

    # ---- structure -------------------------------------------------------------------------------

    def _enter(self, bracket: bytes) -> None:
        self._taken += 1
        self._expect(bracket)

    def _closes(self, bracket: bytes) -> bool:
        if self.peek() != bracket:
            return False
        self._at += 1
        return True

    def _expect(self, wanted: bytes) -> None:
        found = self.peek()
        if not found:
            raise NotJson(_TRUNCATED)
        if found != wanted:
            raise NotJson(f"expected {wanted.decode()!r}, found {found.decode('ascii', 'replace')!r}")
        self._at += 1

    def _name(self) -> str:
        if self.peek() != b'"':
            self._expect(b'"')
        name: str = decode(self.value(MAX_NAME), str)
        return name

    # ---- values ----------------------------------------------------------------------------------

    def _pieces(self) -> Iterator[bytes]:
        """The bytes of the next value."""
        self._taken += 1
        first = self.peek()
        if first == b'"':
            yield from self._string()
        elif first in (b"{", b"["):
            yield from self._nested()
        else:
            yield from self._bare()

    def _bare(self) -> Iterator[bytes]:
        is_empty = True
        while self._at < len(self._block) or self._fill():
            piece = self._match(_scalar)
            if piece:
                is_empty = False
                yield piece
            if self._at < len(self._block):
                break
        if is_empty:
            raise NotJson("a value is missing")

    def _string(self) -> Iterator[bytes]:
        """The bytes of a string, which begins at this position."""
        self._at += 1
        yield b'"'
        while True:
            yield self._match(_in_string)
            rest = self._block[self._at :]
            if rest.startswith(b'"'):
                self._at += 1
                yield b'"'
                return
            # A backslash at the end of the block is matched with the next block.
            self._more(rest)

    def _nested(self) -> Iterator[bytes]:
        """The bytes of an object or array, up to the bracket that closes it."""
        depth = 0
        while True:
            found = _whole_strings.match(self._block, self._at)
            end = found.end() if found else self._at
            part = self._block[self._at : end]
            steps = memoryview(_no_bracket.sub(b"", part).translate(_STEPS)).cast("b")
            depths = list(accumulate(steps, initial=depth))[1:]
            if 0 in depths:
                size = _place(part, depths.index(0))
                self._at += size
                yield part[:size]
                return
            depth = depths[-1] if depths else depth
            self._at = end
            yield part
            if end < len(self._block):
                yield from self._string()
            else:
                self._more(b"")

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        found = pattern.match(self._block, self._at)
        start, self._at = self._at, found.end() if found else self._at
        return self._block[start : self._at]

    # ---- blocks ----------------------------------------------------------------------------------

    def _more(self, rest: bytes) -> None:
        """Appends the next block to ``rest``."""
        if not self._fill():
            raise NotJson(_TRUNCATED)
        self._block = rest + self._block

    def _fill(self) -> bool:
        """Replaces the block by the next one. False at the end of the text."""
        self._block, self._at = self._read(BLOCK), 0
        return bool(self._block)

    def _start(self) -> None:
        start = b""
        while len(start) < len(codecs.BOM_UTF8) and (more := self._read(BLOCK)):
            start += more
        if start.startswith(_UTF_16):
            self._read = _as_utf_8(start, self._read)
            start = self._read(BLOCK)
        self._block = start.removeprefix(codecs.BOM_UTF8)


def decode(text: bytes, kind: Any = Any) -> Any:
    """Decodes a value with msgspec.

    :raises NotJson: the value is not JSON, or not of the type ``kind``.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from error


def _place(part: bytes, number: int) -> int:
    """The position in ``part`` after bracket ``number``, counted from 0, ignoring brackets in strings."""
    seen = -1
    for found in _string_or_bracket.finditer(part):
        seen += not found[0].startswith(b'"')
        if seen == number:
            return found.end()
    raise NotJson("brackets do not match")


def _as_utf_8(start: bytes, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    waiting = [start]

    def read_utf_8(size: int) -> bytes:
        while True:
            block = waiting.pop() if waiting else read(size)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise NotJson(str(error)) from error
            if text or not block:
                return text.encode("utf-8", "surrogatepass")

    return read_utf_8
