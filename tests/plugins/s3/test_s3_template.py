"""Object keys: values from a call cannot change their structure, and no two recordings share a key."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd_plugins.s3.template import FIELDS, LONGEST, KeyTemplate, Template, escape, values

ID = "e160e428-53e2-487c-977d-96989bf5c99d"
START = "2026-01-31T23:04:05.678Z"
NAMES = ["organization", "conversation", "session", "route", "language"]
ABOUT = {"startedAt": START} | dict(zip(NAMES, ["o", "c", "s", "/r", "en"], strict=True))

texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(["", ".", "..", "/", "none", "=", "=2F"])


def key(text: str, **about: Any) -> str:
    return KeyTemplate(text, 1019).render(values(ID, ABOUT | about))


class TestFields:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("{date}/{recording}", f"2026-01-31/{ID}"),
            ("{year}/{month}/{day}/{hour}/{recording}", f"2026/01/31/23/{ID}"),
            ("{date}T{time}_{recording}", f"2026-01-31T230405_{ID}"),
            ("{time_reversed}-{recording}", f"8230099354321-{ID}"),
            ("{organization}/{conversation}/{session}/{recording}", f"o/c/s/{ID}"),
            ("year={year}/{route}/{language}/{recording}", f"year=2026/r/en/{ID}"),
        ],
    )
    def test_each_field_has_its_value(self, text: str, name: str) -> None:
        assert key(text) == name

    def test_time_is_in_utc(self) -> None:
        assert key("{date}/{hour}/{recording}", startedAt="2026-02-01T01:00:00+02:00") == f"2026-01-31/23/{ID}"

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("missing", [None, "", 7])
    def test_missing_values_become_none(self, name: str, missing: object) -> None:
        assert key(f"{{{name}}}/{{recording}}", **{name: missing}) == f"none/{ID}"

    def test_absent_members_become_none(self) -> None:
        assert KeyTemplate("{route}/{recording}", 1019).render(values(ID, {"startedAt": START})) == f"none/{ID}"

    @pytest.mark.parametrize("started", [None, 7, "yesterday", ""])
    def test_without_a_start_there_is_no_name(self, started: object) -> None:
        with pytest.raises(ValueError, match="does not tell when the recording started"):
            values(ID, ABOUT | {"startedAt": started})

    @given(st.datetimes(datetime(1971, 1, 1), datetime(2286, 11, 1)), st.integers(1, 10**9))
    @example(datetime(2243, 1, 1), 1)
    def test_time_reversed_falls(self, start: datetime, later: int) -> None:
        """Newer recordings are listed first, by the millisecond."""
        first = start.replace(microsecond=start.microsecond // 1000 * 1000, tzinfo=UTC)
        two = [first, first + timedelta(milliseconds=later)]
        old, new = (key("{time_reversed}/{recording}", startedAt=one.isoformat()) for one in two)
        assert new < old
        assert len(new) == len(old) == len(f"{0:013d}/{ID}")


class TestEscaping:
    @pytest.mark.parametrize(
        ("value", "piece"),
        [
            ("en-US", "en-US"),
            ("a_b.c", "a_b.c"),
            ("a/b", "a=2Fb"),
            ("a=b", "a=3Db"),
            ("é", "=C3=A9"),
            (".", "=2E"),
            ("..", "=2E=2E"),
            ("...a", "...a"),
            ("none", "=6Eone"),
            ("\x00", "=00"),
        ],
    )
    def test_values_are_escaped(self, value: str, piece: str) -> None:
        assert escape(value) == piece

    @given(st.text(max_size=300))
    @example("." * 200)
    @example("x" * LONGEST)
    @example("\ud800")
    def test_a_piece_is_safe(self, value: str) -> None:
        piece = escape(value)
        assert re.fullmatch(r"[A-Za-z0-9._=-]+", piece)
        assert piece.strip(".")
        assert len(piece) <= LONGEST

    @given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
    @example("none", "=6Eone")
    @example("x" * 500, "x" * 501)
    @example("." * 40, "=2E" * 40)
    def test_different_values_stay_different(self, one: str, other: str) -> None:
        assert (escape(one) == escape(other)) == (one == other)

    @given(st.fixed_dictionaries(dict.fromkeys(NAMES, texts)), st.fixed_dictionaries(dict.fromkeys(NAMES, texts)))
    def test_different_calls_have_different_names(self, one: dict[str, str], other: dict[str, str]) -> None:
        """For values that are neither missing nor empty, and routes that begin with a slash."""
        text = "/".join(f"{{{name}}}" for name in NAMES) + "/{recording}"
        one, other = ({name: value or "x" for name, value in call.items()} for call in (one, other))
        one["route"], other["route"] = f"/{one['route']}", f"/{other['route']}"
        assert (key(text, **one) == key(text, **other)) == (one == other)

    @given(st.fixed_dictionaries(dict.fromkeys(NAMES, st.text(max_size=200))), st.permutations(list(FIELDS)))
    def test_no_name_leads_elsewhere(self, call: dict[str, str], order: list[str]) -> None:
        text = "audio/" + "/".join(f"{{{name}}}" for name in order)
        segments = key(text, **call).split("/")
        assert segments[0] == "audio"
        assert len(segments) == 1 + len(FIELDS)
        assert not {"", ".", ".."} & set(segments)


class TestInvalidTemplates:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("{date}", "must contain {recording}"),
            ("{date}/{recordin}", "{recordin} is no field; there are date, year"),
            ("{}/{recording}", "{} is no field"),
            ("{participant}/{recording}", "{participant} is no field"),
            ("{recording!r}", "{recording} takes no format"),
            ("{recording:>9}", "{recording} takes no format"),
            ("{recording.__class__}", "{recording.__class__} is no field"),
            ("{recording", "expected '}'"),
            ("a}{recording}", "Single '}'"),
            ("/{recording}", "must not begin or end with '/'"),
            ("{recording}/", "must not begin or end with '/'"),
            ("a//{recording}", "segments that are empty or dots"),
            ("../{recording}", "segments that are empty or dots"),
            ("a/./{recording}", "segments that are empty or dots"),
            ("{recording}?x", "'?x' cannot stand in it"),
            ("é{recording}", "cannot stand in it"),
            ("{recording}" * 11, "could get longer than 1019 characters"),
        ],
    )
    def test_an_invalid_key_is_rejected(self, text: str, reason: str) -> None:
        with pytest.raises(ValueError, match=re.escape(reason)) as caught:
            KeyTemplate(text, 1019)
        assert "\n" not in str(caught.value)

    def test_other_templates_need_no_recording(self) -> None:
        assert Template("of {organization}", "[a-z ]*", 200).render({"organization": "o"}) == "of o"
