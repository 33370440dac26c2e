"""Exceptions in words."""

import json

import pytest

from audiohookd.runtime.error_text import in_words, is_mistake


@pytest.mark.parametrize(
    ("fault", "words", "mistake"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory (/x)", False),
        (OSError(28, "No space left on device"), "No space left on device", False),
        (OSError("bad sector"), "OSError: bad sector", False),
        (TimeoutError(), "TimeoutError", False),
        (ValueError("is no URL"), "ValueError: is no URL", False),
        (json.JSONDecodeError("No", "", 0), "JSONDecodeError: No: line 1 column 1 (char 0)", False),
        (KeyError("ContentLength"), "KeyError: 'ContentLength'", True),
        (TypeError("not callable"), "TypeError: not callable", True),
        (RecursionError(), "RecursionError", True),
    ],
)
def test_a_fault_is_told_in_words(fault: Exception, words: str, mistake: bool) -> None:
    assert (in_words(fault), is_mistake(fault)) == (words, mistake)


def test_a_fault_that_a_library_derives_from_a_mistake_is_none() -> None:
    class NoSuchKey(KeyError):
        """Of a client of some service."""

    assert not is_mistake(NoSuchKey("x"))
