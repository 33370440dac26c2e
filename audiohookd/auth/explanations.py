"""Diagnoses of rejected requests for the admin port: computed in a thread, one at a time, shared and remembered.

90 local clients that asked for the diagnoses of 50 requests, with hints, held up every ``opened`` for 1.6 to 2.7 s
when the reactor computed them. A thread still takes the interpreter from the reactor, so the reactor pauses after
each request, and the work for one request is bounded, too (:mod:`audiohookd.auth.diagnosis`).
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

from audiohookd.auth.keys import Keys
from audiohookd.auth.refused import LIMIT, RefusedRequest, RefusedRequests
from audiohookd.auth.suspects import HINTS_TAKEN, Hints
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.workers import PoolFull

#: Answers that are computed or wait for that; one more is rejected. Each takes about a second.
MAX_WAITING: Final = 4
#: Diagnoses that are remembered: those of all requests, for some sets of hints. About 3 KB each.
MAX_REMEMBERED: Final = 4 * LIMIT
#: Bytes of one answer. A client that reads slowly keeps it in memory for up to 30 s, and there may be 100 of them.
MAX_ANSWER: Final = 256 * 1024
#: Seconds after each diagnosis in which only the reactor computes.
PAUSE: Final = 0.01


class Explanations:
    """Answers questions about rejected requests. For the reactor thread only.

    Questions with the same hints share one computation. A diagnosis is remembered as long as the keys are the same.

    :param workers: a pool of which one thread is used at a time.
    :param keys: gives the keys of now.
    """

    def __init__(
        self, reactor: IReactorTime, workers: IWorkers, refused: RefusedRequests, keys: Callable[[], Keys]
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._refused = refused
        self._keys = keys
        self._of = keys()
        self._remembered: OrderedDict[tuple[RefusedRequest, Hints], str] = OrderedDict()
        #: What is asked, and the answers that wait for it. The first is being computed.
        self._waiting: OrderedDict[Hints, list[Deferred[bytes]]] = OrderedDict()

    def __len__(self) -> int:
        """How many diagnoses are remembered."""
        return len(self._remembered)

    def explain(self, hosts: tuple[str, ...], paths: tuple[str, ...]) -> "Deferred[bytes]":
        """A JSON object: ``refused``, the last requests, the newest first, and ``omitted``, how many did not fit.

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
        """Ends when no question is left."""
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

    async def _explained(self, request: RefusedRequest, hints: Hints) -> str:
        keys = self._keys()
        if keys is not self._of:
            self._remembered.clear()
            self._of = keys
        text = self._remembered.get((request, hints))
        if text is None:
            text = await self._workers.do(partial(_explain, request, keys, hints))
            await deferLater(self._reactor, PAUSE)
            if keys is self._of:
                self._remembered[request, hints] = text
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return text


async def _outcome(work: "Coroutine[Any, Any, bytes]") -> Any:
    """What came of it, which may be a failure: the next question is answered all the same."""
    try:
        return await work
    except Exception:
        return Failure()


def _explain(request: RefusedRequest, keys: Keys, hints: Hints) -> str:
    """In the thread. JSON, all of it ASCII."""
    return json.dumps(request.explained(keys, hints))


def _document(refused: list[str], omitted: int) -> bytes:
    return f'{{"refused": [{", ".join(refused)}], "omitted": {omitted}}}'.encode("ascii")
