"""Log lines with text that a log file or syslog cannot encode: a file name that is not UTF-8, say."""

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogPublisher, eventAsText
from zope.interface import implementer


def escape_log(publisher: LogPublisher) -> None:
    r"""Makes each observer of ``publisher`` write such a line with escapes (``\\udce9``), where it would be missing.

    For the time after twistd has added its own observer: ``--logger`` has no other place for one that wraps it.
    """
    for observer in list(publisher._observers):
        publisher.removeObserver(observer)
        publisher.addObserver(_EscapingObserver(observer))


@implementer(ILogObserver)
class _EscapingObserver:
    """Passes events on; one that cannot be encoded is passed on again, with escapes."""

    def __init__(self, observer: Callable[[LogEvent], None]) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        try:
            self._observer(event)
        except UnicodeEncodeError:
            self._observer(_escaped(event))


def _escaped(event: LogEvent) -> LogEvent:
    """The event with its text, traceback included, as one value that UTF-8 can encode."""
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    about = {name: event[name] for name in ("log_level", "log_namespace", "log_time", "log_system") if name in event}
    return about | {"log_format": "{text}", "text": text.encode("utf-8", "backslashreplace").decode("utf-8")}
