"""The base of the notifier plugins, which send notifications by blocking calls."""

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
#: Seconds to connect, if the timeout of the response is longer.
CONNECT_TIMEOUT = 5.0
#: Seconds. A longer Retry-After is shortened to this.
MAX_RETRY_AFTER = 86_400.0

_DELAY = re.compile(r"\d{1,9}", re.ASCII)


class NotificationRejected(Exception):
    """The receiver rejects this notification. It is retried, and does not hold up others."""


@implementer(IPlugin, INotifier)
class BlockingNotifier(ABC):
    """Composes notifications and sends them in its own worker threads.

    :param receiver: identifies the receiver, which no two tables may share.
    :param key: the configuration key to name in the error if two tables share it.
    :param concurrency: how many notifications are sent at a time.
    """

    #: The largest JSON of a notification, in bytes; None for no limit.
    limit: int | None = None

    def __init__(self, receiver: str, key: str, concurrency: int, daemon: IDaemon) -> None:
        self.concurrency = concurrency
        try:
            daemon.claim(receiver)
        except ValueError as error:
            raise ValueError(f"{key}: another table notifies the same receiver: {error}") from error
        self._workers = daemon.workers("notify", concurrency, concurrency)
        self._now: Callable[[], float] = daemon.now

    def observe(self, session: ISession) -> ISessionObserver | None:
        """Observes no session."""
        return None

    def notify(self, recording: IRecording) -> "Deferred[None]":
        """See :class:`INotifier`."""
        sent: Deferred[None] = self._workers.do(partial(self._compose_and_send, recording, self._now()))
        return sent

    @abstractmethod
    def send(self, notification: Notification, now: float) -> None:
        """Sends the notification, in a worker thread; returns when the receiver has accepted it.

        :param now: seconds since the epoch.
        :raises Unavailable: the receiver accepts no notification at the moment.
        """

    def _compose_and_send(self, recording: IRecording, now: float) -> None:
        self.send(compose(recording, self.limit), now)


def rejection(status: int, text: str, retry_after: str | None, now: float) -> Exception:
    """The exception for a response with an HTTP status that is no success.

    :param retry_after: the header ``Retry-After``.
    :param now: seconds since the epoch.
    """
    if status in (408, 429) or status >= 500:
        return Unavailable(text, delay(retry_after, now))
    return NotificationRejected(text)


def delay(retry_after: str | None, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait, as a number or a date; None if it is neither."""
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
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
