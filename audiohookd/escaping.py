r"""Foreign text made safe to show: in a log line, on a terminal, in a status.

Foreign is the text of clients, proxies, stores and plugins, and the names of files. Raw, a line break in it forges a
log line, an escape sequence moves a terminal's cursor, and a bidi control turns the rest of the line around.

Escapes are those of JSON: ``\n``, ``\u001b``, ``\u202e``, and two of them for a character beyond U+FFFF.
"""

import json
from collections.abc import Callable
from typing import Final

#: Characters of foreign text that a log line shows, unless its caller says otherwise.
TEXT_LIMIT: Final = 1_000
#: The same of what a client or a stranger says: there are many lines of it.
CLIENT_TEXT_LIMIT: Final = 200


def printable(text: str) -> str:
    """``text`` on one line, with an escape for each character that is not printable. JSON stays the same JSON.

    Escaped are controls (C0, DEL, C1), line and paragraph separators, format characters (bidi controls and those of
    no width among them), surrogates, private and unassigned characters, and all spaces but U+0020. Letters of all
    scripts stay as they are; so does a backslash, so that nothing is escaped twice.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def loggable(text: str, limit: int = TEXT_LIMIT) -> str:
    """``text`` as :func:`printable`, cut after ``limit`` characters; then its end says how long it was.

    No escape is cut in two, and no more than ``limit`` characters of ``text`` are read.
    """
    if len(text) <= limit and text.isprintable():
        return text
    return "".join(_cut(text, limit, _escaped))


def quoted(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""``text`` as :func:`loggable`, in single quotes; quotes and backslashes in it are escaped (``\'``, ``\\``)."""
    shown, mark = _cut(text, limit, _escaped_in_quotes)
    return f"'{shown}'{mark}"


def _cut(text: str, limit: int, escaped: Callable[[str], str]) -> tuple[str, str]:
    """What is shown of ``text``, and the mark that says how long it was; empty when all is shown."""
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
