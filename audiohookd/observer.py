"""Base classes of observers with methods that do nothing: a plugin overrides the methods it needs."""

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from audiohookd.interfaces import IAudioSink, ISessionObserver
from audiohookd.protocol.events import Gap


@implementer(ISessionObserver)
class SessionObserver:
    """An observer that does nothing. See :class:`ISessionObserver` for each method."""

    def opened(self) -> Any:
        pass

    def paused(self) -> Any:
        pass

    def resumed(self) -> Any:
        pass

    def language_changed(self, language: str) -> Any:
        pass

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        pass

    def round_trip(self, nanoseconds: int) -> Any:
        pass

    def dtmf(self, digit: str) -> Any:
        pass

    def playback(self, started: bool) -> Any:
        pass

    def time_limit_near(self, seconds: float) -> Any:
        pass

    def events_dropped(self, entities: Sequence[Any]) -> Any:
        pass

    def closing(self, reason: str) -> Any:
        pass

    def closed(self, reason: str) -> Any:
        pass


@implementer(IAudioSink)
class AudioSink(SessionObserver):
    """An observer that receives audio and does nothing. See :class:`IAudioSink`."""

    def audio(self, frame: bytes) -> Any:
        pass

    def gap(self, gap: Gap) -> Any:
        pass

    def audio_sent(self, start: int, data: bytes) -> Any:
        pass

    def audio_dropped(self, start: int) -> Any:
        pass

    def audio_while_paused(self, position: int, size: int) -> Any:
        pass
