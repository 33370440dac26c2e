"""Durations of the wire and positions in samples: no sample is ever lost between them."""

import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.protocol.duration import (
    DURATION_PATTERN,
    NANOSECONDS,
    duration_to_samples,
    format_duration,
    parse_duration,
    samples_to_duration,
)

#: As far as we read seconds: sixteen digits of them.
nanoseconds = st.integers(0, 10**25 - 1)
#: The position of a session that lasts for centuries, and more.
positions = st.integers(0, 10**15)
digits = st.text("0123456789", max_size=16)
decimals = st.text("0123456789", min_size=1, max_size=64)


@given(positions)
@example(0)
@example(1)
@example(7999)
def test_every_position_survives_the_wire(samples: int) -> None:
    assert duration_to_samples(samples_to_duration(samples, 8000), 8000) == samples


@given(positions)
def test_a_position_is_exact_on_the_wire(samples: int) -> None:
    text = samples_to_duration(samples, 8000)
    assert Fraction(text[2:-1]) == Fraction(samples, 8000)


@given(nanoseconds)
def test_every_nanosecond_survives_the_wire(count: int) -> None:
    assert parse_duration(format_duration(count)) == count


@given(nanoseconds)
def test_a_written_duration_is_plain_and_as_short_as_possible(count: int) -> None:
    text = format_duration(count)
    assert re.fullmatch(r"PT(0|[1-9][0-9]*)(\.[0-9]{0,8}[1-9])?S", text)


@given(digits, decimals)
@example("", "5")
@example("1", "005")
@example("0", "30000000000000004")
def test_reading_agrees_with_exact_arithmetic(seconds: float, fraction: str) -> None:
    exact = Fraction(f"{seconds or 0}.{fraction}") * NANOSECONDS
    assert parse_duration(f"PT{seconds}.{fraction}S") == exact.numerator // exact.denominator


@given(st.text("0123456789", min_size=1, max_size=16))
def test_whole_seconds_are_read(seconds: float) -> None:
    assert parse_duration(f"PT{seconds}S") == int(seconds) * NANOSECONDS


@given(digits, decimals)
def test_the_nearest_sample_is_taken(seconds: float, fraction: str) -> None:
    exact = Fraction(f"{seconds or 0}.{fraction}") * 8000
    # Fractions of a nanosecond are dropped: they matter only exactly between two samples.
    assert abs(duration_to_samples(f"PT{seconds}.{fraction}S", 8000) - exact) <= Fraction(1, 2) + Fraction(8, 10**6)


@pytest.mark.parametrize(
    ("text", "samples"),
    [("PT10.299999999S", 82_400), ("PT10.3S", 82_400), ("PT0.30000000000000004S", 2_400), ("PT.5S", 4_000)],
)
def test_a_client_that_computes_in_floats_is_understood(text: str, samples: int) -> None:
    assert duration_to_samples(text, 8000) == samples


REFUSED = [
    "PT5.S", "PT1H", "PT1M", "PT1H2S", "P1D", "P1DT1S", "PT1e3S", "PT1E-7S", "PT-1S", "-PT1S", "PT+1S", "PT S", "PTS",
    "PT.S", "1", "1S", "", "PT1", "pt1s", "PT1,5S", "PT1.5.5S", " PT1S", "PT1S ", "PT1S\n", "\nPT1S", "PT1_0S",
    "PT\u0661S", "PT\uff11S", "PT1.\u0665S", "PTNaNS", "PTInfinityS", "PT0x1S", "PT" + "1" * 17 + "S",
    "PT1." + "1" * 65 + "S",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_an_invalid_duration_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
    assert re.search(DURATION_PATTERN, text) is None


@given(st.text("PT0123456789.S -eH\n\u0661", max_size=12) | st.from_regex(DURATION_PATTERN))
def test_the_pattern_for_messages_and_the_parser_agree(text: str) -> None:
    legal = re.search(DURATION_PATTERN, text) is not None
    try:
        count = parse_duration(text)
    except ValueError:
        assert not legal
    else:
        assert legal
        assert count >= 0


@given(st.text())
def test_a_refusal_never_repeats_more_than_a_little_of_what_came(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration") as caught:
        parse_duration(text * 50 + "!")
    assert len(str(caught.value)) < 600


@given(st.integers(max_value=-1))
def test_there_is_no_negative_duration(count: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(count)
