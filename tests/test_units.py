"""Errors for sizes and durations with a unit in the configuration file."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.config.schema import ConfigError, check, convert, load
from audiohookd.config.units import WHOLE_NUMBERS, amount, number_wanted, unquoted
from tests.config_rig import PLUGINS, tables
from tests.test_config_documents import DOCUMENT

ANYWHERE = Path("/x.toml")


@pytest.mark.parametrize(
    ("address", "written", "said"),
    [
        ("spool.min_free", "1GiB", "a whole number of MiB, got '1GiB'; write 1024"),
        ("spool.max_spool", "2T", "a whole number of MiB, got '2T'; write 2097152"),
        ("spool.min_free", "1 GB", "a whole number of MiB, got '1 GB'; write 954"),
        ("spool.min_free", "512", "a whole number of MiB, got '512'; write 512"),
        ("spool.min_free", "much", "a whole number of MiB, without quotes"),
        ("spool.keep_local", "7d", "a number of seconds, got '7d'; write 604800"),
        ("spool.keep_local", "7 days", "a number of seconds, got '7 days'; write 604800"),
        ("spool.flush_interval", "500ms", "a number of seconds, got '500ms'; write 0.5"),
        ("shutdown.drain_timeout", "1h30m", "a number of seconds, got '1h30m'; write 5400"),
        ("auth.aws.refresh", "5min", "a number of seconds, got '5min'; write 300"),
        ("limits.frames_per_second", "50/s", "a whole number per second, got '50/s'; write 50"),
    ],
)
def test_a_unit_in_quotes_is_named_with_the_number_to_write(address: str, written: str, said: str) -> None:
    *names, key = address.split(".")
    table: dict[str, Any] = {key: written}
    for name in reversed(names):
        table = {name: table}
    with pytest.raises(ConfigError) as caught:
        check(table, ANYWHERE)
    assert str(caught.value).replace('"', "'") == f"{ANYWHERE}: {address}: expected {said}"


def test_a_quoted_number_without_a_unit_gets_no_unit_error() -> None:
    with pytest.raises(ConfigError, match=r"listen\.max_sessions: Expected integer, got string"):
        check({"listen": {"max_sessions": "9"}}, ANYWHERE)


def test_a_unit_in_the_table_of_a_plugin_is_named_too() -> None:
    with pytest.raises(ConfigError) as caught:
        convert({"part_size": "64MiB"}, PLUGINS["s3"], ANYWHERE, "plugins.archive")
    said = 'plugins.archive.part_size: expected a whole number of MiB, got "64MiB"; write 64'
    assert str(caught.value) == f"{ANYWHERE}: {said}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[spool]\nmin_free = 1GiB\n", 'line 2: min_free: expected a whole number of MiB, got "1GiB"; write 1024'),
        ("[spool]\nkeep_local = 7d # a week", 'line 2: keep_local: expected a number of seconds, got "7d"; write'),
        ("[spool]\nkeep_local = 7x\n", "is not TOML: "),
    ],
)
def test_a_unit_without_quotes_is_named_too(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "x.toml")
    assert str(caught.value).startswith(f"{tmp_path}/x.toml: {line}")


def test_a_unit_is_named_in_a_file_of_utf_16_too(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes("\ufeff[spool]\nmin_free = 1GiB\n".encode("utf-16-le"))
    with pytest.raises(ConfigError, match="line 2: min_free: expected a whole number of MiB"):
        load(tmp_path / "x.toml")


@pytest.mark.parametrize(("written", "advised"), [("1KB", "; write 1"), ("1" * 400, ", without quotes")])
def test_an_amount_beyond_what_the_unit_can_say_has_useful_advice(written: str, advised: str) -> None:
    said = number_wanted("min_free", True, written)
    assert said is not None
    assert said.endswith(advised)


def test_the_table_holds_every_whole_number_with_a_unit() -> None:
    """docs/configuration.rst gives the units. Every key with decimals is a duration."""
    numbers = {
        key: value
        for keys in tables().values()
        for key, value in keys.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    rows = dict(re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", DOCUMENT.read_text(), re.MULTILINE))
    in_mebibytes = {key for key in numbers if rows[key].startswith("MiB")}
    assert in_mebibytes == {key for key, unit in WHOLE_NUMBERS.items() if unit == "MiB"}
    assert {key for key in numbers if "per_second" in key} == set(WHOLE_NUMBERS) - in_mebibytes


@given(st.text())
def test_any_text_is_a_quantity_or_none(text: str) -> None:
    for unit in ("MiB", "s", "per second"):
        assert amount(text, unit) is None or amount(text, unit) >= 0
    unquoted(f"keep_local = {text}")


@given(st.integers(0, 10**9), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_a_duration_is_converted_exactly(number: int, unit: tuple[str, int]) -> None:
    assert amount(f"{number}{unit[0]}", "s") == number * unit[1]


def test_advised_values_are_legal() -> None:
    for key in WHOLE_NUMBERS:
        advised = number_wanted(key, True, "6 MiB" if WHOLE_NUMBERS[key] == "MiB" else "6")
        assert advised is not None
        assert msgspec.json.decode(advised.rpartition(" ")[2]) == 6
