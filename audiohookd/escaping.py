r"""Escapes foreign text for a log line, a terminal or a status.

Foreign text comes from clients, proxies, stores, plugins and file names. Without escapes, a line break in it forges a
log line, an escape sequence moves the cursor of a terminal, and a bidi control reverses the rest of the line.

The escapes are JSON escapes: ``\n``, ``\u001b``, ``\u202e``, and two of them for a character beyond U+FFFF.
"""

import json
from collections.abc import Callable
from typing import Final

#: Characters of foreign text that a log line shows by default.
TEXT_LIMIT: Final = 1_000
#: Characters of text from a client that a log line shows. A client can cause many lines.
CLIENT_TEXT_LIMIT: Final = 200


def printable(text: str) -> str:
    """Returns ``text`` on one line, with an escape for each character that is not printable.

    Escapes controls (C0, DEL, C1), line and paragraph separators, format characters (such as bidi controls and
    zero-width characters), surrogates, private and unassigned characters, and all spaces except U+0020. Letters of
    all scripts are unchanged. A backslash is unchanged, too, so that no text is escaped twice and JSON keeps its
    meaning.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def loggable(text: str, limit: int = TEXT_LIMIT) -> str:
    """Returns ``text`` as :func:`printable`, cut to ``limit`` characters.

    A cut text ends with its full length. No escape is cut in two, and at most ``limit`` + 1 characters are read.
    """
    if len(text) <= limit and text.isprintable():
        return text
    return "".join(_cut(text, limit, _escaped))


def quoted(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""Returns ``text`` as :func:`loggable`, in single quotes. Escapes quotes and backslashes (``\'``, ``\\``)."""
    shown, mark = _cut(text, limit, _escaped_in_quotes)
    return f"'{shown}'{mark}"


def _cut(text: str, limit: int, escaped: Callable[[str], str]) -> tuple[str, str]:
    """Returns the start of ``text``, and a mark with its full length, which is empty if nothing was cut."""
    room = limit
    pieces: list[str] = []
    for char in text[: limit + 1]:
        piece = escaped(char)
        room -= len(piece)
        if room < 0:
            return "".join(pieces), f"... ({len(text)} characters)"
        pieces.append(piece)
    return "".join(pieces), ""


def _escaped(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1]


def _escaped_in_quotes(char: str) -> str:
    return f"\\{char}" if char in "'\\" else _escaped(char)
