"""The timing of a call session, with a clock that only the test advances."""

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from audiohookd.cli.call.call import FRAME, WINDOW, CallSession, call_length
from audiohookd.cli.call.source import Loop, Recording, Source
from audiohookd.protocol import events, messages
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.codec import encode_server

ID = "11111111-1111-4111-8111-111111111111"
#: Seconds by which the clock advances: a power of two, so that sums are exact.
STEP = 1 / 64
ENDLESS = Loop(bytes(range(200)) * 80, 2)


def recorded(seconds: float) -> Recording:
    return Recording(b"\x21\x22" * int(seconds * 8000), 2)


class Server:
    """The transport, the server behind it, and the observer of a call session."""

    def __init__(
        self,
        source: Source | None = ENDLESS,
        speed: float | None = 1.0,
        max_duration: int | None = None,
        media: int | None = 0,
        opened: messages.Opened | None = None,
        answers_pings: bool = True,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.sent_at: list[tuple[float, str]] = []
        self.frames: list[bytes] = []
        self.told: list[events.Event] = []
        self.moves: list[tuple[int, bool]] = []
        self.closed_at: float | None = None
        self.answers_pings = answers_pings
        self._seq = self._clientseq = 0
        self._offers = offers(2)
        self.opened = opened or messages.Opened(() if media is None else self._offers[media : media + 1])
        participant = messages.Participant(ID)
        session = ClientSession(ID, messages.Open(ID, ID, participant, self._offers), self.clock.seconds)
        self.conversation = CallSession(session, source, speed, max_duration, self.clock, self)
        self._inbox: list[messages.Parameters] = []
        self.conversation.connected(self)
        self.reply()

    # ICallTransport

    def write_text(self, data: bytes) -> None:
        message = json.loads(data)
        self._clientseq += 1
        self.sent_at.append((self.now, message["type"]))
        if message["type"] == "open":
            self._inbox.append(self.opened)
        if message["type"] == "close":
            self._inbox.append(messages.Closed())
        if message["type"] == "ping" and self.answers_pings:
            self._inbox.append(messages.Pong())

    def write_audio(self, data: bytes) -> None:
        self.sent_at.append((self.now, "audio"))
        self.frames.append(data)

    def close(self) -> None:
        assert self.closed_at is None
        self.closed_at = self.now

    # CallObserver

    def event_received(self, event: events.Event) -> None:
        self.told.append(event)

    def audio_transferred(self, samples: int, is_sent: bool) -> None:
        self.moves.append((samples, is_sent))

    # for the test

    @property
    def now(self) -> float:
        return round(self.clock.seconds() - 1000, 6)

    def say(self, parameters: messages.Parameters) -> None:
        self._seq += 1
        self.conversation.received(encode_server(ID, self._seq, self._clientseq, parameters), False)

    def reply(self) -> None:
        while self._inbox:
            self.say(self._inbox.pop(0))

    def run(self, seconds: float, step: float = STEP) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            self.reply()

    def times(self, kind: str) -> list[float]:
        return [at for at, sent in self.sent_at if sent == kind]

    @property
    def samples(self) -> int:
        return sum(len(frame) for frame in self.frames) // 2


def test_real_time_sends_a_frame_every_200_ms() -> None:
    server = Server()
    server.run(3)
    assert server.times("audio") == pytest.approx([0.2 * number for number in range(1, 16)], abs=STEP)
    assert {len(frame) for frame in server.frames} == {2 * FRAME}


def test_the_audio_is_that_of_the_source_without_a_seam() -> None:
    server = Server(recorded(1))
    server.run(2)
    assert b"".join(server.frames) == recorded(1).data


def test_being_late_does_not_add_up() -> None:
    server = Server()
    server.run(60, step=0.17)  # a clock that never hits a frame
    assert server.samples == pytest.approx(60 * 8000, abs=FRAME * 1.5)


def test_a_stall_is_caught_up_with() -> None:
    server = Server()
    server.run(1)
    server.clock.advance(3)
    server.reply()
    assert server.samples == 4 * 8000


def test_ten_times_as_fast_sends_the_same_frames() -> None:
    server = Server(recorded(20), speed=10)
    server.run(2.2)
    assert len(server.frames) == 100
    assert {len(frame) for frame in server.frames} == {2 * FRAME}
    assert server.times("close")[0] == pytest.approx(2.0, abs=0.03)


def test_the_end_of_the_source_ends_the_call() -> None:
    server = Server(recorded(0.5))
    server.run(1)
    assert [len(frame) // 2 for frame in server.frames] == [1600, 1600, 800]
    assert server.closed_at == pytest.approx(0.5, abs=STEP)
    assert server.told[-1] == events.Ended("end")


def test_the_longest_duration_ends_it_before() -> None:
    server = Server(recorded(5), max_duration=4000)
    server.run(1)
    assert server.samples == 4000
    assert server.closed_at is not None


def test_nothing_is_left_over_at_the_end() -> None:
    server = Server(recorded(0.5))
    server.run(1)
    server.conversation.lost()
    assert server.clock.getDelayedCalls() == []


def test_a_probe_closes_when_it_is_open() -> None:
    server = Server(source=None)
    assert [sent for _, sent in server.sent_at] == ["open", "close"]
    assert server.closed_at == 0


@pytest.mark.parametrize(("media", "byte"), [(1, b"\x21"), (2, b"\x22")])
def test_a_selected_channel_is_sent_without_the_other(media: int, byte: bytes) -> None:
    server = Server(recorded(0.4), media=media)
    server.run(1)
    assert b"".join(server.frames) == byte * 3200


def test_a_server_that_selects_no_media_gets_no_audio_in_real_time() -> None:
    server = Server(recorded(2), media=None)
    server.run(1.9)
    assert server.frames == []
    assert server.closed_at is None
    server.run(0.2)
    assert server.closed_at is not None


def test_paused_audio_is_dropped_and_takes_real_time() -> None:
    server = Server(recorded(3))
    server.run(1)
    server.say(messages.Pause())
    server.run(1)
    server.say(messages.Resume())
    server.run(1.5)
    assert server.samples == 2 * 8000
    assert sum(samples for samples, is_sent in server.moves if not is_sent) == 8000
    assert server.closed_at == pytest.approx(3, abs=0.02)


def test_skipping_the_history_takes_no_time() -> None:
    server = Server(recorded(3), opened=messages.Opened(offers(2)[:1], discard_to="PT2S"))
    server.run(1.1)
    assert server.samples == 8000
    assert server.closed_at == pytest.approx(1, abs=0.02)


class TestFullSpeed:
    """Full speed: as fast as the server's pongs arrive."""

    def test_takes_no_time_at_all_with_a_prompt_server(self) -> None:
        server = Server(recorded(100), speed=None)
        assert server.samples == 800_000
        assert server.closed_at == 0

    def test_fills_its_frames_and_no_more(self) -> None:
        server = Server(recorded(100), speed=None)
        assert max(len(frame) for frame in server.frames) == 64_000

    def test_waits_for_a_pong_after_each_window(self) -> None:
        server = Server(recorded(100), speed=None)
        kinds = [sent for _, sent in server.sent_at]
        assert kinds[:8] == ["open", "audio", "audio", "ping", "audio", "audio", "ping", "audio"]

    def test_does_not_flood_a_server_that_is_busy(self) -> None:
        server = Server(recorded(100), speed=None, answers_pings=False)
        server.run(4)
        assert server.samples == WINDOW
        assert len(server.times("ping")) == 1

    def test_gives_up_on_a_server_that_never_answers(self) -> None:
        server = Server(answers_pings=False)
        server.run(7)
        assert [sent for _, sent in server.sent_at][-2:] == ["error", "close"]
        assert server.samples <= WINDOW

    def test_lets_a_pause_pass_in_real_time(self) -> None:
        server = Server(recorded(10), None, opened=messages.Opened(offers(2)[:1], start_paused=True))
        server.run(2)
        assert server.frames == []
        server.say(messages.Resume())
        server.reply()
        assert server.samples == pytest.approx(8 * 8000, abs=FRAME * 1.5)
        assert server.closed_at == 2


class TestBackPressure:
    def test_stops_the_audio_and_not_the_pings(self) -> None:
        server = Server()
        server.run(0.5)
        server.conversation.hold(True)
        server.run(3)
        assert len(server.frames) == 2
        assert len(server.times("ping")) == 2

    def test_catches_up_when_it_is_over(self) -> None:
        server = Server()
        server.conversation.hold(True)
        server.run(3)
        server.conversation.hold(False)
        assert server.samples == 3 * 8000


def test_hanging_up_sends_close() -> None:
    server = Server()
    server.run(1)
    server.conversation.hang_up()
    assert server.closed_at is None
    server.reply()
    assert server.closed_at == 1
    assert server.told[-1] == events.Ended("end")


def test_a_lost_connection_stops_everything() -> None:
    server = Server()
    server.run(1)
    server.conversation.lost()
    before = list(server.sent_at)
    server.run(20)
    assert server.sent_at == before
    assert server.told[-1] == events.Ended(events.CONNECTION_LOST)


@pytest.mark.parametrize(
    ("source", "max_duration", "length"),
    [
        (None, None, 0),
        (None, 5, 0),
        (ENDLESS, None, None),
        (ENDLESS, 5, 5),
        (recorded(1), None, 8000),
        (recorded(1), 5, 5),
    ],
)
def test_the_shorter_of_source_and_maximum_is_the_length_of_a_call(
    source: Any, max_duration: int | None, length: int | None
) -> None:
    assert call_length(source, max_duration) == length
