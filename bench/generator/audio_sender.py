"""Sends the audio of all calls: writes each frame to its socket when it is due.

The loop is compiled if there is a compiler. In Python, sending the frames of 500 calls, and checking every few
milliseconds whether one is due, took half of the generator's time.
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
except ImportError:  # no compiler was available
    _speech = None  # type: ignore[assignment]

#: Values in place of a socket: the call sends no audio; its audio must wait for the socket.
SILENT, BLOCKED = -1, -2

#: A slot, a frame that its socket did not accept completely, and the number of accepted bytes, or a negative errno.
Left = tuple[int, bytes, int]


class Voices(NamedTuple):
    """Arrays with one element per slot."""

    frames: tuple[bytes, ...]
    #: C ``double``: seconds from the beginning of a period until a slot is due, in ascending order.
    phases: MutableSequence[float]
    #: C ``int``: non-blocking sockets.
    files: MutableSequence[int]
    #: C ``int``: the index of the next of ``frames``, modulo their number.
    turns: MutableSequence[int]
    #: C ``long long``: the number of late frames, by lateness in milliseconds.
    late: MutableSequence[int]


def talk_in_python(
    voices: Voices, slot: int, begun: float, until: float, tick: float, epoll: int
) -> tuple[int, list[Left]]:
    """Sends the frames that are due, beginning with ``slot``, every ``tick`` seconds.

    Each slot sends one frame, at its phase after ``begun``. The function returns after the last slot, or when a
    socket did not accept a whole frame. Otherwise it checks at least once, and returns when ``epoll`` is ready or at
    ``until``. Times are on the scale of ``time.monotonic``.

    :returns: the next slot, and the unsent frames.
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
    if file == BLOCKED:
        return 0
    try:
        return os.write(file, data)
    except BlockingIOError:
        return 0
    except OSError as error:
        return -(error.errno or 0)


#: The compiled function if it is available, else the Python function.
talk: Callable[..., tuple[int, list[Left]]] = getattr(_speech, "talk", talk_in_python)


class AudioSender:
    """Tracks which frames each member has sent, and to which socket.

    :param frames: at least one. Each member begins with the frame at its index in ``firsts``.
    :param start: when the first period begins, on the scale of ``time.monotonic``.
    :param period: seconds from one frame of a member to the next.
    :param phases: one per member, from 0 to below the period.
    :raises ValueError: there are no frames.
    """

    def __init__(
        self, frames: tuple[bytes, ...], firsts: Sequence[int], start: float, period: float, phases: Sequence[float]
    ) -> None:
        if not frames:
            raise ValueError("there are no frames to send")
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

    def set_socket(self, member: int, file: int) -> None:
        """Makes ``member`` send to this socket from now on; or ``SILENT``, or ``BLOCKED``."""
        self._voices.files[self._slots[member]] = file

    def first(self, member: int) -> int:
        """The index of the frame that ``member`` began with."""
        return self._firsts[self._slots[member]]

    def frames(self, member: int) -> int:
        """The number of frames that ``member`` has sent."""
        slot = self._slots[member]
        return self._voices.turns[slot] - self._firsts[slot]

    def total(self) -> int:
        """The number of frames that all members have sent."""
        return sum(self._voices.turns) - sum(self._firsts)

    def talk(self, until: float, tick: float, epoll: int) -> list[Left]:
        """Sends the frames that are due; see :func:`talk_in_python`. Rounding errors do not accumulate.

        :returns: the unsent frames, by member.
        """
        begun = self._start + self._round * self._period
        slot, left = talk(self._voices, self._slot, begun, until, tick, epoll)
        self._round += slot == len(self._members)
        self._slot = slot % len(self._members)
        return [(self._members[slot], frame, taken) for slot, frame, taken in left]
