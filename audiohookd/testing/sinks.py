"""Observers that record their calls, or fail."""

from collections.abc import Callable, Sequence
from typing import Any

from audiohookd.observer import AudioSink
from audiohookd.protocol.events import Gap


class CapturingSink(AudioSink):
    """Records its calls in ``calls``, as ``(method, *arguments)`` in order.

    :param act: called with the items of each recorded call. Its result is the result of the call, so a Deferred
        delays the next call; an exception passes to the daemon.
    """

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.act = act

    @property
    def names(self) -> list[str]:
        """Names of the methods that were called, in order."""
        return [call[0] for call in self.calls]

    def arguments(self, method: str) -> list[Any]:
        """The first argument of each call of ``method``, in order."""
        return [call[1] for call in self.calls if call[0] == method]

    def opened(self) -> Any:
        return self._record("opened")

    def paused(self) -> Any:
        return self._record("paused")

    def resumed(self) -> Any:
        return self._record("resumed")

    def language_changed(self, language: str | None) -> Any:
        return self._record("language_changed", language)

    def message(self, outgoing: bool, data: bytes, at: float) -> Any:
        return self._record("message", outgoing, data, at)

    def round_trip(self, nanoseconds: int) -> Any:
        return self._record("round_trip", nanoseconds)

    def dtmf(self, digit: str) -> Any:
        return self._record("dtmf", digit)

    def playback(self, started: bool) -> Any:
        return self._record("playback", started)

    def time_limit_near(self, seconds: float) -> Any:
        return self._record("time_limit_near", seconds)

    def events_dropped(self, entities: Sequence[Any]) -> Any:
        return self._record("events_dropped", entities)

    def closing(self, reason: str) -> Any:
        return self._record("closing", reason)

    def closed(self, reason: str) -> Any:
        return self._record("closed", reason)

    def audio(self, frame: bytes) -> Any:
        return self._record("audio", frame)

    def gap(self, gap: Gap) -> Any:
        return self._record("gap", gap)

    def audio_sent(self, start: int, data: bytes) -> Any:
        return self._record("audio_sent", start, data)

    def audio_dropped(self, start: int) -> Any:
        return self._record("audio_dropped", start)

    def audio_while_paused(self, position: int, size: int) -> Any:
        return self._record("audio_while_paused", position, size)

    def _record(self, *call: Any) -> Any:
        self.calls.append(call)
        return None if self.act is None else self.act(*call)


class RaisingSink(CapturingSink):
    """Raises RuntimeError when one of ``methods`` is called."""

    def __init__(self, *methods: str) -> None:
        super().__init__(self._raise)
        self._methods = methods

    def _raise(self, method: str, *_: Any) -> None:
        if method in self._methods:
            raise RuntimeError(f"RaisingSink fails in {method}")
