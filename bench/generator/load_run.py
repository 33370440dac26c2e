"""All calls of a plan: they arrive, talk, and end. START READING HERE.

One thread, one epoll, sockets that do not block. A turn of the loop says what is due and sleeps for a tick, again and
again until there is more to do than that (``speech``); then it reads what was answered, and does what else is due.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from uuid import uuid4

from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import Open, Participant
from bench.generator.audio import CHANNELS, VARIANTS, Talk
from bench.generator.audio_sender import CLOGGED, SILENT, AudioSender
from bench.generator.call import Call
from bench.generator.latency import Latency
from bench.generator.plan import Plan
from bench.generator.schedule import PeriodicSchedule, SequenceSchedule
from bench.generator.sockets import Sockets
from bench.generator.upgrade import Identity, upgrade

#: Seconds that servers have for what is due before they count as failing.
PATIENCE = 30.0

Tell = Callable[[dict[str, Any]], None]


class Part(Enum):
    """Of a campaign, in their order."""

    ARRIVING = auto()
    SETTLING = auto()
    STEADY = auto()
    LEAVING = auto()
    OVER = auto()


class LoadRun:
    """Runs once.

    :param tell: called with the marks.
    """

    #: Seconds, from any origin: the clock that the speech goes by.
    clock = staticmethod(time.monotonic)

    def __init__(self, plan: Plan, talk: Talk, key: tuple[str, bytes], tell: Tell) -> None:
        self._plan = plan
        self._talk = talk
        self._identity = Identity(f"{plan.host}:{plan.port}", str(uuid4()), *key)
        self._tell = tell
        self._sockets = Sockets()
        self._legs: list[Call] = []
        self._probe: Call | None = None
        self._part = Part.ARRIVING
        self._until = float("inf")
        self._due = 0.0  # when there is more to do than to talk
        self._openings, self._round_trips, self._probes = Latency(), Latency(), Latency()
        self._marks: dict[str, dict[str, float]] = {}
        self._longest_turn = 0.0

    def run(self) -> dict[str, Any]:
        """All of it; the result."""
        if self._plan.probe:
            self._dial_probe()
        self._begin()
        while self._part is not Part.OVER:
            self._turn()
        self._hang_up()
        return self._result()

    # ---- time ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        plan, start = self._plan, self.clock()
        chance = random.Random(plan.seed)  # noqa: S311 - phases, not secrets

        def phases(period: float, members: int) -> list[float]:
            return [chance.uniform(0, period) for _ in range(members)]

        def ring(period: float, members: int) -> PeriodicSchedule:
            return PeriodicSchedule(start, period, phases(period, members))

        self._arrivals = SequenceSchedule(start, plan.arrival / plan.sessions, plan.sessions)
        self._departures = SequenceSchedule(0, 0, 0)
        firsts = [number % VARIANTS for number in range(plan.sessions)]
        said = phases(plan.period, plan.sessions)
        self._speech = AudioSender(self._talk.frames, firsts, start, plan.period, said)
        self._pings = ring(plan.ping / plan.speed, plan.sessions)
        self._probings = ring(plan.probe, 1) if plan.probe else None
        self._until = start + plan.arrival + PATIENCE

    def _turn(self) -> None:
        for member, frame, taken in self._speech.talk(self._due, self._plan.tick, self._sockets.fileno()):
            self._legs[member].finish(frame, taken)
        begun = self.clock()
        self._sockets.look()
        if begun >= self._due:
            self._do_the_rest(begun)
        self._longest_turn = max(self._longest_turn, self.clock() - begun)

    def _do_the_rest(self, now: float) -> None:
        self._arrive(now)
        self._ping(now)
        self._ping_probe(now)
        self._leave(now)
        self._proceed(now)
        is_changing = self._part in (Part.ARRIVING, Part.LEAVING)
        probings = self._probings.next if self._probings is not None else self._until
        self._due = now if is_changing else min(self._until, self._pings.next, probings)

    # ---- what is due -----------------------------------------------------------------------------

    def _ping(self, now: float) -> None:
        for member in self._pings.due(now):
            if member < len(self._legs) and self._legs[member].is_open:
                self._legs[member].ping(self._said(member))

    def _ping_probe(self, now: float) -> None:
        if self._probings is not None:
            for _ in self._probings.due(now):
                if self._probe is not None and self._probe.is_open:
                    self._probe.ping(0)

    def _arrive(self, now: float) -> None:
        for member in self._arrivals.due(now):
            self._legs.append(self._dial(member))

    def _leave(self, now: float) -> None:
        for member in self._departures.due(now):
            if self._legs[member].is_open:
                self._legs[member].close(self._said(member))

    def _said(self, member: int) -> int:
        """Samples per channel."""
        return self._speech.frames(member) * self._talk.samples

    # ---- from part to part -----------------------------------------------------------------------

    def _proceed(self, now: float) -> None:
        """What is complete goes on at once, what is late when the patience is over."""
        plan = self._plan
        if self._part is Part.ARRIVING and (self._is_everybody_here() or now >= self._until):
            self._part, self._until = Part.SETTLING, now + plan.settle
        elif self._part is Part.SETTLING and now >= self._until:
            self._part, self._until = Part.STEADY, now + plan.steady
            self._mark("steady")
        elif self._part is Part.STEADY and now >= self._until:
            self._part, self._until = Part.LEAVING, now + plan.arrival + PATIENCE
            self._mark("leaving")
            self._departures = SequenceSchedule(now, plan.arrival / plan.sessions, plan.sessions)
        elif self._part is Part.LEAVING and (self._is_everybody_gone() or now >= self._until):
            self._part = Part.OVER

    def _is_everybody_here(self) -> bool:
        arrived = len(self._legs) == self._plan.sessions
        return arrived and all(leg.is_open or leg.failure or leg.is_gone for leg in self._legs)

    def _is_everybody_gone(self) -> bool:
        return all(leg.is_gone for leg in self._legs)

    def _mark(self, name: str) -> None:
        mark = {"at": self.clock(), "frames": self._speech.total(), "processor": time.process_time()}
        self._marks[name] = mark
        self._tell({"mark": name})

    # ---- calls -----------------------------------------------------------------------------------

    def opened(self, leg: Call, seconds: float) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if leg is not self._probe:
            self._let_speak(leg)
            self._openings.add(seconds)

    def answered(self, leg: Call, seconds: float) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if leg is self._probe:
            self._probes.add(seconds)
        elif self._part is Part.STEADY:
            self._round_trips.add(seconds)

    def watch(self, leg: Call) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        self._sockets.watch(leg)
        if leg.is_open and leg is not self._probe:
            self._let_speak(leg)

    def ended(self, leg: Call) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if leg is not self._probe:
            self._speech.into(leg.number, SILENT)

    def _let_speak(self, leg: Call) -> None:
        self._speech.into(leg.number, CLOGGED if leg.is_clogged else leg.fileno())

    def _dial(self, number: int) -> Call:
        participant = Participant(str(uuid4()), "+12065550100", "", "+12065550199")
        opening = Open(self._identity.organization_id, str(uuid4()), participant, offers(CHANNELS))
        session = ClientSession(str(uuid4()), opening, self.clock)
        address = (self._plan.host, self._plan.port)
        return Call(address, session, upgrade(self._identity, session.id), number, self)

    def _dial_probe(self) -> None:
        """And waits until it is there."""
        self._probe = probe = self._dial(self._plan.sessions)
        self._wait(lambda: probe.is_open or probe.failure is not None)

    def _hang_up(self) -> None:
        """Whoever is still there is not any more."""
        if self._probe is not None:
            self._probe.close(0)
            self._wait(lambda: self._probe is None or self._probe.is_gone)
        for leg in self._everybody():
            leg.drop("not closed by the server")
        self._sockets.close()

    def _wait(self, is_over: Callable[[], bool]) -> None:
        deadline = self.clock() + PATIENCE
        while not is_over() and self.clock() < deadline:
            time.sleep(self._plan.tick)
            self._sockets.look()

    def _everybody(self) -> list[Call]:
        return self._legs if self._probe is None else [*self._legs, self._probe]

    # ---- the result ------------------------------------------------------------------------------

    def _result(self) -> dict[str, Any]:
        legs = self._everybody()
        failures = Counter(leg.failure for leg in legs if leg.failure)
        result = {
            "sessions": len(self._legs),
            "closed": sum(leg.is_closed for leg in self._legs),
            "frames": self._speech.total(),
            "failures": dict(failures),
            "clogged": sum(leg.refusals for leg in legs),
            "steady": self._steady(),
            "opened": self._openings.result(),
            "round_trip": self._round_trips.result(),
            "probe": self._probes.result(),
            "late": self._speech.lateness.result(),
            "longest_turn": self._longest_turn * 1000,
        }
        if self._plan.ledger:
            said = self._speech
            result["ledger"] = [[leg.id, said.first(leg.number), said.frames(leg.number)] for leg in self._legs]
        return result

    def _steady(self) -> dict[str, float]:
        begin, end = self._marks["steady"], self._marks["leaving"]
        return {
            "seconds": end["at"] - begin["at"],
            "frames": end["frames"] - begin["frames"],
            "processor": end["processor"] - begin["processor"],
        }
