"""Reads and checks the configuration file. Errors have one line: file, key, reason."""

import re
import tomllib
from pathlib import Path
from typing import Any

from audiohookd import units
from audiohookd.config.checks import check_across_tables, check_plugin_tables
from audiohookd.config.convert import convert
from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Config
from audiohookd.text_encoding import decode_text


def load(path: Path) -> Config:
    """Reads the file; relative paths in it are relative to its directory. Blocks: for start-up only.

    :raises ConfigError: the file cannot be read, or something in it is wrong.
    """
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}): correct path or permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{path}: is not TOML: nested too deeply") from error
    except ValueError as error:  # also for integers of thousands of digits
        raise ConfigError(f"{path}: {_unquoted(text, str(error)) or f'is not TOML: {error}'}") from error
    return check(tables, path)


def check(tables: dict[str, Any], path: Path) -> Config:
    """The tables of the file ``path`` as a configuration.

    :raises ConfigError: something in them is wrong.
    """
    check_plugin_tables(tables.get("plugins"), path)
    config = convert(_without_empty_file(tables), Config, path)
    check_across_tables(config, path)
    return config


def _unquoted(text: str, error: str) -> str | None:
    """What to write where a quantity without quotes makes a line of ``text`` no TOML."""
    found = re.search(r"at line ([0-9]+), ", error)
    lines = text.split("\n") if found else []
    said = units.unquoted(lines[int(found[1]) - 1]) if found and int(found[1]) <= len(lines) else None
    return f"line {found[1]}: {said}" if found and said else None


def _without_empty_file(tables: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: ``keys_file = ""`` is none."""
    auth = tables.get("auth")
    is_none = isinstance(auth, dict) and auth.get("keys_file") == ""
    return tables | {"auth": auth | {"keys_file": None}} if is_none and auth else tables
