"""Lets the plugins change or reject a session before it is opened, within a time limit."""

from collections.abc import Callable, Iterable
from operator import index
from typing import Final, get_args

import msgspec
from msgspec import Struct, structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.interfaces import IAdmission, IOpening, ISession
from audiohookd.protocol.events import OpenRequested
from audiohookd.protocol.media import Media, MediaPreference
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.runtime import foreign_code
from audiohookd.session.fanout import Fanout, Watcher

#: The largest ``discard_to`` in samples (per channel). The protocol limits durations to 16 digits.
MAX_POSITION: Final = 2**53
#: The most bytes as JSON of what a plugin adds to ``opened`` or ``disconnect``, which have 64,000 in all.
MAX_SIZE: Final = 32_000


class OpenTerms(Struct, frozen=True):
    """How to open a session, or why to reject it."""

    media: tuple[Media, ...]
    start_paused: bool = False
    discard_to: int | None = None
    supported_languages: tuple[str, ...] = ()
    refusal: tuple[DisconnectReason, str] | None = None


@implementer(IOpening)
class Opening:
    """See :class:`IOpening`. ``settle`` applies what a plugin assigned, completely or not at all."""

    def __init__(
        self,
        session: ISession,
        asked: OpenRequested,
        preference: MediaPreference = MediaPreference(),  # noqa: B008 - immutable
    ) -> None:
        self.session = session
        #: True once the outcome is decided or no longer needed.
        self.over = False
        self.supported_languages_wanted = bool(asked.request.supported_languages)
        #: Name of the plugin that rejected the session, or "".
        self.rejected_by = ""
        self._offers = asked.offers
        # With an empty list of offers the client asks for a session without audio. If it made offers and none is
        # left, `media: []` would be the wrong answer.
        self._wants_audio = bool(asked.request.media) and preference.audio
        self._preference = preference
        self._refusal: tuple[DisconnectReason, str] | None = None
        self.terms = OpenTerms(preference.accepted(asked.offers))
        self.reset()

    def reject(self, info: str, reason: DisconnectReason = "error") -> None:
        """See :class:`IOpening`."""
        self._refusal = (reason, info)

    def reset(self) -> None:
        """Reverts the attributes to the terms that were settled last."""
        self.media = self.terms.media
        self.start_paused = self.terms.start_paused
        self.discard_to = self.terms.discard_to
        self.supported_languages = self.terms.supported_languages
        self._refusal = self.terms.refusal

    def settle(self) -> None:
        """Applies the assigned attributes. A rejection is applied even if other attributes are invalid.

        :raises TypeError, ValueError: a medium was not offered, the position is no number of samples, the languages
            are too long or no texts, or the arguments of ``reject`` are invalid (the session is then rejected with a
            default text).
        """
        if self._refusal is not None:
            self._settle_refusal(*self._refusal)
            return
        media = tuple(self.media)
        if not all(medium in self._offers for medium in media):
            raise ValueError("media contains a medium that the client did not offer")
        discard_to = None if self.discard_to is None else index(self.discard_to)
        if discard_to is not None and not 0 <= discard_to <= MAX_POSITION:
            raise ValueError(f"discard_to must be a position of 0 to {MAX_POSITION} samples")
        languages = tuple(str(language) for language in self.supported_languages)
        _check_size("supported_languages", languages)
        self.terms = OpenTerms(media, bool(self.start_paused), discard_to, languages)

    def _settle_refusal(self, reason: DisconnectReason, info: str) -> None:
        self.terms = structs.replace(self.terms, refusal=("error", "refused"))
        if not (reason in get_args(DisconnectReason) and isinstance(info, str)):
            raise ValueError(f"reject({info!r}, {reason!r}): info must be a str, and reason one of the protocol")
        _check_size("info", info)
        self.terms = structs.replace(self.terms, refusal=(reason, info))

    def decide(self) -> Media | None:
        """The medium to open with; None for a session without audio.

        Rejects the session if the client wants audio and no offer is left.
        """
        chosen = self._preference.best(self.terms.media)
        if chosen is None and self._wants_audio and self.terms.refusal is None:
            self.reject("no supported media")
            self.settle()
        return chosen


def _check_size(name: str, value: object) -> None:
    """:raises ValueError: ``value`` is too long as JSON, or has half of a surrogate pair."""
    size = len(msgspec.json.encode(value))
    if size > MAX_SIZE:
        raise ValueError(f"{name}: {size} bytes as JSON exceed the limit of {MAX_SIZE}")


def admissions(watchers: Iterable[Watcher]) -> list[tuple[Watcher, IAdmission]]:
    """The ``watchers`` with a plugin that provides IAdmission, in order."""
    return [(watcher, IAdmission(watcher.plugin)) for watcher in watchers if IAdmission.providedBy(watcher.plugin)]


class Asking:
    """Calls ``admit`` of the plugins of one session in order, until one rejects the session or the time is over.

    A late answer changes nothing. A plugin that hangs does not keep the session in memory.

    :param done: called once with the opening, unless :meth:`stop` was called before.
    """

    def __init__(self, opening: Opening, fanout: Fanout, done: Callable[[Opening], None]) -> None:
        self._opening = opening
        self._fanout: Fanout | None = fanout
        self._done = done
        self._unanswered = admissions(fanout.watchers)
        self._timer: IDelayedCall | None = None
        self._asking: Deferred[None] | None = None

    def start(self, clock: IReactorTime, timeout: float, late: Callable[[list[Watcher]], None]) -> None:
        """Calls the first plugin.

        :param timeout: seconds for all plugins together.
        :param late: called on time-out, before ``done``, with the plugins that did not answer.
        """
        self._asking = asking = Deferred.fromCoroutine(self._ask())
        asking.addCallback(self._finish)
        if not self._opening.over:
            self._timer = clock.callLater(timeout, self._expire, late)

    def stop(self) -> None:
        """Cancels the pending call and waits for no more answers."""
        self._opening.over = True
        self._fanout = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()  # no effect if all have answered

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
                    fanout.report(watcher, "admit" if self._opening.terms.refusal is None else "reject", failure)
            elif outcome.result is not None:
                kind = type(outcome.result).__name__
                misuse = f"admit returned {kind}, which has no effect: to reject, call opening.reject()"
                fanout.report_misuse(watcher, misuse)
            if self._opening.over:
                return
            self._unanswered.pop(0)
            if self._opening.terms.refusal is not None:
                self._opening.rejected_by = watcher.name
                return

    def _expire(self, late: Callable[[list[Watcher]], None]) -> None:
        late([watcher for watcher, _ in self._unanswered])
        self._finish()

    def _finish(self, _: object = None) -> None:
        if not self._opening.over:
            self.stop()
            self._done(self._opening)


def _failure_of(settle: Callable[[], None]) -> Failure | None:
    """Calls ``settle`` and catches everything: plugins may have assigned any object."""
    failure = foreign_code.call(settle)
    return failure if isinstance(failure, Failure) else None
