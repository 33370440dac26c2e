"""Plays calls in real time, one after the other on each line, while the daemon is killed and restarted.

Each call records which audio it sent, and which the daemon has read. A pong proves the latter, because the daemon
reads the ping after all audio that was sent before.
"""

import random
import threading
import time
from typing import NamedTuple

from tests.crash.audio import RATE, Voice
from tests.functional.caller import Caller

#: Seconds of audio in a frame: Genesys Cloud sends 200 ms, and other clients send 20.
FRAMES = (0.02, 0.2)
#: Seconds until a client retries a failed connection.
REDIAL = 0.02


class Mark(NamedTuple):
    """A number of samples at an instant of ``time.monotonic``."""

    at: float
    samples: int


class Call:
    """A call as its client sees it."""

    def __init__(self, session: str, life: int) -> None:
        self.session = session
        self.voice = Voice(session)
        #: The number of the daemon's run in which the call began.
        self.life = life
        self.sent: list[Mark] = []
        self.read: list[Mark] = []
        #: Whether the client received ``closed``.
        self.is_closed = False

    @property
    def samples(self) -> int:
        """Number of samples that the client has sent."""
        return self.sent[-1].samples if self.sent else 0

    def read_by(self, instant: float) -> int:
        """Samples that the daemon had read by ``instant``, as a pong proves."""
        return max((mark.samples for mark in self.read if mark.at <= instant), default=0)

    def lost_since(self, samples: int) -> float | None:
        """The first proven instant at which the daemon had read more than ``samples``, or None."""
        return next((mark.at for mark in self.read if mark.samples > samples), None)

    def sent_by(self, instant: float) -> int:
        """Samples that had been passed to the system by ``instant``."""
        return max((mark.samples for mark in self.sent if mark.at <= instant), default=0)


class Lines:
    """Plays calls on ``count`` lines, one after the other on each, in threads, until ``hang_up``.

    :param duration: the shortest and the longest call, in seconds.
    """

    def __init__(self, port: int, count: int, duration: tuple[float, float], seed: int) -> None:
        self.calls: list[Call] = []
        #: The number of the daemon's run; the harness increments it at each restart.
        self.life = 0
        #: Set when a call is opened.
        self.opened = threading.Event()
        self._port = port
        self._duration = duration
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_calling, args=(random.Random(f"{seed}/{line}"),), daemon=True)
            for line in range(count)
        ]

    def start(self) -> None:
        """Starts the calls."""
        for thread in self._threads:
            thread.start()

    def hang_up(self) -> None:
        """Starts no more calls, and returns when the current ones have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _keep_calling(self, chance: random.Random) -> None:
        while not self._over.is_set():
            try:
                with Caller(self._port) as caller:
                    self._call(caller, chance)
            except (OSError, IndexError):  # the daemon is not running, or ended the connection during the upgrade
                time.sleep(REDIAL)

    def _call(self, caller: Caller, chance: random.Random) -> None:
        life = self.life
        if caller.open()["type"] != "opened":
            caller.close()
            return
        call = Call(caller.session, life)
        self.calls.append(call)
        self.opened.set()
        self._talk(caller, call, chance)
        caller.close()
        call.is_closed = True
        call.read.append(Mark(time.monotonic(), call.samples))

    def _talk(self, caller: Caller, call: Call, chance: random.Random) -> None:
        begun = time.monotonic()
        total = int(chance.uniform(*self._duration) * RATE)
        while call.samples < total and not self._over.is_set():
            frame = int(chance.uniform(*FRAMES) * RATE)
            # A frame is sent when its last sample is recorded.
            time.sleep(max(0.0, begun + (call.samples + frame) / RATE - time.monotonic()))
            caller.audio(call.voice.speak(call.samples, frame))
            call.sent.append(Mark(time.monotonic(), call.samples + frame))
            caller.say("ping")
            caller.hear()
            call.read.append(Mark(time.monotonic(), call.samples))
