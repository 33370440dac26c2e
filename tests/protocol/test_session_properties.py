"""A hostile client, and a driver that calls everything in any order: what holds however they behave."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audiohookd.protocol import events
from audiohookd.protocol.duration import samples_to_duration
from audiohookd.protocol.entities import BargeIn
from audiohookd.protocol.errors import LocalProtocolError
from audiohookd.protocol.media import Media
from audiohookd.protocol.states import State
from audiohookd.protocol.timeouts import POSITION_LEEWAY, Timeouts
from tests.protocol.wire_client import OTHER_ID, PARAMETERS, SESSION_ID, WireClient

TIMERS = Timeouts(max_duration=120)
#: Whatever happens, a silent client is gone after this time.
PATIENCE = (
    TIMERS.max_duration + TIMERS.disconnect_timeout + TIMERS.plugin_closing_timeout + TIMERS.client_close_timeout
)

reasons = st.sampled_from(["completed", "unauthorized", "error", "rejected"])
types = st.sampled_from([*PARAMETERS, "ping", "paused", "resumed", "discarded", "weather_report", "toString"])
samples = st.integers(0, 400_000)
durations = samples.map(lambda count: samples_to_duration(count, 8000))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
#: Wrong envelopes: one field that is not what it must be.
blunders = st.one_of(
    st.fixed_dictionaries({"seq": st.integers(-2, 2**54)}),
    st.fixed_dictionaries({"serverseq": st.integers(-1, 2**53)}),
    st.just({"id": OTHER_ID}),
    st.fixed_dictionaries({"position": st.text(max_size=6) | durations}),
    st.fixed_dictionaries({"parameters": json_values}),
    st.dictionaries(
        st.sampled_from(["version", "id", "type", "seq", "serverseq", "position", "parameters", "extra"]),
        json_values,
        max_size=3,
    ),
)


after_the_peace = precondition(lambda self: len(self.states) > self.peace)
while_open = precondition(lambda self: self.session.state is State.OPEN)


class HostileClient(RuleBasedStateMachine):
    """Every rule is one call of the driver; after each the invariants are checked against what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.client = WireClient(TIMERS)
        self.session = self.client.session
        self.sent_at: dict[str, list[float]] = {}
        self.position = 0  # as the reports have it
        self.silence = 0
        self.opened_at = 0.0
        self.offers: tuple[Media, ...] = ()
        self.states = [State.PREPARING]
        self.types: list[str] = []
        self.ended = 0
        self.peace = 0  # steps until one side misbehaves: otherwise few sessions would live long

    # ---- the client ------------------------------------------------------------------------------

    @initialize(well_begun=st.sampled_from([True, True, True, False]), start=samples, peace=st.integers(0, 20))
    def begin(self, well_begun: bool, start: int, peace: int) -> None:
        self.peace = peace
        if well_begun:
            self.client.say("open", position=samples_to_duration(start, 8000))
            self.position = self.session.position
            assert self.position == start
            self.hear()
            assert self.session.accept(self.offers[0])
            self.hear()

    @rule(name=types, start=durations, discarded=durations)
    def speaks_well(self, name: str, start: str, discarded: str) -> None:
        parameters = {"start": start, "discarded": discarded} if name in {"resumed", "discarded"} else None
        self.client.say(name, parameters, position=start)
        self.hear(ping=self.client.seq if name == "ping" else None)

    @while_open
    @rule(counts=st.lists(st.integers(0, 8000), min_size=1, max_size=5))
    def talks(self, counts: list[int]) -> None:
        """Audio in whole samples."""
        media = self.session.media
        welcome = media is not None and not self.session.paused
        for count in counts:
            if media and self.client.send_audio(count * media.frame_bytes):
                self.position += count
        assert not welcome or self.session.position == self.position
        self.hear()

    @while_open
    @rule(discarded=st.integers(0, 60_000) | samples)
    def moves_on(self, discarded: int) -> None:
        """A gap as an honest client reports it."""
        here = samples_to_duration(self.session.position, 8000)
        self.client.say("resumed", {"start": here, "discarded": samples_to_duration(discarded, 8000)})
        self.hear()

    @after_the_peace
    @rule(name=types, blunder=blunders)
    def blunders(self, name: str, blunder: dict[str, Any]) -> None:
        self.client.say(name, **blunder)
        self.hear(ping=self.client.seq if blunder.get("type", name) == "ping" else None)

    @after_the_peace
    @rule(data=st.binary(max_size=64) | json_values.map(lambda value: json.dumps(value).encode()))
    def babbles(self, data: bytes) -> None:
        self.client.say_bytes(data)
        self.hear()

    @after_the_peace
    @rule(size=st.integers(0, 3300) | st.sampled_from([3200, 64_000, 65_535, 65_536, 65_537, 65_538]))
    def sends_audio(self, size: int) -> None:
        before = self.session.position
        taken = self.client.send_audio(size)
        gained = size // self.session.media.frame_bytes if taken else 0
        assert self.session.position == before + gained
        self.position += gained
        self.hear()

    @after_the_peace
    @rule()
    def sends_too_much(self) -> None:
        self.client.say_bytes(b"x" * 65_537)
        self.hear()

    @after_the_peace
    @rule()
    def vanishes(self) -> None:
        self.session.connection_lost()
        self.hear()
        assert self.ended == 1

    # ---- time ------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0, 12))
    def waits(self, seconds: float) -> None:
        self.client.wait(seconds)
        self.hear()

    @rule(seconds=st.floats(0, 12), times=st.integers(0, 3))
    def ticks_carelessly(self, seconds: float, times: int) -> None:
        """A driver that is late, and ticks too often or not at all."""
        self.client.now += seconds
        for _ in range(times):
            self.session.tick()
        self.hear()

    # ---- our own side ----------------------------------------------------------------------------

    @rule(choice=st.integers(0, 3), start_paused=st.booleans(), discard_to=st.none() | samples)
    def accepts(self, choice: int, start_paused: bool, discard_to: int | None) -> None:
        media: Media | None = dict(enumerate(self.offers)).get(choice)
        was = self.session.state
        done = self.session.accept(media, start_paused=start_paused, discard_to=discard_to)
        assert done is (was is State.OPENING)
        self.hear()

    @rule(verb=st.sampled_from(["pause", "resume", "reconnect"]))
    def asks(self, verb: str) -> None:
        was = self.session.state
        assert getattr(self.session, verb)() is (was is State.OPEN)
        self.hear()

    @rule()
    def sends_results(self) -> None:
        was = self.session.state
        assert self.session.send_event([BargeIn()]) is (was in {State.OPEN, State.CLOSING})
        self.hear()

    @rule(entities=st.sampled_from([[], [{"text": "x" * 64_000}], [{"text": object()}], [{"type": "barge_in"}]]))
    def sends_nonsense(self, entities: Any) -> None:
        try:
            sent = self.session.send_event(entities)
        except LocalProtocolError:
            sent = False
        assert sent is False
        self.hear()

    @after_the_peace
    @rule(reason=reasons, info=st.none() | st.just("busy"))
    def disconnects(self, reason: Any, info: str | None) -> None:
        was = self.session.state
        done = self.session.disconnect(reason, info, {"a": "b"})
        assert done is (was in {State.PREPARING, State.OPENING, State.OPEN})
        self.hear()

    @rule()
    def finishes(self) -> None:
        self.session.finish()
        self.hear()

    # ---- what came of it -------------------------------------------------------------------------

    def hear(self, ping: int | None = None) -> None:
        """Takes all that the session has to say; ``said`` checks each envelope and that ``seq`` has no gap."""
        for message in self.client.said():
            self.types.append(message["type"])
            self.check_rate(message["type"])
            if message["type"] == "pong":
                assert message["clientseq"] == ping
        for event in self.client.happened():
            assert not self.ended
            self.account(event)
        self.states.append(self.session.state)

    def check_rate(self, type_: str) -> None:
        """Of the messages that can wait, none is sent above the rates that Genesys publishes."""
        now = self.client.now
        kind = type_ if type_ in {"pause", "resume"} else "text"
        times = self.sent_at.setdefault(kind, [])
        times.append(now)
        if type_ in {"pause", "resume", "event"}:
            per_second, burst = (5, 25) if kind == "text" else (2, 4)
            for before, start in enumerate(times):
                assert len(times) - before <= burst + (now - start) * per_second + 0.001

    def account(self, event: events.Event) -> None:
        if isinstance(event, events.OpenRequested):
            self.offers = event.offers
            self.position = self.session.position
        elif isinstance(event, events.Gap):
            assert event.start == self.position
            assert event.samples > 0
            self.position += event.samples
            self.silence += event.samples
            assert self.silence <= (self.client.now - self.opened_at + POSITION_LEEWAY) * 8000
        elif isinstance(event, events.Opened):
            self.opened_at = self.client.now
        elif isinstance(event, events.Ended):
            self.ended += 1

    @invariant()
    def a_session_never_goes_back(self) -> None:
        assert all(before.value <= after.value for before, after in pairwise(self.states))

    @invariant()
    def audio_and_gaps_tile_the_call(self) -> None:
        if State.OPENING in self.states or State.OPEN in self.states:
            assert self.session.position == self.position

    @invariant()
    def one_closed_and_nothing_after_it(self) -> None:
        assert "closed" not in self.types[:-1]
        assert self.types.count("opened") <= 1
        assert self.types.count("disconnect") <= 1

    @invariant()
    def what_is_over_was_told(self) -> None:
        assert self.ended == (self.session.state in {State.CLOSED, State.GONE})

    @invariant()
    def something_is_always_awaited(self) -> None:
        done = self.session.finished or self.session.state is State.GONE
        assert done or self.session.next_deadline() is not None

    def teardown(self) -> None:
        """From any state, a silent client is disconnected in bounded time, and all events are reported."""
        end = self.client.now + PATIENCE
        while not self.session.finished and self.session.state is not State.GONE:
            due = self.session.next_deadline()
            assert due is not None
            assert due <= end
            self.client.now = max(self.client.now, due)
            self.session.tick()
            assert self.session.next_deadline() != due
            self.hear()
        self.session.connection_lost()
        self.hear()
        assert self.ended == 1
        self.one_closed_and_nothing_after_it()
        self.client.assert_all_reported()
        assert self.client.session.id == SESSION_ID


TestHostileClient = HostileClient.TestCase
TestHostileClient.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
