"""Reads files with secrets: the only place that does, for the daemon and for plugins."""

import os
import stat
from pathlib import Path
from typing import Final

from audiohookd.runtime.privileges import read_remedy
from audiohookd.text_encoding import decode_text

#: Largest file, in bytes: room for some 10,000 keys.
MAX_SIZE: Final = 1 << 20


class SecretFileError(ValueError):
    """The file cannot be used. The text is one line with its name and the remedy, and quotes no content.

    :param os_error: why the file cannot be opened or read; None if only its content or its mode is wrong.
    """

    def __init__(self, path: Path, text: str, os_error: OSError | None = None) -> None:
        super().__init__(f"{str(path)!r}: {text}")
        self.os_error = os_error


def read_secret_file(path: Path) -> bytes:
    """Reads a file that other users must not access. Blocks, but does not wait for the writer of a pipe.

    :raises SecretFileError: the file cannot be read, is accessible to all users, or is larger than 1 MiB.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & stat.S_IRWXO:
                text = f"is accessible to all users (mode {mode:04o}): chmod o= it, and rotate its secrets"
                raise SecretFileError(path, text)
            content = file.read(MAX_SIZE + 1) or b""
    except OSError as error:
        text = f"cannot be read ({error.strerror}): correct path or permissions"
        text = read_remedy(path) if isinstance(error, PermissionError) else text
        raise SecretFileError(path, text, error) from None
    except SecretFileError:
        raise
    except ValueError:  # a null character
        raise SecretFileError(path, "is not a valid file name: correct the path") from None
    if len(content) > MAX_SIZE:
        raise SecretFileError(path, f"is larger than {MAX_SIZE} bytes: correct the path")
    return content


def read_secret_text(path: Path) -> str:
    """Reads a file as :func:`read_secret_file`, and decodes it.

    :raises SecretFileError: likewise, or it is not text in UTF-8.
    """
    try:
        return decode_text(read_secret_file(path))
    except UnicodeDecodeError:  # not chained: it contains the whole file
        raise SecretFileError(path, "is not text in UTF-8") from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
