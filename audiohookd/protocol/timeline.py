"""Tracks the position of a session, and limits the positions that a client may claim (protocol section 4)."""

from collections.abc import Callable

from audiohookd.protocol.duration import duration_to_samples
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.protocol.timeouts import POSITION_LEEWAY

#: Samples per second and channel before a medium is selected. AudioHook has no other rate today.
DEFAULT_RATE = 8000


class Timeline:
    """A sequence of audio and gaps without overlap, in samples per channel.

    Audio may arrive faster than real time, because the client has to send it. A gap costs the client nothing, so all
    gaps together may last only as long as the session has been open, plus :data:`POSITION_LEEWAY`.

    :param now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.position = 0
        self.rate = DEFAULT_RATE
        self._now = now
        self._opened_at = now()
        self._last = 0  # the position at which the longest session ends
        self._silence = 0  # samples of all gaps

    def begin(self, max_duration: float) -> None:
        """Starts the time of an open session that may last ``max_duration`` seconds."""
        self._opened_at = self._now()
        self._last = self.position + int((max_duration + POSITION_LEEWAY) * self.rate)

    def samples(self, duration: str) -> int:
        """Converts a duration of the protocol to samples."""
        return duration_to_samples(duration, self.rate)

    def advance(self, samples: int) -> bool:
        """Moves past audio. False, without a move, if that exceeds the longest session."""
        if self.position + samples > self._last:
            return False
        self.position += samples
        return True

    def can_reach(self, target: int) -> bool:
        """True if a gap from the current position to ``target`` is plausible."""
        silence = self._silence + target - self.position
        return target <= self._last and silence <= (self._now() - self._opened_at + POSITION_LEEWAY) * self.rate

    def skip_to(self, target: int, cause: GapCause) -> Gap:
        """Moves ahead to ``target``, which ``can_reach`` has accepted. Returns the gap in between."""
        gap = Gap(self.position, target - self.position, cause)
        self._silence += gap.samples
        self.position = target
        return gap
