"""docs/spool.rst describes exactly the actions and options that ``audiohookctl spool`` has."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiohookd.cli import spool, verify
from audiohookd.spool import paths

TEXT = (Path(__file__).parents[2] / "docs/spool.rst").read_text()
#: Options that the document names without dashes.
EVERYWHERE = {"-h", "--help", "-q"}


def parsers() -> Iterator[argparse.ArgumentParser]:
    subparsers = argparse.ArgumentParser().add_subparsers()
    yield verify.add_parser(subparsers)
    yield from actions().values()


def actions() -> dict[str, argparse.ArgumentParser]:
    parser = spool.add_parser(argparse.ArgumentParser().add_subparsers())
    (found,) = [action for action in parser._actions if isinstance(action.choices, dict)]
    choices: Any = found.choices
    return dict(choices)


def test_every_action_is_described() -> None:
    told = set(re.findall(r"audiohookctl spool (\w+)", TEXT))
    assert told == set(actions())


def test_every_option_is_described() -> None:
    known = {option for parser in parsers() for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", TEXT)) | EVERYWHERE == known


def test_every_directory_is_described() -> None:
    places = paths.SpoolPaths(Path())
    for place in (places.draft, places.ready, places.done, places.dead, places.broken):
        assert f"``{place.name}/" in TEXT
    for file in (places.lock, places.wake):
        assert f"``{file.name}``" in TEXT
