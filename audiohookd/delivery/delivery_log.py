"""Log lines and counters of one destination."""

from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.observe.counters import Counters
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, is_mistake

#: Seconds between two log lines about failed deliveries.
WARN_INTERVAL = 60.0
#: Seconds between two log lines about slow deliveries.
SLOW_WARN_INTERVAL = 3600.0
#: Seconds between two log lines about a continuing outage.
OUTAGE_REMINDER = 1800.0
#: Different programming errors of a plugin that are logged with a traceback. Their texts may vary without end.
MAX_TRACEBACKS = 20
#: Characters of a plugin's error text that are logged.
TEXT_LIMIT = 300


class DeliveryLog:
    """Writes rate-limited log lines about one destination, and counts its events.

    Times are seconds of the reactor's clock.
    """

    _log = Logger()

    def __init__(self, destination: Destination, counters: Counters) -> None:
        self._destination = destination
        self._counters = counters
        self._outage_began: float | None = None  # None while the destination is available
        self._warned_at: float | None = None
        self._suppressed = 0
        self._slow_warned_at: float | None = None
        self._outage_warned = (0.0, "")  # when, and for which reason
        self._logged_mistakes: set[str] = set()

    def delivered(self, key: RecordingKey, now: float) -> None:
        """Logs and counts a delivered recording, and the end of an outage."""
        is_stored = self._destination.is_carrier
        done = "stored" if is_stored else "announced"
        self._counters.count("recordings_stored" if is_stored else "notifications_sent", self._destination.name)
        self._log.info(
            "recording {done} by {destination}: {id}", done=done, destination=self._destination.name, id=key.id
        )
        if self._outage_began is not None:
            after = duration(now - self._outage_began)
            self._log.info(
                "{destination}: available again after {after}", destination=self._destination.name, after=after
            )
            self._outage_began = None

    def failed(self, key: RecordingKey, reason: str, now: float) -> None:
        """Logs and counts a failed delivery that will be retried."""
        self._counters.count("delivery_failures", self._destination.name)
        if self._warned_at is not None and now < self._warned_at + WARN_INTERVAL:
            self._suppressed += 1
            return
        self._log.warn(
            "{destination}: delivery of recording {id} of {day} failed, will retry: {reason}{others}",
            destination=self._destination.name,
            id=key.id,
            day=key.day,
            reason=reason,
            others=f" ({self._suppressed} more failed since the last such line)" if self._suppressed else "",
        )
        self._warned_at = now
        self._suppressed = 0

    def slow(self, key: RecordingKey, seconds: float, now: float) -> None:
        """Logs a delivery that has taken ``seconds`` so far."""
        if self._slow_warned_at is not None and now < self._slow_warned_at + SLOW_WARN_INTERVAL:
            return
        self._slow_warned_at = now
        self._log.warn(
            "{destination}: delivery of recording {id} of {day} has taken {seconds} s so far, and delays others",
            destination=self._destination.name,
            id=key.id,
            day=key.day,
            seconds=round(seconds),
        )

    def unavailable(self, reason: str, now: float, until: float) -> None:
        """Logs and counts an outage: nothing can be delivered; the next attempt is at ``until``.

        The first line appears when the outage begins. Then one follows every :data:`OUTAGE_REMINDER` seconds, or
        after :data:`WARN_INTERVAL` seconds when the reason has changed.
        """
        if self._outage_began is None:
            self._outage_began = now
            self._counters.count("outages", self._destination.name)
        elif now < self._outage_warned[0] + (WARN_INTERVAL if reason != self._outage_warned[1] else OUTAGE_REMINDER):
            return
        self._outage_warned = (now, reason)
        self._log.warn(
            "{destination}: unavailable, all recordings wait, retry in {seconds}: {reason}",
            destination=self._destination.name,
            seconds=duration(until - now),
            reason=reason,
        )

    def rejected(self, key: RecordingKey, reason: str, is_dead: bool) -> None:
        """Logs and counts a recording that this destination rejected for good.

        :param is_dead: whether it is a dead letter already; otherwise it becomes one after the other destinations.
        """
        self._counters.count("dead_letters", self._destination.name)
        self._log.error(
            "{destination}: recording {id} of {day} rejected for good, {consequence}: {reason}",
            destination=self._destination.name,
            id=key.id,
            day=key.day,
            consequence="moved to dead/" if is_dead else "moves to dead/ after the other destinations",
            reason=reason,
        )

    def evicted(self, key: RecordingKey) -> None:
        """Logs and counts a local copy that was removed because the full disk had no room for its receipt."""
        self._counters.count("recordings_removed", "evicted")
        self._log.warn(
            "disk full: evicted the local copy of recording {id} of {day}, already stored remotely",
            id=key.id,
            day=key.day,
        )

    def disk_failed(self, error: BaseException) -> None:
        """Logs that the spool could not be searched, or that a rejection could not be recorded; both are retried."""
        reason = describe(error)
        self._log.error(
            "{destination}: cannot use the spool: {reason}", destination=self._destination.name, reason=reason
        )

    def programming_error(self, error: Exception) -> None:
        """Logs the traceback of an error in the plugin's code, once for each text."""
        is_worth_logging = is_mistake(error) or isinstance(error, foreign_code.PluginRaised)
        if (
            is_worth_logging
            and describe(error) not in self._logged_mistakes
            and len(self._logged_mistakes) < MAX_TRACEBACKS
        ):
            self._logged_mistakes.add(describe(error))
            shown = foreign_code.loggable(Failure(error))
            self._log.failure(
                "{destination}: programming error in the plugin", shown, destination=self._destination.name
            )

    def search_failed(self, failure: Failure) -> None:
        """Logs an unexpected error of a search. The next search, within a minute, runs as usual."""
        self._log.failure(
            "{destination}: the search for recordings failed", failure, destination=self._destination.name
        )

    def internal_error(self, key: RecordingKey, failure: Failure) -> None:
        """Logs and counts an unexpected error of audiohookd itself."""
        self._counters.count("internal_errors")
        self._log.failure(
            "{destination}: internal error while delivering recording {id}",
            failure,
            destination=self._destination.name,
            id=key.id,
        )


def describe(error: BaseException) -> str:
    """``error`` as one line of text."""
    return in_words(error, TEXT_LIMIT)


def duration(seconds: float) -> str:
    """``seconds`` as text for a log line."""
    return f"{seconds:.0f} s" if seconds >= 1.0 else "less than a second"
