"""What a session waits for, as points in time."""

from collections.abc import Callable


class Deadlines:
    """Up to three at once: the next step, a sign of life, the longest session.

    Setting one is an assignment: no timer is armed here. And until when to keep quiet, which nobody waits for.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._step: float | None = None
        self._idle: float | None = None
        self._cap: float | None = None
        self._quiet_until = now()

    def wait(self, seconds: float | None) -> None:
        """A new state: its own time to live (None: no limit), and none of the others."""
        self._step = None if seconds is None else self._now() + seconds
        self._idle = self._cap = None

    def sign_of_life(self, idle_timeout: float) -> None:
        """The client said something: the next word is due in ``idle_timeout`` seconds."""
        self._idle = self._now() + idle_timeout

    def limit(self, max_duration: float) -> None:
        """The session may last ``max_duration`` seconds from now."""
        self._cap = self._now() + max_duration

    def next(self) -> float | None:
        """The first of them; None when nothing is awaited."""
        first = self._step
        if self._idle is not None and (first is None or self._idle < first):
            first = self._idle
        if self._cap is not None and (first is None or self._cap < first):
            first = self._cap
        return first

    def due(self) -> str | None:
        """``step``, ``idle``, ``cap`` (the first that is over, once each), or None."""
        now = self._now()
        for name in ("step", "idle", "cap"):
            at = getattr(self, f"_{name}")
            if at is not None and now >= at:
                setattr(self, f"_{name}", None)
                return name
        return None

    def keep_quiet(self, seconds: float) -> None:
        """The client has had too much of us. A longer silence that was asked for before stays."""
        self._quiet_until = max(self._quiet_until, self._now() + seconds)

    @property
    def is_quiet(self) -> bool:
        """The client is still to be left in peace."""
        return self._now() < self._quiet_until
