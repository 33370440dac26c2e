"""Files with secrets."""

import os
from pathlib import Path

from audiohookd.text_encoding import decode_text


def read_secret_lines(path: Path) -> list[str]:
    """The lines of a file with secrets. Blocks: for start-up only.

    :raises ValueError: it cannot be read, or by everybody; one line that names the file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as fault:
        raise ValueError(f"{path}: cannot be read: {fault.strerror}") from fault
    if mode & 0o007:
        raise ValueError(f"{path}: everybody may use it: chmod o= it")
    try:
        return decode_text(content).splitlines()
    except UnicodeDecodeError:
        # Not chained: the original error holds all of the file.
        raise ValueError(f"{path}: is not text in UTF-8") from None
