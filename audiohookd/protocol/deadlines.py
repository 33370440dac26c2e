"""The deadlines of a session, as points in time."""

from collections.abc import Callable


class Deadlines:
    """Keeps up to four deadlines: next step, next client message, end of the longest session, and a warning of it.

    It arms no timer: to set a deadline costs one assignment.
    :param now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._step: float | None = None
        self._idle: float | None = None
        self._cap: float | None = None
        self._warning: float | None = None

    def wait(self, seconds: float | None) -> None:
        """Sets the deadline of a new state in ``seconds`` (None: no limit), and clears the others."""
        self._step = None if seconds is None else self._now() + seconds
        self._idle = self._cap = self._warning = None

    def touch(self, idle_timeout: float) -> None:
        """Expects the next client message within ``idle_timeout`` seconds."""
        self._idle = self._now() + idle_timeout

    def limit(self, max_duration: float) -> None:
        """Limits the session to ``max_duration`` seconds from now."""
        self._cap = self._now() + max_duration

    def warn(self, seconds: float) -> None:
        """Is due in ``seconds``, once."""
        self._warning = self._now() + seconds

    def next(self) -> float | None:
        """The earliest deadline; None if there is none."""
        first = self._step
        if self._idle is not None and (first is None or self._idle < first):
            first = self._idle
        if self._cap is not None and (first is None or self._cap < first):
            first = self._cap
        if self._warning is not None and (first is None or self._warning < first):
            first = self._warning
        return first

    def due(self) -> str | None:
        """The first expired deadline (``step``, ``idle``, ``cap`` or ``warning``), each reported once; or None."""
        now = self._now()
        for name in ("step", "idle", "cap", "warning"):
            at = getattr(self, f"_{name}")
            if at is not None and now >= at:
                setattr(self, f"_{name}", None)
                return name
        return None
