"""A replay store that several processes share. Lookups run in a thread, with a timeout."""

from functools import partial
from typing import NoReturn, Protocol

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.auth.replay.store import IReplayStore, MemoryReplayStore, StoreUnavailable, nonce_digest
from audiohookd.interfaces import IWorkers, PoolFull


class NonceBackend(Protocol):
    """Stores nonces. Its method blocks, and is called in worker threads."""

    def add(self, entry: bytes, created: float) -> bool:
        """Stores an entry for the window, and returns whether it is new. ``created`` is that of the signature.

        :raises StoreUnavailable: the entry cannot be stored. The next call connects again.
        """


@implementer(IReplayStore)
class SharedReplayStore:
    """Looks up nonces in ``nonces``, in the threads of ``workers``, for at most ``timeout`` seconds.

    The nonces that this daemon has accepted are in memory, too. If the shared store loses them, because its clock was
    set or its file was deleted, this daemon still rejects their replay.

    A lookup that has waited for a thread for ``timeout`` seconds is skipped, so that a backlog is not worked off
    after the store has hung.
    """

    def __init__(
        self, nonces: NonceBackend, window: float, workers: IWorkers, clock: IReactorTime, timeout: float
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
        work = partial(self._add, nonce_digest(key_id, nonce), created, deadline)
        answer: Deferred[bool] = self._workers.do(work)
        return answer.addTimeout(self._timeout, self._clock).addErrback(_is_down)

    def _add(self, entry: bytes, created: float, deadline: float) -> bool:
        """Runs in a thread."""
        if self._clock.seconds() >= deadline:
            raise StoreUnavailable("the lookup has timed out")
        return self._nonces.add(entry, created)


def _is_down(failure: Failure) -> NoReturn:
    if failure.check(defer.TimeoutError):
        raise StoreUnavailable("timed out: no answer")
    if failure.check(PoolFull):
        raise StoreUnavailable("too many lookups wait for an answer")
    failure.raiseException()
