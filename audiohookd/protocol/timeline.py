"""Where a session stands in the call's time, and how far its client may say that it is (protocol section 4)."""

from collections.abc import Callable

from audiohookd.protocol.duration import duration_to_samples
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.protocol.timeouts import POSITION_LEEWAY

#: Positions count at this rate as long as no media is selected, and it is the only rate there is today.
DEFAULT_RATE = 8000


class Timeline:
    """Audio and gaps, one after the other, without hole or overlap; in samples per channel.

    Audio may come faster than real time: whoever claims it has to send it. A gap costs nothing to claim, so all gaps
    together may last as long as the session has been open, and :data:`POSITION_LEEWAY` more.

    :param now: seconds, from any origin, never going back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.position = 0
        self.rate = DEFAULT_RATE
        self._now = now
        self._opened_at = now()
        self._last = 0  # the longest session ends here
        self._silence = 0  # samples of all gaps

    def begin(self, max_duration: float) -> None:
        """The session is open: from here on time counts. It lasts ``max_duration`` seconds at most."""
        self._opened_at = self._now()
        self._last = self.position + int((max_duration + POSITION_LEEWAY) * self.rate)

    def samples(self, duration: str) -> int:
        """The ``duration`` of the wire in samples."""
        return duration_to_samples(duration, self.rate)

    def advance(self, samples: int) -> bool:
        """Moves past audio. False, and nothing moves, when that is longer than a session may be."""
        if self.position + samples > self._last:
            return False
        self.position += samples
        return True

    def can_reach(self, target: int) -> bool:
        """Whether a gap from here to the position ``target`` can be true."""
        silence = self._silence + target - self.position
        return target <= self._last and silence <= (self._now() - self._opened_at + POSITION_LEEWAY) * self.rate

    def skip_to(self, target: int, cause: GapCause) -> Gap:
        """Moves to ``target``, which lies ahead and can be reached. What lies between is the gap."""
        gap = Gap(self.position, target - self.position, cause)
        self._silence += gap.samples
        self.position = target
        return gap
