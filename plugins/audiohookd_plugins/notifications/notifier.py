"""What the plugins have in common that tell others of recordings by calls which block."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Annotated

from msgspec import Meta
from twisted.internet.defer import Deferred
from zope.interface import implementer

from audiohookd.interfaces import IDaemon, INotifier, IPlugin, IRecording, ISession, ISessionObserver, Unavailable
from audiohookd.units import Duration
from audiohookd_plugins.notifications.payload import Notification, compose

Seconds = Annotated[Duration, Meta(gt=0, le=300)]
Concurrency = Annotated[int, Meta(ge=1, le=64)]
#: To connect, when the answer may take longer. Seconds.
CONNECT_TIMEOUT = 5.0
#: Nobody can make us wait longer than that. Seconds.
LONGEST_RETRY_AFTER = 86_400.0

_DELAY = re.compile(r"\d{1,9}", re.ASCII)


class NotificationRejected(Exception):
    """The other side does not want this notice, or not as it is. It is tried again, alone."""


@implementer(IPlugin, INotifier)
class BlockingNotifier(ABC):
    """Composes notices and sends them, in worker threads of its own.

    :param receiver: of the notices, which no two tables may share.
    :param key: of the configuration, that is at fault if two do.
    :param concurrency: how many notices at a time.
    """

    #: How many bytes the JSON of a notice may have; None for any number.
    limit: int | None = None

    def __init__(self, receiver: str, key: str, concurrency: int, daemon: IDaemon) -> None:
        self.concurrency = concurrency
        try:
            daemon.claim(receiver)
        except ValueError as fault:
            raise ValueError(f"{key}: another table tells the same: {fault}") from fault
        self._workers = daemon.workers("notify", concurrency, concurrency)
        self._now: Callable[[], float] = daemon.now

    def observe(self, session: ISession) -> ISessionObserver | None:
        """Nobody: recordings are told of, not sessions."""
        return None

    def notify(self, recording: IRecording) -> "Deferred[None]":
        """See :class:`INotifier`."""
        sent: Deferred[None] = self._workers.do(partial(self._tell, recording, self._now()))
        return sent

    @abstractmethod
    def send(self, notice: Notification, now: float) -> None:
        """Sends the notice; returns when it was accepted. In a worker thread.

        :param now: seconds since the epoch.
        :raises Unavailable: nothing can be sent.
        """

    def _tell(self, recording: IRecording, now: float) -> None:
        self.send(compose(recording, self.limit), now)


def refusal(status: int, text: str, retry_after: str | None, now: float) -> Exception:
    """What an answer with this HTTP status, which is no success, is to be raised as.

    :param retry_after: the header of that name.
    :param now: seconds since the epoch.
    """
    if status in (408, 429) or status >= 500:
        return Unavailable(text, delay(retry_after, now))
    return NotificationRejected(text)


def delay(retry_after: str | None, now: float) -> float | None:
    """The seconds that a header ``Retry-After`` asks to wait, be it a number or a date; None when it is neither."""
    if retry_after is None:
        return None
    if _DELAY.fullmatch(retry_after.strip()):
        seconds = float(retry_after)
    else:
        try:
            date = parsedate_to_datetime(retry_after)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
