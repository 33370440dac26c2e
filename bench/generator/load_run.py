"""Runs all calls of a plan: they arrive, send audio, and end. START READING HERE.

There is one thread, one epoll, and non-blocking sockets. A turn of the loop sends the frames that are due and sleeps
for a tick, until there is other work (``audio_sender``). Then it reads the responses, and does the other due work.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from uuid import uuid4

from audiohookd.cli.target import Target
from audiohookd.cli.upgrade import Identity, request
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import Open, Participant
from bench.generator.audio import CHANNELS, VARIANTS, Talk
from bench.generator.audio_sender import BLOCKED, SILENT, AudioSender
from bench.generator.call import Call
from bench.generator.latency import Latency
from bench.generator.plan import Plan
from bench.generator.schedule import PeriodicSchedule, SequenceSchedule
from bench.generator.sockets import Sockets

PATH = "/api/v1/audiohook/ws"
#: Seconds until a server that does not respond counts as failed.
TIMEOUT = 30.0

OnMark = Callable[[dict[str, Any]], None]


class Part(Enum):
    """The parts of a run, in order."""

    ARRIVING = auto()
    SETTLING = auto()
    STEADY = auto()
    LEAVING = auto()
    OVER = auto()


class LoadRun:
    """Makes all calls of a plan, once.

    :param on_mark: called with each mark.
    """

    #: Seconds, from any origin: the clock of the audio sender.
    clock = staticmethod(time.monotonic)

    def __init__(self, plan: Plan, talk: Talk, key: tuple[str, bytes], on_mark: OnMark) -> None:
        self._plan = plan
        self._talk = talk
        self._target = Target(False, plan.host, plan.port, PATH)
        self._key, self._secret = key
        self._organization_id = str(uuid4())
        self._on_mark = on_mark
        self._sockets = Sockets()
        self._calls: list[Call] = []
        self._probe: Call | None = None
        self._part = Part.ARRIVING
        self._until = float("inf")
        self._due = 0.0  # when there is work other than sending audio
        self._openings, self._round_trips, self._probes = Latency(), Latency(), Latency()
        self._marks: dict[str, dict[str, float]] = {}
        self._longest_turn = 0.0

    def run(self) -> dict[str, Any]:
        """Runs the plan, and returns the result."""
        if self._plan.probe:
            self._connect_probe()
        self._begin()
        while self._part is not Part.OVER:
            self._turn()
        self._disconnect()
        return self._result()

    # ---- time ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        plan, start = self._plan, self.clock()
        chance = random.Random(plan.seed)  # noqa: S311 - phases, not secrets

        def phases(period: float, members: int) -> list[float]:
            return [chance.uniform(0, period) for _ in range(members)]

        def periodic(period: float, members: int) -> PeriodicSchedule:
            return PeriodicSchedule(start, period, phases(period, members))

        self._arrivals = SequenceSchedule(start, plan.arrival / plan.sessions, plan.sessions)
        self._departures = SequenceSchedule(0, 0, 0)
        firsts = [number % VARIANTS for number in range(plan.sessions)]
        audio_phases = phases(plan.period, plan.sessions)
        self._speech = AudioSender(self._talk.frames, firsts, start, plan.period, audio_phases)
        self._pings = periodic(plan.ping / plan.speed, plan.sessions)
        self._probings = periodic(plan.probe, 1) if plan.probe else None
        self._until = start + plan.arrival + TIMEOUT

    def _turn(self) -> None:
        for member, frame, taken in self._speech.talk(self._due, self._plan.tick, self._sockets.fileno()):
            self._calls[member].finish(frame, taken)
        begun = self.clock()
        self._sockets.poll()
        if begun >= self._due:
            self._do_due_work(begun)
        self._longest_turn = max(self._longest_turn, self.clock() - begun)

    def _do_due_work(self, now: float) -> None:
        self._arrive(now)
        self._ping(now)
        self._ping_probe(now)
        self._leave(now)
        self._advance_part(now)
        is_changing = self._part in (Part.ARRIVING, Part.LEAVING)
        probings = self._probings.next if self._probings is not None else self._until
        self._due = now if is_changing else min(self._until, self._pings.next, probings)

    # ---- due work --------------------------------------------------------------------------------

    def _ping(self, now: float) -> None:
        for member in self._pings.due(now):
            if member < len(self._calls) and self._calls[member].is_open:
                self._calls[member].ping(self._samples_sent(member))

    def _ping_probe(self, now: float) -> None:
        if self._probings is not None:
            for _ in self._probings.due(now):
                if self._probe is not None and self._probe.is_open:
                    self._probe.ping(0)

    def _arrive(self, now: float) -> None:
        for member in self._arrivals.due(now):
            self._calls.append(self._connect(member))

    def _leave(self, now: float) -> None:
        for member in self._departures.due(now):
            if self._calls[member].is_open:
                self._calls[member].close(self._samples_sent(member))

    def _samples_sent(self, member: int) -> int:
        """The samples that a call has sent, per channel."""
        return self._speech.frames(member) * self._talk.samples

    # ---- from part to part -----------------------------------------------------------------------

    def _advance_part(self, now: float) -> None:
        """Starts the next part when the current one is complete, or has timed out."""
        plan = self._plan
        if self._part is Part.ARRIVING and (self._all_arrived() or now >= self._until):
            self._part, self._until = Part.SETTLING, now + plan.settle
        elif self._part is Part.SETTLING and now >= self._until:
            self._part, self._until = Part.STEADY, now + plan.steady
            self._mark("steady")
        elif self._part is Part.STEADY and now >= self._until:
            self._part, self._until = Part.LEAVING, now + plan.arrival + TIMEOUT
            self._mark("leaving")
            self._departures = SequenceSchedule(now, plan.arrival / plan.sessions, plan.sessions)
        elif self._part is Part.LEAVING and (self._all_disconnected() or now >= self._until):
            self._part = Part.OVER

    def _all_arrived(self) -> bool:
        arrived = len(self._calls) == self._plan.sessions
        return arrived and all(call.is_open or call.failure or call.is_disconnected for call in self._calls)

    def _all_disconnected(self) -> bool:
        return all(call.is_disconnected for call in self._calls)

    def _mark(self, name: str) -> None:
        mark = {"at": self.clock(), "frames": self._speech.total(), "processor": time.process_time()}
        self._marks[name] = mark
        self._on_mark({"mark": name})

    # ---- calls -----------------------------------------------------------------------------------

    def opened(self, call: Call, seconds: float) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if call is not self._probe:
            self._start_audio(call)
            self._openings.add(seconds)

    def answered(self, call: Call, seconds: float) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if call is self._probe:
            self._probes.add(seconds)
        elif self._part is Part.STEADY:
            self._round_trips.add(seconds)

    def watch(self, call: Call) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        self._sockets.watch(call)
        if call.is_open and call is not self._probe:
            self._start_audio(call)

    def ended(self, call: Call) -> None:
        """See :class:`~bench.generator.call.Owner`."""
        if call is not self._probe:
            self._speech.set_socket(call.number, SILENT)

    def _start_audio(self, call: Call) -> None:
        self._speech.set_socket(call.number, BLOCKED if call.is_blocked else call.fileno())

    def _connect(self, number: int) -> Call:
        participant = Participant(str(uuid4()), "+12065550100", "", "+12065550199")
        identity = Identity(organization=self._organization_id)
        opening = Open(identity.organization, str(uuid4()), participant, offers(CHANNELS))
        session = ClientSession(identity.session, opening, self.clock)
        asked = request(self._target, self._key, self._secret, identity, int(time.time()))
        return Call(self._target.address, session, asked, number, self)

    def _connect_probe(self) -> None:
        """Connects the probe, and waits until it is open or has failed."""
        self._probe = probe = self._connect(self._plan.sessions)
        self._wait(lambda: probe.is_open or probe.failure is not None)

    def _disconnect(self) -> None:
        """Closes the probe, and drops all calls that are still connected."""
        if self._probe is not None:
            self._probe.close(0)
            self._wait(lambda: self._probe is None or self._probe.is_disconnected)
        for call in self._all_calls():
            call.drop("not closed by the server")
        self._sockets.close()

    def _wait(self, is_over: Callable[[], bool]) -> None:
        deadline = self.clock() + TIMEOUT
        while not is_over() and self.clock() < deadline:
            time.sleep(self._plan.tick)
            self._sockets.poll()

    def _all_calls(self) -> list[Call]:
        return self._calls if self._probe is None else [*self._calls, self._probe]

    # ---- the result ------------------------------------------------------------------------------

    def _result(self) -> dict[str, Any]:
        calls = self._all_calls()
        failures = Counter(call.failure for call in calls if call.failure)
        result = {
            "sessions": len(self._calls),
            "closed": sum(call.is_closed for call in self._calls),
            "frames": self._speech.total(),
            "failures": dict(failures),
            "clogged": sum(call.blocked_count for call in calls),
            "steady": self._steady(),
            "opened": self._openings.result(),
            "round_trip": self._round_trips.result(),
            "probe": self._probes.result(),
            "late": self._speech.lateness.result(),
            "longest_turn": self._longest_turn * 1000,
        }
        if self._plan.ledger:
            sender = self._speech
            result["ledger"] = [
                [call.id, sender.first(call.number), sender.frames(call.number)] for call in self._calls
            ]
        return result

    def _steady(self) -> dict[str, float]:
        begin, end = self._marks["steady"], self._marks["leaving"]
        return {
            "seconds": end["at"] - begin["at"],
            "frames": end["frames"] - begin["frames"],
            "processor": end["processor"] - begin["processor"],
        }
