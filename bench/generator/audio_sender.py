"""The audio of all calls: each frame into its socket when it is due.

Compiled where there is a compiler: in Python the frames of 500 calls, and to look each few milliseconds whether one
is due, took half of the generator's time.
"""

import os
import select
import time
from array import array
from collections.abc import Callable, MutableSequence, Sequence
from typing import NamedTuple

from bench.generator.latency import Lateness

try:
    from bench.generator import _speech
except ImportError:  # there was no compiler
    _speech = None  # type: ignore[assignment]

#: In place of a socket: nothing is to be said; what is to be said must wait.
SILENT, CLOGGED = -1, -2

#: Of a slot: a frame that its socket did not take whole, and the bytes it took; a fault as its number, negative.
Left = tuple[int, bytes, int]


class Voices(NamedTuple):
    """Arrays with a place for each slot."""

    frames: tuple[bytes, ...]
    #: Of C's ``double``: seconds from the beginning of a period to when a slot is due. They go up.
    phases: MutableSequence[float]
    #: Of C's ``int``: sockets that do not block.
    files: MutableSequence[int]
    #: Of C's ``int``: which of ``frames`` is next, round and round.
    turns: MutableSequence[int]
    #: Of C's ``long long``, by milliseconds: frames that were so late.
    late: MutableSequence[int]


def talk_in_python(
    voices: Voices, slot: int, begun: float, until: float, tick: float, epoll: int
) -> tuple[int, list[Left]]:
    """From ``slot`` on says what is due, each ``tick`` seconds: one frame of each slot, its phase after ``begun``.

    Until all have said theirs, or not all was taken; else at least once, and until ``epoll`` has something, or it is
    ``until``, on the scale of ``time.monotonic``. The slot that is next, and what is left.
    """
    frames, phases, files, turns, late = voices
    left: list[Left] = []
    while True:
        now = time.monotonic()
        while slot < len(phases) and begun + phases[slot] <= now:
            if files[slot] != SILENT:
                frame = frames[turns[slot] % len(frames)]
                turns[slot] += 1
                late[min(int(1000 * (now - begun - phases[slot])), len(late) - 1)] += 1
                taken = _taken_by(files[slot], frame)
                if taken != len(frame):
                    left.append((slot, frame, taken))
            slot += 1
        if slot == len(phases) or left:
            return slot, left
        time.sleep(max(now + tick - time.monotonic(), 0.0))
        if time.monotonic() >= until or select.select([epoll], [], [], 0)[0]:
            return slot, left


def _taken_by(file: int, data: bytes) -> int:
    if file == CLOGGED:
        return 0
    try:
        return os.write(file, data)
    except BlockingIOError:
        return 0
    except OSError as fault:
        return -(fault.errno or 0)


#: The same, compiled if it can be.
talk: Callable[..., tuple[int, list[Left]]] = getattr(_speech, "talk", talk_in_python)


class AudioSender:
    """What each member has said so far, and into which socket.

    :param frames: at least one; a member begins with that of its number in ``firsts``.
    :param start: when the first period begins, on the scale of ``time.monotonic``.
    :param period: seconds from one frame of a member to the next.
    :param phases: of each member, from 0 to below the period.
    """

    def __init__(
        self, frames: tuple[bytes, ...], firsts: Sequence[int], start: float, period: float, phases: Sequence[float]
    ) -> None:
        if not frames:
            raise ValueError("nothing to say")
        self.lateness = Lateness()
        self._members = sorted(range(len(phases)), key=phases.__getitem__)  # by slot
        self._slots = {member: slot for slot, member in enumerate(self._members)}
        self._firsts = [firsts[member] for member in self._members]
        self._voices = Voices(
            frames,
            array("d", sorted(phases)),
            array("i", [SILENT] * len(phases)),
            array("i", self._firsts),
            self.lateness.counts,
        )
        self._slot = 0
        self._round = 0
        self._start = start
        self._period = period

    def into(self, member: int, file: int) -> None:
        """From now on ``member`` speaks into this socket; or it is ``SILENT``, or ``CLOGGED``."""
        self._voices.files[self._slots[member]] = file

    def first(self, member: int) -> int:
        """Which frame it began with."""
        return self._firsts[self._slots[member]]

    def frames(self, member: int) -> int:
        """That it has said so far."""
        slot = self._slots[member]
        return self._voices.turns[slot] - self._firsts[slot]

    def total(self) -> int:
        """Frames of all of them."""
        return sum(self._voices.turns) - sum(self._firsts)

    def talk(self, until: float, tick: float, epoll: int) -> list[Left]:
        """See :func:`talk_in_python`; what is left, by member. No error adds up, however many periods."""
        begun = self._start + self._round * self._period
        slot, left = talk(self._voices, self._slot, begun, until, tick, epoll)
        self._round += slot == len(self._members)
        self._slot = slot % len(self._members)
        return [(self._members[slot], frame, taken) for slot, frame, taken in left]
