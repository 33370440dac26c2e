"""Mistakes in the configuration, each as one line for the operator."""

import difflib
import re
from collections.abc import Iterable

from audiohookd.escaping import printable

_bare_key = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(ValueError):
    """A mistake in the configuration, as one printable line with file, key and reason."""

    def __init__(self, text: str) -> None:
        super().__init__(printable(" ".join(line.strip() for line in text.splitlines())))


class ConfigUnavailable(ConfigError):
    """Something that the configuration names does not answer now. That need not be a mistake."""


def address(*keys: str) -> str:
    """Where in a file: ``plugins.s3``. Keys that TOML does not allow without quotes are quoted."""
    return ".".join(key if _bare_key.fullmatch(key) else repr(key) for key in keys)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """To append to a complaint about an unknown ``word``: the nearest of the ``known`` ones, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, 1)
    return f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(map(address, known)) or 'none'}"
