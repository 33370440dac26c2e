"""Escapes and truncates every log event before it is written, also those of plugins and libraries."""

from collections.abc import Callable, Iterator
from typing import Final

from twisted.logger import ILogObserver, LogBeginner, LogEvent, LogPublisher, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.escaping import loggable
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words

#: Characters after which a message is truncated. journald splits lines after 48 KiB, rsyslog after 8 KiB.
MESSAGE_LIMIT: Final = 8_192
#: Characters of a line of a traceback, and the number of lines kept from its start and its end.
TRACE_LINE_LIMIT: Final = 1_000
TRACE_HEAD: Final = 20
TRACE_TAIL: Final = 80
#: Characters of the name of a logger.
SYSTEM_LIMIT: Final = 200
#: Keys that observers read instead of ``log_format``: of flattened events, and of ``twisted.python.log``.
_OTHER_TEXT: Final = frozenset(
    {"log_failure", "log_flattened", "log_legacy", "message", "format", "failure", "why", "isError", "system"}
)


def escape_log(publisher: LogPublisher) -> None:
    """Puts an :class:`EscapingObserver` before each observer of ``publisher`` that has none.

    For the time after twistd has added its own observer: ``--logfile`` has no other place for one that wraps it.
    """
    for observer in list(publisher._observers):
        if not isinstance(observer, EscapingObserver):
            publisher.removeObserver(observer)
            publisher.addObserver(EscapingObserver(observer))


def escape_early_log(beginner: LogBeginner) -> None:
    """Escapes the events that were logged before the log exists, which ``beginner`` keeps for later observers."""
    for event in beginner._initialBuffer._buffer:
        escaped = _escaped(event)
        event.clear()
        event.update(escaped)


@implementer(ILogObserver)
class EscapingObserver:
    """Passes each event to ``observer``, with its text escaped and truncated.

    The message is one line without controls, bidi controls and the like, at most :data:`MESSAGE_LIMIT` characters
    long. A traceback is in the text, too, at most :data:`TRACE_HEAD` + :data:`TRACE_TAIL` lines of it; text observers
    mark its lines by a tab. In any thread.
    """

    def __init__(self, observer: ILogObserver) -> None:
        self._observer = observer

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        self._observer(_escaped(event))


def _escaped(event: LogEvent) -> LogEvent:
    """The event with its text as one value, and its other fields. Never raises."""
    others = {name: value for name, value in event.items() if name not in _OTHER_TEXT}
    failure = event.get("log_failure", event.get("failure"))
    if "log_failure" not in event and isinstance(failure, Failure):  # from log.err, whose text contains the traceback
        text = _text_of(str, event.get("why") or "Unhandled Error")
    else:
        text = _text_of(formatEvent, event)
    text = loggable(text, MESSAGE_LIMIT)
    if isinstance(failure, Failure):
        text = "\n".join((text, *_trace_lines(failure)))
    for name in ("log_system", "log_namespace"):
        if others.get(name) is not None:
            others[name] = loggable(_text_of(str, others[name]), SYSTEM_LIMIT)
    return others | {"log_format": "{log_text}", "log_text": text}


def _trace_lines(failure: Failure) -> Iterator[str]:
    lines = _text_of(failure.getTraceback).rstrip("\n").split("\n")
    left_out = len(lines) - TRACE_HEAD - TRACE_TAIL
    if left_out > 0:
        lines[TRACE_HEAD:-TRACE_TAIL] = [f"... ({left_out} lines)"]
    return (loggable(line, TRACE_LINE_LIMIT) for line in lines)


def _text_of(make: Callable[..., str], *arguments: object) -> str:
    """The text, or a replacement if a plugin's ``__str__`` fails."""
    text = foreign_code.call(make, *arguments)
    return text if isinstance(text, str) else f"(its text cannot be shown: {in_words(text.value)})"
