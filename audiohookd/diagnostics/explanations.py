"""Diagnoses of rejected requests for the admin port: computed in a thread, one at a time, shared and cached.

90 local clients that asked for the diagnoses of 50 requests, with hints, held up every ``opened`` for 1.6 to 2.7 s
when the reactor computed them. A thread still takes the interpreter from the reactor, so the reactor pauses after
each request, and the work for one request is bounded, too (:mod:`audiohookd.diagnostics.explain`).
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, ensureDeferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from audiohookd.auth.keys.model import Keys
from audiohookd.diagnostics.hypotheses import HINTS_TAKEN, Hints
from audiohookd.diagnostics.recent import LIMIT, RecentRejections, RejectedRequest
from audiohookd.interfaces import IWorkers, PoolFull

#: Most answers that are being computed or wait. One more is rejected. Each takes about a second.
MAX_WAITING: Final = 4
#: Most diagnoses in the cache: all requests, for some sets of hints. About 3 KB each.
MAX_CACHED: Final = 4 * LIMIT
#: Largest answer, in bytes. A slow client keeps it in memory for up to 30 s, and there may be 100 clients.
MAX_ANSWER: Final = 256 * 1024
#: Pause in seconds after each diagnosis, so that the reactor can run.
PAUSE: Final = 0.01


class Explanations:
    """Answers questions about rejected requests. For the reactor thread only.

    Questions with the same hints share one computation. A diagnosis is cached until the keys change.

    :param workers: a pool, of which one thread is used at a time.
    :param keys: returns the current keys.
    """

    def __init__(
        self, reactor: IReactorTime, workers: IWorkers, refused: RecentRejections, keys: Callable[[], Keys]
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._refused = refused
        self._keys = keys
        self._cached_for = keys()
        self._cache: OrderedDict[tuple[RejectedRequest, Hints], str] = OrderedDict()
        #: The answers that wait, by the hints of their question. The first is being computed.
        self._waiting: OrderedDict[Hints, list[Deferred[bytes]]] = OrderedDict()

    def __len__(self) -> int:
        """Returns the number of cached diagnoses."""
        return len(self._cache)

    def explain(self, hosts: tuple[str, ...], paths: tuple[str, ...]) -> "Deferred[bytes]":
        """Returns a JSON object: ``refused``, the last requests, newest first, and ``omitted``, how many did not fit.

        Fails with :class:`PoolFull` while too many other questions wait.

        :param hosts: names that Genesys Cloud may have been configured to call; ``paths`` likewise.
        """
        hints = Hints(hosts[:HINTS_TAKEN], paths[:HINTS_TAKEN])
        if hints not in self._waiting and len(self._waiting) >= MAX_WAITING:
            return fail(PoolFull(f"{len(self._waiting)} questions about rejected requests wait"))
        is_idle = not self._waiting
        answer: Deferred[bytes] = Deferred()
        self._waiting.setdefault(hints, []).append(answer)
        if is_idle:
            ensureDeferred(self._answer_all())
        return answer

    async def _answer_all(self) -> None:
        """Answers questions until none is left."""
        while self._waiting:
            hints = next(iter(self._waiting))
            outcome = await _outcome(self._computed(hints))
            for answer in self._waiting.pop(hints):
                answer.callback(outcome)
                await deferLater(self._reactor, 0)  # 90 answers in one turn held up ``opened`` for 0.2 s

    async def _computed(self, hints: Hints) -> bytes:
        texts: list[str] = []
        left = MAX_ANSWER - len(_document([], len(self._refused) + LIMIT))
        refused = list(self._refused)
        for request in refused:
            text = await self._explained(request, hints)
            left -= len(text) + 2
            if left < 0:
                break
            texts.append(text)
        return _document(texts, len(refused) - len(texts))

    async def _explained(self, request: RejectedRequest, hints: Hints) -> str:
        keys = self._keys()
        if keys is not self._cached_for:
            self._cache.clear()
            self._cached_for = keys
        text = self._cache.get((request, hints))
        if text is None:
            text = await self._workers.do(partial(_explain, request, keys, hints))
            await deferLater(self._reactor, PAUSE)
            if keys is self._cached_for:
                self._cache[request, hints] = text
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return text


async def _outcome(work: "Coroutine[Any, Any, bytes]") -> Any:
    """Returns the result, or the failure, so that a failure does not end the other questions."""
    try:
        return await work
    except Exception:
        return Failure()


def _explain(request: RejectedRequest, keys: Keys, hints: Hints) -> str:
    """Returns a diagnosis as ASCII JSON. Runs in a thread."""
    return json.dumps(request.explained(keys, hints))


def _document(refused: list[str], omitted: int) -> bytes:
    return f'{{"refused": [{", ".join(refused)}], "omitted": {omitted}}}'.encode("ascii")
