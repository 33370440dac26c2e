"""When the next audio of a call is due."""

from audiohookd.protocol.client.session import RATE
from audiohookd.protocol.codec import MAX_SENT

#: Samples per channel in a frame: the 200 ms that Genesys Cloud sends.
FRAME = RATE // 5
#: Samples that may be on their way without a pong that proves that the server has read them: 8 s.
WINDOW = 8 * RATE


class Pace:
    """A schedule in absolute time: being late with one frame does not delay the ones after it.

    :param speed: how much faster than real time; None for as fast as may be, in the largest frames. Even then the
        call's time runs at the speed of real time while it is paused: the pause would be over before it began.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin = 0.0
        self._samples = 0  # since the origin

    def begin(self, now: float) -> None:
        """The call has begun."""
        self._origin = now

    def frame(self, channels: int, paused: bool) -> int:
        """Samples (per channel) of the next frame."""
        return FRAME if self._is_timed(paused) else MAX_SENT // max(channels, 1)

    def due(self, samples: int, paused: bool) -> float:
        """When a frame of ``samples`` may be sent: at its end, for then they have been spoken."""
        if not self._is_timed(paused):
            return self._origin
        return self._origin + (self._samples + samples) / (RATE * (self._speed or 1))

    def advance(self, samples: int, now: float) -> None:
        """A frame was sent, or lost to a pause."""
        if self._speed is None:
            self._origin, self._samples = now, 0
        else:
            self._samples += samples

    def _is_timed(self, paused: bool) -> bool:
        return paused or self._speed is not None
