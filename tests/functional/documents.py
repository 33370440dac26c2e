"""Extracts literal blocks from the documents, as a reader copies them."""

import re
import textwrap

from tests.functional.wheel import ROOT

_block = re.compile(r"::\n\n((?:(?: +\S.*)?\n)+)")


def blocks(document: str) -> list[str]:
    """All literal blocks of a document, also in lists, without their common indentation."""
    text = (ROOT / document).read_text() + "\n"
    return [textwrap.dedent(_of_one_depth(found)) for found in _block.findall(text)]


def snippet(document: str, *marks: str) -> str:
    """The one block that contains all ``marks``."""
    (found,) = (block for block in blocks(document) if all(mark in block for mark in marks))
    return found


def _of_one_depth(block: str) -> str:
    """The block up to the first line with less indentation, which is text of a list again."""
    lines = block.splitlines(keepends=True)
    depth = len(lines[0]) - len(lines[0].lstrip())
    ends = [at for at, line in enumerate(lines) if line.strip() and len(line) - len(line.lstrip()) < depth]
    return "".join(lines[: ends[0]] if ends else lines).rstrip("\n") + "\n"
