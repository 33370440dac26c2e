"""The wall clock as retention may trust it: a step forward must not make every recording old at once."""

from collections.abc import Callable

from twisted.logger import Logger

#: Seconds by which the wall clock may gain on the monotonic clock before that is a step. What NTP slews is far below.
STEP = 60.0
#: Seconds until a wall clock that was set forward is believed. An operator has so long to set it right.
DISTRUST = 3_600.0


class GuardedWallClock:
    """A wall clock that follows a step forward only after it has lasted for :data:`DISTRUST` seconds.

    Until then time goes on from before the step, at the rate of the monotonic clock. A step back is followed at once:
    recordings then only look younger than they are. For the reactor's thread.

    :param wall: seconds since the epoch.
    :param monotonic: seconds, from any origin, never going back.
    """

    _log = Logger()

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        #: The last time that was believed, and when that was by the monotonic clock.
        self._believed, self._believed_at = wall(), monotonic()
        #: When the step was seen that is not believed yet, by the monotonic clock.
        self._stepped_at: float | None = None

    def now(self) -> float:
        """Seconds since the epoch. A step is noticed, and believed, only by calls of this method."""
        wall, monotonic = self._wall(), self._monotonic()
        expected = self._believed + monotonic - self._believed_at
        if wall - expected <= STEP:
            if self._stepped_at is not None:
                self._log.info("the wall clock is right again: retention follows it")
        elif self._stepped_at is None or monotonic - self._stepped_at < DISTRUST:
            self._distrust(wall - expected, monotonic)
            return expected
        else:
            self._log.warn(
                "the wall clock has been {step:.0f} s ahead for {waited:.0f} s: retention follows it",
                step=wall - expected,
                waited=DISTRUST,
            )
        self._believed, self._believed_at, self._stepped_at = wall, monotonic, None
        return wall

    def _distrust(self, step: float, monotonic: float) -> None:
        if self._stepped_at is None:
            self._stepped_at = monotonic
            self._log.warn(
                "the wall clock was set {step:.0f} s forward, or the machine was suspended: retention ignores "
                "that for {wait:.0f} s; check the clock with timedatectl",
                step=step,
                wait=DISTRUST,
            )
