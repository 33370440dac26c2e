"""Calls in real time, one after the other on each of some lines, whatever becomes of the daemon.

Each keeps book of what it sent, and of what the daemon has read: a pong proves that, for the daemon reads its ping
after all audio that was sent before.
"""

import random
import threading
import time
from typing import NamedTuple

from tests.crash.audio import RATE, Voice
from tests.functional.caller import Caller

#: Seconds of audio in a frame: Genesys Cloud sends 200 ms, and other clients send 20.
FRAMES = (0.02, 0.2)
#: Seconds until somebody who got no connection tries again.
REDIAL = 0.02


class Mark(NamedTuple):
    """So many samples, at an instant of ``time.monotonic``."""

    at: float
    samples: int


class Call:
    """What is known of a call by the one who made it."""

    def __init__(self, session: str, life: int) -> None:
        self.session = session
        self.voice = Voice(session)
        #: Which of the daemon's lives it fell into.
        self.life = life
        self.sent: list[Mark] = []
        self.read: list[Mark] = []
        #: ``closed`` was heard.
        self.is_closed = False

    @property
    def samples(self) -> int:
        """How many have been sent."""
        return self.sent[-1].samples if self.sent else 0

    def read_by(self, instant: float) -> int:
        """Samples that the daemon had read by then, and that is proven."""
        return max((mark.samples for mark in self.read if mark.at <= instant), default=0)

    def lost_since(self, samples: int) -> float | None:
        """The instant by which the daemon had read more than so many samples; None when nobody knows of any."""
        return next((mark.at for mark in self.read if mark.samples > samples), None)

    def sent_by(self, instant: float) -> int:
        """Samples that had been handed to the system by then."""
        return max((mark.samples for mark in self.sent if mark.at <= instant), default=0)


class Lines:
    """``count`` lines on which one call follows the other, each in a thread, until ``hang_up``.

    :param duration: the shortest and the longest call, in seconds.
    """

    def __init__(self, port: int, count: int, duration: tuple[float, float], seed: int) -> None:
        self.calls: list[Call] = []
        #: Counted up by whoever starts the daemon anew.
        self.life = 0
        #: Set by each call that was opened.
        self.opened = threading.Event()
        self._port = port
        self._duration = duration
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_calling, args=(random.Random(f"{seed}/{line}"),), daemon=True)
            for line in range(count)
        ]

    def start(self) -> None:
        """Begins to call."""
        for thread in self._threads:
            thread.start()

    def hang_up(self) -> None:
        """No call begins any more; returns when those that there are have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _keep_calling(self, chance: random.Random) -> None:
        while not self._over.is_set():
            try:
                with Caller(self._port) as caller:
                    self._call(caller, chance)
            except (OSError, IndexError):  # nobody there, or not any more; or the connection ended in mid-upgrade
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
            # A frame is sent at its end: then it has been spoken.
            time.sleep(max(0.0, begun + (call.samples + frame) / RATE - time.monotonic()))
            caller.audio(call.voice.speak(call.samples, frame))
            call.sent.append(Mark(time.monotonic(), call.samples + frame))
            caller.say("ping")
            caller.hear()
            call.read.append(Mark(time.monotonic(), call.samples))
