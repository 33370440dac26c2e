"""Computes when the next audio of a call is due."""

from audiohookd.protocol.client.session import RATE
from audiohookd.protocol.codec import MAX_SENT

#: Samples per channel in a frame: 200 ms, as Genesys Cloud sends.
FRAME = RATE // 5
#: Maximum samples per channel in flight: sent, but not yet proven read by a pong. 8 s.
WINDOW = 8 * RATE


class Pace:
    """The schedule of the frames of a call, in absolute time: a late frame does not delay the next ones.

    :param speed: factor of real time; None: as fast as possible, in frames of maximum size. During a pause the call
        advances in real time even then, because otherwise the audio would end before the server resumes it.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin = 0.0
        self._samples = 0  # since the origin

    def begin(self, now: float) -> None:
        """Starts the schedule at ``now``."""
        self._origin = now

    def frame(self, channels: int, paused: bool) -> int:
        """Samples per channel of the next frame."""
        return FRAME if self._is_timed(paused) else MAX_SENT // max(channels, 1)

    def due(self, samples: int, paused: bool) -> float:
        """The time at which a frame of ``samples`` is due: its end, when the last sample has been spoken."""
        if not self._is_timed(paused):
            return self._origin
        return self._origin + (self._samples + samples) / (RATE * (self._speed or 1))

    def advance(self, samples: int, now: float) -> None:
        """Counts a frame that was sent, or dropped during a pause."""
        if self._speed is None:
            self._origin, self._samples = now, 0
        else:
            self._samples += samples

    def _is_timed(self, paused: bool) -> bool:
        return paused or self._speed is not None
