"""The plugins' say in how a session is opened, within its time."""

from collections.abc import Callable, Iterable
from typing import get_args

from msgspec import Struct
from twisted.internet.defer import CancelledError, maybeDeferred
from zope.interface import implementer

from audiohookd.interfaces import IAdmission, IOpening, ISession
from audiohookd.protocol.events import OpenRequested
from audiohookd.protocol.media import Media, preferred
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.server.dispatch import Watcher


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

        :raises ValueError: media that were not offered, a position that is none, or a reason that does not exist.
        """
        media = tuple(self.media)
        if not all(one in self._offers for one in media):
            raise ValueError("media that were not offered")
        if self.discard_to is not None and self.discard_to < 0:
            raise ValueError("discard_to is negative")
        if self._refusal is not None and self._refusal[0] not in get_args(DisconnectReason):
            raise ValueError(f"{self._refusal[0]!r} is no reason of the protocol")
        languages = tuple(str(language) for language in self.supported_languages)
        self.terms = Terms(media, bool(self.start_paused), self.discard_to, languages, self._refusal)

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


async def ask(
    opening: Opening, asked: list[tuple[Watcher, IAdmission]], failed: Callable[[Watcher], None]
) -> None:
    """Asks one after the other, until one refuses or it is over. To be cancelled then: a plugin may hang for ever.

    :param failed: called with whose plugin failed, while the exception is handled.
    """
    for watcher, admission in asked:
        try:
            await maybeDeferred(admission.admit, opening)
            if not opening.over:
                opening.settle()
        except Exception as fault:
            opening.reset()
            if not (opening.over and isinstance(fault, CancelledError)):
                failed(watcher)
        if opening.over or opening.terms.refusal is not None:
            return
