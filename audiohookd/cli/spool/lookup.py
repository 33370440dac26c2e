"""The recordings in a spool, whatever their state. One directory's names are held at a time."""

import re
from collections.abc import Container, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from audiohookd.cli.usage_error import UsageError
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths

#: Characters of an id that tell enough of it.
SHORTEST_PREFIX = 4
#: So many are named to who gave too few characters.
_SHOWN = 5
_LAST_DAY = "9999-12-31"


class State(StrEnum):
    """Where a recording is, as :mod:`audiohookd.spool.paths` explains: there is its sidecar, if it has one."""

    DRAFT = "draft"
    BROKEN = "broken"
    DEAD = "dead"
    READY = "ready"
    DONE = "done"


#: The states of recordings that are whole, by day, in the order in which they move.
WHOLE = (State.DEAD, State.READY, State.DONE)


class Days(NamedTuple):
    """From ``first`` to ``last``, as ``2026-01-31``, both included."""

    first: str = ""
    last: str = _LAST_DAY

    def has(self, day: str) -> bool:
        """Whether ``day`` is one of them."""
        return self.first <= day <= self.last


ALL_DAYS = Days()


class Found(NamedTuple):
    """A recording, or what is left of one."""

    state: State
    files: Recording


def directory_of(spool: SpoolPaths, state: State) -> Path:
    """Where recordings of that state are, or their days."""
    return {
        State.DRAFT: spool.draft,
        State.BROKEN: spool.broken,
        State.DEAD: spool.dead,
        State.READY: spool.ready,
        State.DONE: spool.done,
    }[state]


def recordings(spool: SpoolPaths, states: Sequence[State] = tuple(State), days: Days = ALL_DAYS) -> Iterator[Found]:
    """All of these states, oldest day first.

    Drafts and broken ones lie together, whatever their day. What has no sidecar where it should have one is on its
    way, and passed over.
    """
    for state in states:
        for directory in _directories(spool, state, days):
            for files in catalog.iter_day(directory):
                if _is_one(state, files.suffixes):
                    yield Found(state, files)


def search(spool: SpoolPaths, prefix: str, states: Sequence[State] = tuple(State)) -> Found:
    """The one recording whose id begins with ``prefix``.

    :raises Mistake: there is none, or more than one.
    """
    if len(prefix) < SHORTEST_PREFIX or not re.fullmatch("[0-9a-f-]+", prefix):
        raise UsageError(f"spool: {prefix!r} is no id: at least {SHORTEST_PREFIX} characters of one")
    matches: dict[str, Found] = {}
    for found in recordings(spool, states):
        if found.files.id.startswith(prefix):
            matches[found.files.id] = found
            if len(matches) > _SHOWN:
                break
    if not matches:
        raise UsageError(f"spool: there is no recording {prefix} in {' or '.join(f'{state}/' for state in states)}")
    if len(matches) > 1:
        some = ", ".join(sorted(matches)[:_SHOWN])
        raise UsageError(f"spool: {prefix} is more than one: {some}{', ...' if len(matches) > _SHOWN else ''}")
    return next(iter(matches.values()))


def again(spool: SpoolPaths, recording: Recording) -> Recording | None:
    """A whole recording that was seen before, wherever it is now."""
    for state in WHOLE:
        for files in catalog.iter_day(directory_of(spool, state) / recording.day):
            if files.id == recording.id and paths.SIDECAR in files.suffixes:
                return files
    return None


def audio_of(spool: SpoolPaths, recording: Recording) -> Path | None:
    """Where the audio of a whole recording is: while it moves, elsewhere than its sidecar. None when nowhere."""
    places = (directory_of(spool, state) / recording.day / recording.audio.name for state in WHOLE)
    return next((path for path in (recording.audio, *places) if path.exists()), None)


def _directories(spool: SpoolPaths, state: State, days: Days) -> list[Path]:
    directory = directory_of(spool, state)
    if state in WHOLE:
        return [day for day in catalog.iter_days(directory) if days.has(day.name)]
    return [directory]


def _is_one(state: State, suffixes: Container[str]) -> bool:
    return state not in WHOLE or paths.SIDECAR in suffixes
