"""All that a session sends within the rates of its client: one queue of text, one of audio, and their budgets."""

from collections.abc import Callable

from audiohookd.protocol import messages
from audiohookd.protocol.sending.play_out import Chunk, PlayOut
from audiohookd.protocol.sending.rates import MICROSECONDS, Budget, Kind, SendRates, limited_kinds
from audiohookd.protocol.sending.text_queue import TextQueue


class Sender:
    """Decides when to send.

    :param now: a monotonic clock, in seconds.
    :param max_entities: bytes of entities, with commas, that fit in one ``event``.
    """

    def __init__(self, rates: SendRates, now: Callable[[], float], max_entities: int) -> None:
        self._clock = now
        at = self.now()
        self._budgets = {
            Kind.TEXT: Budget(rates.text_per_second, rates.text_burst, at),
            Kind.AUDIO: Budget(rates.audio_per_second, rates.audio_burst, at),
            Kind.PAUSE: Budget(rates.pause_per_second, rates.pause_burst, at),
            Kind.RESUME: Budget(rates.resume_per_second, rates.resume_burst, at),
        }
        self.text = TextQueue(self._budgets, max_entities)
        self.audio = PlayOut(self._budgets[Kind.AUDIO])

    def now(self) -> int:
        """The time in microseconds."""
        return round(self._clock() * MICROSECONDS)

    @property
    def audio_over_at(self) -> float | None:
        """The time of the clock, in seconds, at which the client has certainly played all audio; None if unknown."""
        at = self.audio.over_at
        return None if at is None else at / MICROSECONDS

    @property
    def is_audio_over(self) -> bool:
        """True if the client has played all audio, as it reports, or certainly."""
        at = self.audio.over_at
        return self.audio.is_over or (at is not None and self.now() >= at)

    def spend(self) -> None:
        """Accounts for a text message that did not wait."""
        self._budgets[Kind.TEXT].spend(self.now())

    def back_off(self, message: str, seconds: float) -> None:
        """Sends nothing of the kinds that ``message`` of an ``error`` 429 names, for ``seconds``."""
        for kind in limited_kinds(message):
            self._budgets[kind].hold(self.now() + round(seconds * MICROSECONDS))

    @property
    def has_waiting(self) -> bool:
        """True if something waits."""
        return self.text.has_waiting or bool(self.audio.waiting)

    def next(self) -> float | None:
        """The time of the clock, in seconds, at which something can be sent; None if nothing waits."""
        times = [at for at in (self.text.next(), self.audio.next()) if at is not None]
        return min(times) / MICROSECONDS if times else None

    def take_text(self) -> list[messages.Parameters]:
        """Removes the text messages that may be sent now."""
        return self.text.take(self.now())

    def take_audio(self) -> list[Chunk]:
        """Removes the audio that may be sent now."""
        return self.audio.take(self.now())
