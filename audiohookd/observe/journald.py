"""Log lines for the journal of systemd: each begins with its priority (sd-daemon(3)), and has no date of its own."""

import os
from collections.abc import Mapping
from typing import BinaryIO, Final

from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

#: The priorities of syslog(3).
PRIORITIES: Final = {
    LogLevel.critical: 2,
    LogLevel.error: 3,
    LogLevel.warn: 4,
    LogLevel.info: 6,
    LogLevel.debug: 7,
}
_STDOUT, _STDERR = 1, 2


@implementer(ILogObserver)
class JournalObserver:
    """Writes log events to ``stream``, which journald reads. In any thread.

    All lines of an event have the priority of its level, also the lines of a traceback: journald makes an entry of
    each. A tab marks the lines after the first, so that none looks like the first line of another event.
    Characters that UTF-8 cannot encode are escaped, and so is NUL, which would end the line.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """See :class:`ILogObserver`."""
        if text := eventAsText(event, includeTimestamp=False).rstrip("\n"):
            self._stream.write(prefixed(text.replace("\n", "\n\t"), event.get("log_level", LogLevel.info)))
            self._stream.flush()


def journal_observer(environment: Mapping[str, str], file: int = _STDOUT) -> JournalObserver | None:
    """The observer that writes to the open ``file``, or None where that is not read by journald.

    :param environment: of the process; systemd says by JOURNAL_STREAM which file journald reads.
    """
    # The buffer lives as long as the process; it takes one line at a time, whole, whatever thread it comes from.
    return JournalObserver(open(file, "wb", closefd=False)) if _is_journal(file, environment) else None


def error_line(text: str, environment: Mapping[str, str], file: int = _STDERR) -> str:
    """``text`` as it is to be written to the open ``file`` when no log has begun."""
    return prefixed(text, LogLevel.error).decode() if _is_journal(file, environment) else f"{text}\n"


def prefixed(text: str, level: LogLevel) -> bytes:
    """The lines of ``text``, each with the priority of ``level``."""
    prefix = f"<{PRIORITIES.get(level, PRIORITIES[LogLevel.info])}>"
    lines = text.replace("\0", "\\x00").split("\n")
    return "".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _is_journal(file: int, environment: Mapping[str, str]) -> bool:
    try:
        about = os.fstat(file)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"
