"""Finds the spool of a command, from the configuration or from ``--spool``."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from audiohookd.cli.usage_error import UsageError
from audiohookd.config.errors import ConfigError
from audiohookd.config.load import load
from audiohookd.config.schema import Config
from audiohookd.runtime.privileges import User, acting_as, owner_of
from audiohookd.spool.lock import is_locked
from audiohookd.spool.paths import SpoolPaths

DEFAULT_CONFIG = Path("/etc/audiohookd/audiohookd.toml")


class Place(NamedTuple):
    """A spool, and the configuration that names it; None if ``--spool`` was given instead."""

    spool: SpoolPaths
    config: Config | None


def options() -> argparse.ArgumentParser:
    """The parent parser of all actions, with ``--config`` and ``--spool``."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help=f"the daemon's configuration (default: {DEFAULT_CONFIG})")
    add("--spool", type=Path, metavar="DIR", help="the spool directory; no configuration is needed then")
    return parser


def place_of(arguments: argparse.Namespace) -> Place:
    """The spool that the arguments name.

    :raises UsageError: the configuration is invalid, or the directory is not a spool.
    """
    config = None
    if arguments.config or not arguments.spool:
        try:
            config = load((arguments.config or DEFAULT_CONFIG).absolute())
        except ConfigError as error:
            hint = "" if arguments.config else "; or give --config or --spool"
            raise UsageError(f"spool: {error}{hint}") from None
    directory: Path = arguments.spool or (config or Config()).spool.directory
    if not directory.is_dir():
        raise UsageError(f"spool: {directory} is not a spool: no such directory")
    if not (directory / "draft").is_dir() and any(directory.iterdir()):
        raise UsageError(f"spool: {directory} is not a spool: it has no draft/")
    return Place(SpoolPaths(directory), config)


def daemon_runs(spool: SpoolPaths) -> bool:
    """Whether a daemon holds the lock of the spool. The check does not disturb the daemon."""
    return is_locked(spool)


def wake(spool: SpoolPaths) -> None:
    """Makes a running daemon scan the spool at once. Has no effect if no daemon runs."""
    spool.wake.touch()


@contextmanager
def as_owner(spool: SpoolPaths) -> Iterator[None]:
    """Switches from root to the owner of the spool inside the block, so that the daemon can use new files.

    Has no effect for other users.
    """
    with acting_as(owner_of(spool.directory) or User(0, 0)):
        yield
