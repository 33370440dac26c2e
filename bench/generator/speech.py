"""The audio of all calls: frames into sockets, many in one go, with no Python in between where there is a compiler.

Each frame by itself, from Python, took a third of what the generator took.
"""

import os
from array import array
from collections.abc import Callable, MutableSequence, Sequence

try:
    from bench.generator import _speech
except ImportError:  # there was no compiler
    _speech = None  # type: ignore[assignment]

#: In place of a socket: nothing is to be said; what is to be said must wait.
SILENT, CLOGGED = -1, -2

#: An array of C's ``int``.
Ints = MutableSequence[int]
#: Of a member: a frame that its socket did not take whole, and the bytes it took; a fault as its number, negative.
Left = tuple[int, bytes, int]


def say_in_python(
    frames: tuple[bytes, ...], members: Ints, start: int, end: int, files: Ints, turns: Ints
) -> tuple[int, list[Left]]:
    """One frame of each of ``members[start:end]`` into its socket, ``files[member]``, which does not block.

    Frames come round and round; ``turns[member]``, which goes up by one, says which is next. How many frames
    that were, and what is left of them.
    """
    said, left = 0, []
    for member in members[start:end]:
        if files[member] == SILENT:
            continue
        said += 1
        frame = frames[turns[member] % len(frames)]
        turns[member] += 1
        taken = _taken_by(files[member], frame)
        if taken != len(frame):
            left.append((member, frame, taken))
    return said, left


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
say: Callable[[tuple[bytes, ...], Ints, int, int, Ints, Ints], tuple[int, list[Left]]] = getattr(
    _speech, "say", say_in_python
)


class Speech:
    """What each of ``members`` has said so far, and into which socket.

    :param frames: at least one; a member begins with that of its number in ``firsts``.
    """

    def __init__(self, frames: tuple[bytes, ...], firsts: Sequence[int]) -> None:
        if not frames:
            raise ValueError("nothing to say")
        self._frames = frames
        self._firsts = firsts
        self._files = array("i", [SILENT] * len(firsts))
        self._turns = array("i", firsts)

    def into(self, member: int, file: int) -> None:
        """From now on ``member`` speaks into this socket; or it is ``SILENT``, or ``CLOGGED``."""
        self._files[member] = file

    def first(self, member: int) -> int:
        """Which frame it began with."""
        return self._firsts[member]

    def frames(self, member: int) -> int:
        """That it has said so far."""
        return self._turns[member] - self._firsts[member]

    def total(self) -> int:
        """Frames of all of them."""
        return sum(self._turns) - sum(self._firsts)

    def say(self, members: Ints, start: int, end: int) -> tuple[int, list[Left]]:
        """See :func:`say_in_python`."""
        return say(self._frames, members, start, end, self._files, self._turns)
