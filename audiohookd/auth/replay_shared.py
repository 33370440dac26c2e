"""Nonces kept where other processes see them, too: asked in a thread, and not for long."""

from functools import partial
from typing import NoReturn, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.auth.replay import IReplayStore, MemoryReplayStore, StoreDown, fingerprint
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.workers import PoolFull


class Nonces(Protocol):
    """What a store keeps. Its method blocks, and is called in threads."""

    def add(self, entry: bytes, created: float) -> bool:
        """Keep an entry for the window, and say whether it is new. ``created`` is that of the signature.

        :raises StoreDown: it cannot be kept. The next call tries again, from the start.
        """


@implementer(IReplayStore)
class SharedReplayStore:
    """Asks ``nonces`` in ``workers``; who has no answer after ``timeout`` seconds is told that the store is down.

    What this daemon itself has accepted is in memory, too: when a store forgets too early, because its own clock was
    set or its file deleted, no nonce of this daemon is new again.

    What has waited for a thread for so long is not asked any more: after a store has hung, nobody waits for the
    answers that nobody waits for.
    """

    def __init__(
        self, nonces: Nonces, window: float, workers: IWorkers, clock: IReactorTime, timeout: float
    ) -> None:
        self.window = window
        self._nonces = nonces
        self._own = MemoryReplayStore(window, clock.seconds)
        self._workers = workers
        self._clock = clock
        self._timeout = timeout

    def first_use(self, key_id: str, nonce: str, created: float) -> "Deferred[bool]":
        """See :class:`IReplayStore`."""
        if not self._own.first_use(key_id, nonce, created):
            return defer.succeed(False)
        deadline = self._clock.seconds() + self._timeout
        work = partial(self._add, fingerprint(key_id, nonce), created, deadline)
        asked: Deferred[bool] = self._workers.do(work)
        return asked.addTimeout(self._timeout, self._clock).addErrback(_is_down)

    def _add(self, entry: bytes, created: float, deadline: float) -> bool:
        """In a thread."""
        if self._clock.seconds() >= deadline:
            raise StoreDown("nobody waits for the answer any more")
        return self._nonces.add(entry, created)


def _is_down(failure: Failure) -> NoReturn:
    if failure.check(defer.TimeoutError):
        raise StoreDown("no answer in time")
    if failure.check(PoolFull):
        raise StoreDown("too many wait for an answer")
    failure.raiseException()
