"""What is said of one outlet: in the log, in the counters, and to whoever asks."""

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.observe.counters import Counters
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, is_mistake

#: Seconds between two lines about recordings that failed.
WARN_INTERVAL = 60.0
#: Seconds between two lines about recordings that are on their way for long.
SLOW_WARN_INTERVAL = 3600.0
#: Seconds between two lines about an outage that goes on.
OUTAGE_REMINDER = 1800.0
#: Mistakes of a plugin that have a traceback in the log: their texts may be endless.
MISTAKES = 20
#: Characters of what a plugin said.
TEXT_LIMIT = 300


class DeliveryLog:
    """Says what happens at ``outlet``, and no more often than somebody wants to read it.

    Times are seconds of the reactor's clock, but for those that are shown as dates.

    :param date: seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, outlet: Destination, counters: Counters, date: Callable[[], float]) -> None:
        #: The last thing that went wrong, None as long as nothing has.
        self.last_error: str | None = None
        #: Seconds since the epoch; None as long as it is available.
        self.unavailable_since: float | None = None
        self._outlet = outlet
        self._counters = counters
        self._date = date
        self._outage_began = 0.0
        self._said_at: float | None = None
        self._unsaid = 0
        self._said_slow_at: float | None = None
        self._unavailable_said = (0.0, "")  # when, and what
        self._mistakes: set[str] = set()

    def delivered(self, key: RecordingKey, now: float) -> None:
        """A recording was. The last that is heard of it here, often."""
        done = "stored" if self._outlet.is_carrier else "told"
        self._counters.count(
            "recordings_stored" if self._outlet.is_carrier else "notifications_sent", self._outlet.name
        )
        self._log.info("recording {done} by {outlet}: {id}", done=done, outlet=self._outlet.name, id=key.id)
        if self.unavailable_since is not None:
            after = duration(now - self._outage_began)
            self._log.info("{outlet}: available again after {after}", outlet=self._outlet.name, after=after)
            self.unavailable_since = None

    def failed(self, key: RecordingKey, reason: str, now: float) -> None:
        """A recording failed; it is tried again."""
        self.last_error = reason
        self._counters.count("delivery_failures", self._outlet.name)
        if self._said_at is not None and now < self._said_at + WARN_INTERVAL:
            self._unsaid += 1
            return
        self._log.warn(
            "{outlet}: recording {id} of {day} failed, and is tried again: {reason}{others}",
            outlet=self._outlet.name,
            id=key.id,
            day=key.day,
            reason=reason,
            others=f" ({self._unsaid} more failed since the last such line)" if self._unsaid else "",
        )
        self._said_at = now
        self._unsaid = 0

    def slow(self, key: RecordingKey, seconds: float, now: float) -> None:
        """A recording has been on its way for so long."""
        if self._said_slow_at is not None and now < self._said_slow_at + SLOW_WARN_INTERVAL:
            return
        self._said_slow_at = now
        self._log.warn(
            "{outlet}: recording {id} of {day} has been on its way for {seconds} s, and holds up others",
            outlet=self._outlet.name,
            id=key.id,
            day=key.day,
            seconds=round(seconds),
        )

    def unavailable(self, reason: str, now: float, until: float) -> None:
        """Nothing can be delivered; it is tried again at ``until``.

        Said when it begins, and again, so that the last line is never an old story: when the reason is another one,
        but once a minute at most, and each :data:`STILL` seconds.
        """
        self.last_error = reason
        if self.unavailable_since is None:
            self.unavailable_since = self._date()
            self._outage_began = now
            self._counters.count("outages", self._outlet.name)
        elif now < self._unavailable_said[0] + (
            WARN_INTERVAL if reason != self._unavailable_said[1] else OUTAGE_REMINDER
        ):
            return
        self._unavailable_said = (now, reason)
        self._log.warn(
            "{outlet}: unavailable, everything waits, tried again in {seconds}: {reason}",
            outlet=self._outlet.name,
            seconds=duration(until - now),
            reason=reason,
        )

    def rejected(self, key: RecordingKey, reason: str, is_dead: bool) -> None:
        """A recording will never be delivered here: it is a dead letter, now or when the others have it."""
        self.last_error = reason
        self._counters.count("dead_letters", self._outlet.name)
        self._log.error(
            "{outlet}: recording {id} of {day} can never be delivered, and {what}: {reason}",
            outlet=self._outlet.name,
            id=key.id,
            day=key.day,
            what="was put into dead/" if is_dead else "goes to dead/ when the others have it",
            reason=reason,
        )

    def evicted(self, key: RecordingKey) -> None:
        """A recording that was to stay here, too, had to go, or its audio, to make room for a receipt."""
        self._counters.count("recordings_removed", "evicted")
        self._log.warn(
            "the disk is full: recording {id} of {day} made room, it is stored elsewhere", id=key.id, day=key.day
        )

    def disk_failed(self, fault: BaseException) -> None:
        """What waits could not be looked for, or what is done not be put away; it will be tried again."""
        reason = self.last_error = describe(fault)
        self._log.error("{outlet}: the spool cannot be used: {reason}", outlet=self._outlet.name, reason=reason)

    def programming_error(self, fault: Exception) -> None:
        """A recording failed by a mistake in the plugin's program: its author needs the traceback, once."""
        is_telling = is_mistake(fault) or isinstance(fault, foreign_code.PluginRaised)
        if is_telling and describe(fault) not in self._mistakes and len(self._mistakes) < MISTAKES:
            self._mistakes.add(describe(fault))
            shown = foreign_code.loggable(Failure(fault))
            self._log.failure("{outlet}: the plugin has a mistake", shown, outlet=self._outlet.name)

    def search_failed(self, failure: Failure) -> None:
        """Our own mistake. The next search, each minute, goes on."""
        self._log.failure("{outlet}: the search for recordings failed", failure, outlet=self._outlet.name)

    def went_wrong(self, key: RecordingKey, failure: Failure) -> None:
        """Our own mistake."""
        self._log.failure("{outlet}: recording {id}", failure, outlet=self._outlet.name, id=key.id)


def describe(fault: BaseException) -> str:
    """What it is, as one line."""
    return in_words(fault, TEXT_LIMIT)


def duration(seconds: float) -> str:
    """Seconds as text."""
    return f"{seconds:.0f} s" if seconds >= 1.0 else "less than a second"
