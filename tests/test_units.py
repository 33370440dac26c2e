"""Durations and sizes that have their unit in the configuration file."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.config.convert import convert
from audiohookd.config.errors import ConfigError
from audiohookd.config.load import check, load
from audiohookd.units import parse, unquoted, written
from tests.config_rig import PLUGINS

ANYWHERE = Path("/x.toml")


def config_of(address: str, value: Any) -> Any:
    """The value that the daemon has for the key at ``address``, when the file says ``value``."""
    *names, key = address.split(".")
    table: dict[str, Any] = {key: value}
    for name in reversed(names):
        table = {name: table}
    found: Any = check(table, ANYWHERE)
    for name in (*names, key):
        found = getattr(found, name)
    return found


def mistake(address: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config_of(address, value)
    return str(caught.value).removeprefix(f"{ANYWHERE}: ")


def test_a_quoted_number_without_a_unit_gets_no_unit_error() -> None:
    with pytest.raises(ConfigError, match=r"listen\.max_sessions: Expected integer, got string"):
        check({"listen": {"max_sessions": "9"}}, ANYWHERE)


@pytest.mark.parametrize(
    ("address", "value", "line"),
    [
        ("spool.min_free", 1024, "spool.min_free: 1024 has no unit: write a size such as "),
        ("spool.local_retention", "7", "spool.local_retention: '7' is not a duration such as "),
        ("spool.local_retention", "7 GiB", "spool.local_retention: '7 GiB' is not a duration such as "),
        ("spool.local_retention", "", "spool.local_retention: '' is not a duration such as "),
        ("spool.min_free", "5 s", "spool.min_free: '5 s' is not a size such as "),
        ("spool.min_free", "-5 MiB", "spool.min_free: '-5 MiB' is not a size such as "),
        ("spool.min_free", "9" * 400 + " GiB", f"spool.min_free: '{'9' * 40}' is too large"),
        ("spool.min_free", True, "spool.min_free: must be a size such as "),
        ("auth.vault.refresh", ["5 s"], "auth.vault.refresh: must be a duration such as "),
        ("auth.vault.refresh", "5 s", "auth.vault.refresh: must be at least 10 s"),
        ("limits.handshake_timeout", "2 min", "limits.handshake_timeout: must be at most 1 min"),
        ("limits.handshake_timeout", 0, "limits.handshake_timeout: must be more than 0 s"),
        ("auth.replay.timeout", "500 ms", "auth.replay.timeout: must be at most 400 ms"),
    ],
)
def test_a_value_that_is_no_such_quantity_is_rejected_in_one_line(address: str, value: Any, line: str) -> None:
    assert mistake(address, value).startswith(line)


@pytest.mark.parametrize(
    ("address", "value", "name"),
    [
        ("listen.allow", [], "allowed_networks"),
        ("listen.allow_file", "x", "allowed_networks_file"),
        ("auth.failure", "http", "rejection"),
        ("spool.keep_local", 0, "local_retention"),
        ("delivery.retry_first", 1, "retry_initial_delay"),
        ("delivery.retry_limit", 1, "retry_max_delay"),
        ("session.open_timeout", 1, "client_open_timeout"),
        ("session.opening_timeout", 1, "accept_timeout"),
        ("session.closing_timeout", 1, "plugin_closing_timeout"),
        ("session.closed_timeout", 1, "client_close_timeout"),
    ],
)
def test_an_old_name_of_a_key_is_rejected_with_the_new_one(address: str, value: Any, name: str) -> None:
    assert mistake(address, value) == f"{address}: this key is named '{name}' now"


def test_the_table_of_a_plugin_has_units_too() -> None:
    options = convert({"part_size": "64 MiB", "timeout": "2 min"}, PLUGINS["s3"], ANYWHERE, "plugins.archive")
    assert (options.part_size, options.timeout) == (64 << 20, 120.0)
    with pytest.raises(ConfigError) as caught:
        convert({"part_size": "4 MiB"}, PLUGINS["s3"], ANYWHERE, "plugins.archive")
    assert str(caught.value) == f"{ANYWHERE}: plugins.archive.part_size: must be at least 5 MiB"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[spool]\nmin_free = 1GiB\n", 'line 2: min_free: put it in quotes: min_free = "1GiB"'),
        (
            "[spool]\nlocal_retention = 7 d # a week",
            'line 2: local_retention: put it in quotes: local_retention = "7 d"',
        ),
        ("[spool]\nlocal_retention = d7\n", "is not TOML: "),
    ],
)
def test_a_quantity_without_quotes_is_named(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "x.toml")
    assert str(caught.value).startswith(f"{tmp_path}/x.toml: {line}")


def test_a_quantity_without_quotes_is_named_in_a_file_of_utf_16_too(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes("\ufeff[spool]\nmin_free = 1GiB\n".encode("utf-16-le"))
    with pytest.raises(ConfigError, match="line 2: min_free: put it in quotes"):
        load(tmp_path / "x.toml")


@given(st.integers(min_value=0, max_value=10**9), st.sampled_from(["s", "B"]))
def test_a_written_number_is_read_as_the_same(number: int, unit: str) -> None:
    assert parse(written(number, unit), unit) == number


@given(st.integers(min_value=1, max_value=10**9))
def test_a_written_duration_of_milliseconds_is_read_as_the_same(milliseconds: int) -> None:
    assert parse(written(milliseconds / 1000, "s"), "s") == pytest.approx(milliseconds / 1000)


@given(st.text(max_size=30), st.sampled_from(["s", "B"]))
def test_any_text_is_a_quantity_or_a_value_error(text: str, unit: str) -> None:
    try:
        number = parse(text, unit)
    except ValueError:
        return
    assert number >= 0


@given(st.text(max_size=60))
def test_any_line_has_advice_or_none(line: str) -> None:
    said = unquoted(line)
    assert said is None or "put it in quotes" in said
