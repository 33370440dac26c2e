"""The spool that a command is about: from the configuration, or from the command line."""

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
    """A spool, and the configuration that it belongs to, when that was given."""

    spool: SpoolPaths
    config: Config | None


def options() -> argparse.ArgumentParser:
    """To be a parent of each action's parser."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help=f"where [spool] directory stands (default {DEFAULT_CONFIG})")
    add("--spool", type=Path, metavar="DIR", help="the spool itself; then no configuration is needed")
    return parser


def place_of(arguments: argparse.Namespace) -> Place:
    """Where the user wants to look.

    :raises Mistake: there is no spool.
    """
    config = None
    if arguments.config or not arguments.spool:
        try:
            config = load((arguments.config or DEFAULT_CONFIG).absolute())
        except ConfigError as fault:
            hint = "" if arguments.config else "; or give --config or --spool"
            raise UsageError(f"spool: {fault}{hint}") from None
    directory: Path = arguments.spool or (config or Config()).spool.directory
    if not directory.is_dir():
        raise UsageError(f"spool: {directory} is no spool: no such directory")
    if not (directory / "draft").is_dir() and any(directory.iterdir()):
        raise UsageError(f"spool: {directory} is no spool: it has no draft/")
    return Place(SpoolPaths(directory), config)


def daemon_runs(spool: SpoolPaths) -> bool:
    """Whether a daemon has the spool just now. None is disturbed by this."""
    return is_locked(spool)


def wake(spool: SpoolPaths) -> None:
    """Makes a daemon that runs look at everything at once; of no effect where none does."""
    spool.wake.touch()


@contextmanager
def as_owner(spool: SpoolPaths) -> Iterator[None]:
    """Inside the block root acts as the owner of the spool, so that the daemon can use what is made there.

    Others act as themselves.
    """
    with acting_as(owner_of(spool.directory) or User(0, 0)):
        yield
