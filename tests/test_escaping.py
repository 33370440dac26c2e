"""Foreign text is shown with a bounded length, and without control characters, line breaks and bidi controls."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.escaping import TEXT_LIMIT, loggable, printable, quoted

ANY = st.text(st.characters(codec=None))
#: Characters that forge a line, move a cursor or reverse text, and characters without width, glyph or meaning.
HOSTILE = {
    "\0": r"\u0000",
    "\a": r"\u0007",
    "\b": r"\b",
    "\t": r"\t",
    "\n": r"\n",
    "\r": r"\r",
    "\x1b": r"\u001b",
    "\x7f": r"\u007f",
    "\x85": r"\u0085",
    "\x9b": r"\u009b",
    "\xa0": r"\u00a0",
    "\xad": r"\u00ad",
    "\u061c": r"\u061c",
    "\u200b": r"\u200b",
    "\u200e": r"\u200e",
    "\u2028": r"\u2028",
    "\u2029": r"\u2029",
    "\u202e": r"\u202e",
    "\u2066": r"\u2066",
    "\ufeff": r"\ufeff",
    "\udce9": r"\udce9",
    "\ue000": r"\ue000",
    "\uffff": r"\uffff",
    "\U000e0041": r"\udb40\udc41",
}
#: Categories of Unicode that are never shown raw.
ESCAPED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(("char", "escape"), HOSTILE.items(), ids=ascii)
def test_a_hostile_character_is_shown_as_an_escape(char: str, escape: str) -> None:
    text = f"a{char}b"
    assert printable(text) == loggable(text) == f"a{escape}b"
    assert quoted(text) == f"'a{escape}b'"


LETTERS = ["", "Grüße aus Kraków", "Ευχαριστώ", "やまだ", "שלום", "snow \u2603 \U0001f600", r"a\b 'c'"]


@pytest.mark.parametrize("text", LETTERS)
def test_letters_of_all_scripts_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == loggable(text) == text


def test_quotes_in_quotes_are_escaped() -> None:
    assert quoted("it's a \\n") == r"'it\'s a \\n'"


def test_a_long_text_is_cut_and_its_end_says_how_long_it_was() -> None:
    text = "A" * 60_000
    assert loggable(text) == "A" * TEXT_LIMIT + "... (60000 characters)"
    assert loggable(text, 5) == "AAAAA... (60000 characters)"
    assert quoted(text, 5) == "'AAAAA'... (60000 characters)"
    assert loggable("AAAAA", 5) == "AAAAA"


def test_no_escape_is_cut_in_two() -> None:
    assert loggable("ab\x1b\x1b", 9) == r"ab\u001b... (4 characters)"
    assert loggable("ab\U000e0041", 9) == "ab... (3 characters)"
    assert quoted("abc'", 4) == "'abc'... (4 characters)"


@given(ANY, st.integers(0, 50))
def test_any_text_becomes_one_bounded_line_without_hostile_characters(text: str, limit: int) -> None:
    for shown in (printable(text), loggable(text, limit), quoted(text, limit)):
        assert ESCAPED.isdisjoint(map(unicodedata.category, shown))
        assert len(shown.splitlines()) <= 1
        assert shown.encode("utf-8").decode("utf-8") == shown
    assert len(loggable(text, limit)) <= limit + len(f"... ({len(text)} characters)")
    assert loggable(text, 12 * len(text)) == printable(text)


@given(ANY, st.integers(0, 50))
def test_an_escaped_text_is_not_escaped_again(text: str, limit: int) -> None:
    assert printable(printable(text)) == printable(text)
    assert printable(loggable(text, limit)) == loggable(text, limit)


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner), max_leaves=5))
def test_json_stays_the_same_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(printable(text)) == json.loads(text)


@given(st.text(st.characters(codec="utf-8")))
def test_quoted_text_can_be_read_back(text: str) -> None:
    """The text is a JSON string in other quotes."""
    inner = quoted(text, 12 * len(text))[1:-1].replace("\\'", "'").replace('"', '\\"')
    assert json.loads(f'"{inner}"') == text
