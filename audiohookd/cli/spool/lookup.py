"""Finds the spool of a command, from the configuration or from ``--spool``."""

import argparse
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from audiohookd.cli.usage_error import UsageError
from audiohookd.config.errors import ConfigError
from audiohookd.config.load import load
from audiohookd.config.schema import Config
from audiohookd.runtime.privileges import User, acting_as, owner_of
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
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


#: Minimum length of an id prefix.
SHORTEST_PREFIX = 4
#: How many matches the error for an ambiguous prefix lists.
_MAX_LISTED = 5
_LAST_DAY = "9999-12-31"


class State(StrEnum):
    """The state of a recording: the directory of its sidecar, see :mod:`audiohookd.spool.paths`."""

    DRAFT = "draft"
    BROKEN = "broken"
    DEAD = "dead"
    READY = "ready"
    DONE = "done"


#: The states of finished recordings, which lie in a directory per day. Recordings move between them in this order.
WHOLE = (State.DEAD, State.READY, State.DONE)


class Days(NamedTuple):
    """A range of days such as ``2026-01-31``, from ``first`` to ``last`` inclusive."""

    first: str = ""
    last: str = _LAST_DAY

    def has(self, day: str) -> bool:
        """Whether ``day`` is in the range."""
        return self.first <= day <= self.last


ALL_DAYS = Days()


class Found(NamedTuple):
    """A recording in a spool, or the remaining files of one."""

    state: State
    files: Recording


def directory_of(spool: SpoolPaths, state: State) -> Path:
    """The directory of a state. It holds recordings, or a directory per day if the state is one of WHOLE."""
    return {
        State.DRAFT: spool.draft,
        State.BROKEN: spool.broken,
        State.DEAD: spool.dead,
        State.READY: spool.ready,
        State.DONE: spool.done,
    }[state]


def recordings(spool: SpoolPaths, states: Sequence[State] = tuple(State), days: Days = ALL_DAYS) -> Iterator[Found]:
    """Iterates over recordings of these states, oldest day first.

    ``days`` does not apply to drafts and broken recordings, which are not sorted by day. A finished recording without
    a sidecar is being moved, and is skipped.
    """
    for state in states:
        for directory in _directories(spool, state, days):
            for files in catalog.iter_day(directory):
                if _is_complete(state, files.suffixes):
                    yield Found(state, files)


def search(spool: SpoolPaths, prefix: str, states: Sequence[State] = tuple(State)) -> Found:
    """Finds the one recording with an id that begins with ``prefix``.

    :raises UsageError: the prefix is too short, or matches no recording or several.
    """
    if len(prefix) < SHORTEST_PREFIX or not re.fullmatch("[0-9a-f-]+", prefix):
        raise UsageError(f"spool: {prefix!r} is not an id: give at least {SHORTEST_PREFIX} characters of one")
    matches: dict[str, Found] = {}
    for found in recordings(spool, states):
        if found.files.id.startswith(prefix):
            matches[found.files.id] = found
            if len(matches) > _MAX_LISTED:
                break
    if not matches:
        raise UsageError(f"spool: there is no recording {prefix} in {' or '.join(f'{state}/' for state in states)}")
    if len(matches) > 1:
        listed = ", ".join(sorted(matches)[:_MAX_LISTED])
        more = ", ..." if len(matches) > _MAX_LISTED else ""
        raise UsageError(f"spool: {prefix} matches several recordings: {listed}{more}")
    return next(iter(matches.values()))


def again(spool: SpoolPaths, recording: Recording) -> Recording | None:
    """Looks up a finished recording again, in case it was moved. None if it was deleted."""
    for state in WHOLE:
        for files in catalog.iter_day(directory_of(spool, state) / recording.day):
            if files.id == recording.id and paths.SIDECAR in files.suffixes:
                return files
    return None


def audio_of(spool: SpoolPaths, recording: Recording) -> Path | None:
    """The path of the audio of a finished recording, or None. During a move it is not beside the sidecar."""
    places = (directory_of(spool, state) / recording.day / recording.audio.name for state in WHOLE)
    return next((path for path in (recording.audio, *places) if path.exists()), None)


def _directories(spool: SpoolPaths, state: State, days: Days) -> list[Path]:
    directory = directory_of(spool, state)
    if state in WHOLE:
        return [day for day in catalog.iter_days(directory) if days.has(day.name)]
    return [directory]


def _is_complete(state: State, suffixes: Container[str]) -> bool:
    return state not in WHOLE or paths.SIDECAR in suffixes
