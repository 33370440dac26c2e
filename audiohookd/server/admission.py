"""The plugins' say in how a session is opened, within its time."""

from collections.abc import Callable, Iterable
from typing import get_args

from msgspec import Struct, structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.interfaces import IAdmission, IOpening, ISession
from audiohookd.protocol.events import OpenRequested
from audiohookd.protocol.media import Media, preferred
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.runtime import foreign_code
from audiohookd.server.dispatch import Fanout, Watcher


class Terms(Struct, frozen=True):
    """How to open a session, or why not."""

    media: tuple[Media, ...]
    start_paused: bool = False
    discard_to: int | None = None
    supported_languages: tuple[str, ...] = ()
    refusal: tuple[DisconnectReason, str] | None = None


@implementer(IOpening)
class Opening:
    """See :class:`IOpening`. What plugins assign counts once it is settled: half a change is no change."""

    def __init__(self, session: ISession, asked: OpenRequested) -> None:
        self.session = session
        #: Nobody waits for the outcome any more.
        self.over = False
        self.supported_languages_wanted = bool(asked.request.supported_languages)
        self._offers = asked.offers
        # An empty list of offers is the client's wish for a session without audio. A list of which nothing is left
        # is not, and `media: []` would be the wrong answer to it.
        self._wants_audio = bool(asked.request.media)
        self._refusal: tuple[DisconnectReason, str] | None = None
        self.terms = Terms(asked.offers)
        self.reset()

    def refuse(self, info: str, reason: DisconnectReason = "error") -> None:
        """See :class:`IOpening`."""
        self._refusal = (reason, info)

    def reset(self) -> None:
        """Back to what was settled last."""
        self.media = self.terms.media
        self.start_paused = self.terms.start_paused
        self.discard_to = self.terms.discard_to
        self.supported_languages = self.terms.supported_languages
        self._refusal = self.terms.refusal

    def settle(self) -> None:
        """Takes over what was assigned.

        A refusal counts whatever else is wrong.

        :raises ValueError: media that were not offered, a position that is none, or a refusal without a reason of the
            protocol or a text; the session is refused with another one then.
        """
        if self._refusal is not None:
            self._settle_refusal(*self._refusal)
            return
        media = tuple(self.media)
        if not all(one in self._offers for one in media):
            raise ValueError("media that were not offered")
        if self.discard_to is not None and self.discard_to < 0:
            raise ValueError("discard_to is negative")
        languages = tuple(str(language) for language in self.supported_languages)
        self.terms = Terms(media, bool(self.start_paused), self.discard_to, languages)

    def _settle_refusal(self, reason: DisconnectReason, info: str) -> None:
        if reason in get_args(DisconnectReason) and isinstance(info, str):
            self.terms = structs.replace(self.terms, refusal=(reason, info))
            return
        self.terms = structs.replace(self.terms, refusal=("error", "refused"))
        raise ValueError(f"refuse({info!r}, {reason!r}): info must be a str, and reason one of the protocol")

    def decide(self) -> Media | None:
        """The medium to open with; None for none. Refuses when the client wants audio and no offer is left."""
        chosen = preferred(self.terms.media)
        if chosen is None and self._wants_audio and self.terms.refusal is None:
            self.refuse("no supported media")
            self.settle()
        return chosen


def admissions(watchers: Iterable[Watcher]) -> list[tuple[Watcher, IAdmission]]:
    """Those of ``watchers`` that want to be asked, in order."""
    return [(watcher, IAdmission(watcher.plugin)) for watcher in watchers if IAdmission.providedBy(watcher.plugin)]


class Asking:
    """Asks the plugins of one session about its opening, in order, until one refuses or their time is over.

    What they say later changes nothing. One that hangs keeps nothing of the session.

    :param done: called once, with the opening, unless :meth:`stop` was called before.
    """

    def __init__(self, opening: Opening, fanout: Fanout, done: Callable[[Opening], None]) -> None:
        self._opening = opening
        self._fanout: Fanout | None = fanout
        self._done = done
        self._unanswered = admissions(fanout.watchers)
        self._timer: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None

    def start(self, clock: IReactorTime, timeout: float, late: Callable[[list[Watcher]], None]) -> None:
        """Asks.

        :param late: called after ``timeout`` seconds, before ``done``, with the plugins that did not answer.
        """
        self._asking = asking = Deferred.fromCoroutine(self._ask())
        asking.addCallback(self._finish)
        if not self._opening.over:
            self._timer = clock.callLater(timeout, self._expire, late)

    def stop(self) -> None:
        """Waits for no answer any more."""
        self._opening.over = True
        self._fanout = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()  # harmless when all have answered

    async def _ask(self) -> None:
        fanout = self._fanout
        while self._unanswered and fanout is not None:
            watcher, admission = self._unanswered[0]
            self._opening.session = fanout.view(watcher)
            outcome = await foreign_code.outcome_of(admission.admit, self._opening)
            failure = outcome.failure
            if failure is None and not self._opening.over:
                failure = _failure_of(self._opening.settle)
            if failure is not None:
                self._opening.reset()
                if not (self._opening.over and failure.check(CancelledError)):
                    fanout.report(watcher, "admit" if self._opening.terms.refusal is None else "refuse", failure)
            elif outcome.result is not None:
                kind = type(outcome.result).__name__
                misuse = f"admit returned {kind}, which has no effect: to refuse, call opening.refuse()"
                fanout.report_misuse(watcher, misuse)
            if self._opening.over:
                return
            self._unanswered.pop(0)
            if self._opening.terms.refusal is not None:
                return

    def _expire(self, late: Callable[[list[Watcher]], None]) -> None:
        late([watcher for watcher, _ in self._unanswered])
        self._finish()

    def _finish(self, _: object = None) -> None:
        if not self._opening.over:
            self.stop()
            self._done(self._opening)


def _failure_of(settle: Callable[[], None]) -> Failure | None:
    """What plugins assigned may be anything."""
    failure = foreign_code.call(settle)
    return failure if isinstance(failure, Failure) else None
