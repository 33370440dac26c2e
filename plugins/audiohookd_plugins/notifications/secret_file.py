"""Reading files with secrets."""

import os
from pathlib import Path

from audiohookd.text_encoding import decode_text


def read_secret_lines(path: Path) -> list[str]:
    """The lines of a file with secrets. Blocks: for start-up only.

    :raises ValueError: the file cannot be read, or is accessible to other users; one line that names the file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o007:
        raise ValueError(f"{path}: is accessible to other users: chmod o= it")
    try:
        return decode_text(content).splitlines()
    except UnicodeDecodeError:
        # not chained: the original error contains the whole file
        raise ValueError(f"{path}: is not text in UTF-8") from None
