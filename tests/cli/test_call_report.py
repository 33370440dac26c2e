"""The report of ``audiohookctl call``."""

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.task import Clock

from audiohookd.cli.call.connection import describe_failure
from audiohookd.cli.call.execution import keep_informed
from audiohookd.cli.call.report import NOT_CLOSED, CallReport, Report, RoundTrips
from audiohookd.protocol import events
from audiohookd.protocol.client.events import Accepted, Disconnected, Results
from audiohookd.protocol.media import Format, Media


class Screen:
    """A report, and its output."""

    def __init__(self, quiet: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.report = Report(None if quiet else self.out, self.err)

    def call(self, *happened: events.Event, why: str | None = None) -> CallReport:
        """Reports a call from start to end."""
        call = self.report.call()
        for event in happened:
            call.event_received(event)
        call.over(why)
        return call

    @property
    def lines(self) -> list[str]:
        return self.err.getvalue().splitlines()


ENDED = events.Ended("end")
LOST = events.Ended(events.CONNECTION_LOST)


def milliseconds(line: str) -> dict[str, float]:
    words = line.removeprefix("round trip in ms: ").split(" of ")[0].split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


@given(st.lists(st.integers(1, 59_000_000), min_size=1, max_size=300))
def test_percentiles_are_those_of_the_sorted_list(microseconds: list[int]) -> None:
    trips = RoundTrips()
    for value in microseconds:
        trips.add(value * 1000)
    ranked = sorted(microseconds)
    shown = milliseconds(str(trips))
    assert list(shown) == ["min", "p50", "p90", "p95", "p99", "p99.9", "max"]
    for name, percent in (("min", 0), ("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("max", 100)):
        rank = max(1, math.ceil(percent / 100 * len(ranked)))
        near = {ranked[max(0, rank - 2)], ranked[rank - 1], ranked[min(len(ranked) - 1, rank)]}
        assert any(shown[name] == pytest.approx(value / 1000, rel=0.002, abs=0.001) for value in near)
    assert str(trips).endswith(f" of {len(microseconds)}")


def test_round_trips_beyond_the_scale_are_kept_at_its_end() -> None:
    trips = RoundTrips()
    trips.add(0)
    trips.add(10**15)
    assert milliseconds(str(trips))["min"] == 0.001
    assert milliseconds(str(trips))["max"] == pytest.approx(60_000, rel=0.002)


def test_round_trips_are_reported_every_30_seconds() -> None:
    screen, clock = Screen(), Clock()
    screen.report.round_trip(2_000_000)
    keep_informed(clock, screen.report)
    clock.pump([1] * 29)
    assert screen.lines == []
    clock.pump([1] * 31)
    assert [milliseconds(line)["max"] for line in screen.lines] == [pytest.approx(2, rel=0.002)] * 2


def test_no_round_trips_are_no_numbers() -> None:
    assert str(RoundTrips()) == "round trip: none measured"


def test_results_are_json_lines_with_the_number_of_the_call() -> None:
    screen = Screen()
    screen.call(ENDED)
    screen.call(Results(({"type": "a", "data": "ä\n\x9b"}, {"type": "b", "data": {}})), ENDED)
    first, second = screen.out.getvalue().splitlines()
    assert json.loads(first) == {"call": 2, "type": "a", "data": "ä\n\x9b"}
    assert json.loads(second) == {"call": 2, "type": "b", "data": {}}
    assert "ä" in first
    assert "\x9b" not in first


def test_quiet_leaves_the_results_out() -> None:
    screen = Screen(quiet=True)
    screen.call(Results(({"type": "a", "data": 1},)), ENDED)
    assert screen.out.getvalue() == ""


def test_a_reader_that_has_gone_does_not_end_the_calls() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    report = Report(Closed(), io.StringIO())
    report.result({"type": "a"})
    report.result({"type": "b"})
    assert report.failures == 0


def test_a_closed_call_is_not_a_failure() -> None:
    screen = Screen()
    screen.call(ENDED)
    assert screen.report.failures == 0
    assert screen.lines == []


def test_a_rejected_call_is_counted_once() -> None:
    screen = Screen()
    screen.call(Disconnected("error", "too many sessions"), events.Ended("disconnect"))
    screen.report.summary()
    assert screen.lines[-1].startswith("calls: 1, completed: 0, failed: 1,")


def test_a_completed_call_is_no_failure() -> None:
    screen = Screen()
    screen.call(Disconnected("completed", "all said", {"Intent": "bye"}), events.Ended("disconnect"))
    assert screen.report.failures == 0
    assert screen.lines == [
        'call 1: the server disconnected, reason completed: all said; outputVariables {"Intent": "bye"}'
    ]


@pytest.mark.parametrize(
    ("happened", "why", "line"),
    [
        ([LOST], None, NOT_CLOSED),
        ([], None, NOT_CLOSED),
        ([LOST], "connection refused", "connection refused"),
        ([Disconnected("error", "no room"), ENDED], None, "the server disconnected, reason error: no room"),
        ([Disconnected("unauthorized", None), LOST], None, "the server disconnected, reason unauthorized"),
        ([events.Fault("408 timed out waiting for pong"), LOST], None, "error 408 timed out waiting for pong"),
        ([events.Fault("400 a"), Disconnected("error", "b"), ENDED], None, "error 400 a"),
    ],
)
def test_a_failure_is_one_line_with_its_first_cause(happened: list[events.Event], why: str | None, line: str) -> None:
    screen = Screen()
    screen.call(*happened, why=why)
    assert screen.lines == [f"call 1: {line}"]
    assert screen.report.failures == 1


def test_notes_are_lines_too() -> None:
    screen = Screen()
    media = Media(Format.PCMU, ("external",))
    screen.call(Accepted(None, None), events.Tolerated("reconnect"), ENDED)
    screen.call(Accepted(media, ("en-US", "de")), ENDED)
    screen.call(Accepted(media, ()), ENDED)
    assert screen.lines == [
        "call 1: the server wants no audio",
        "call 1: note: reconnect, which this client ignores",
        "call 2: the server's languages: en-US, de",
        "call 3: the server's languages: none",
    ]


def test_pauses_of_the_server_are_lines() -> None:
    screen = Screen()
    media = Media(Format.PCMU, ("external",))
    screen.call(Accepted(media, None, True, "PT3S"), events.Paused(), events.Resumed(), events.Paused(), ENDED)
    assert screen.lines == [
        "call 1: the server discards audio before PT3S (discardTo)",
        "call 1: the server opened the session paused (startPaused): it gets no audio until it sends resume",
        "call 1: the server resumed the audio",
        "call 1: the server paused the audio",
    ]


@pytest.mark.parametrize(
    ("happened", "closing", "line"),
    [
        ([LOST], "code 1011, reason 'no'", "the server closed the WebSocket before opened: code 1011, reason 'no'"),
        (
            [Accepted(None, None), LOST],
            "code 1001",
            "the server closed the WebSocket before closed: code 1001",
        ),
    ],
)
def test_a_websocket_that_the_server_closed_is_a_failure_with_its_code(
    happened: list[events.Event], closing: str, line: str
) -> None:
    screen = Screen()
    call = screen.report.call()
    for event in happened:
        call.event_received(event)
    call.over(None, closing)
    assert screen.lines[-1] == f"call 1: {line}"
    assert screen.report.failures == 1


def test_a_terminal_that_has_gone_does_not_end_the_calls() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    report = Report(None, Gone())
    report.call().over("connection refused")
    report.summary()
    assert report.failures == 1


def test_text_of_a_server_does_not_move_the_cursor() -> None:
    screen = Screen()
    screen.call(Disconnected("error", "\x1b[2J\r\n\x9b"), ENDED)
    (line,) = screen.lines
    assert line.isprintable()


def test_the_summary_has_all_that_counts() -> None:
    screen = Screen()
    call = screen.report.call()
    call.audio_transferred(20_000, True)
    call.audio_transferred(8_000, False)
    call.event_received(events.RoundTrip(1_500_000))
    call.event_received(ENDED)
    call.over(None)
    screen.call(LOST, why="connection refused")
    screen.report.summary()
    trips, summary = screen.lines[-2:]
    assert milliseconds(trips)["p50"] == pytest.approx(1.5, rel=0.002)
    assert summary == "calls: 2, completed: 1, failed: 1, audio sent: 2.5 s"


@pytest.mark.parametrize(("bar_after", "is_shown"), [(None, False), (3600, False), (0, True)])
def test_the_bar_appears_when_it_takes_long(bar_after: float | None, is_shown: bool) -> None:
    err = io.StringIO()
    report = Report(None, err, total=80_000, bar_after=bar_after)
    report.audio_transferred(40_000, True)
    report.progress()
    report.summary()
    assert ("5/10" in err.getvalue()) is is_shown


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (error.ConnectionRefusedError(), "connection refused"),
        (error.DNSLookupError("x"), "no such host"),
        (error.TimeoutError(), "the connection timed out"),
        (error.TCPTimedOutError(), "the connection timed out"),
        (ValueError("a\nb"), "a b"),
        (ValueError(), "ValueError"),
    ],
)
def test_failed_connections_are_described(fault: BaseException, says: str) -> None:
    assert describe_failure(fault) == says


def test_disconnect_without_info() -> None:
    screen = Screen()
    screen.call(Disconnected("error", None), ENDED)
    screen.call(Disconnected("completed", None, {"a": "b"}), ENDED)
    assert screen.lines == [
        "call 1: the server disconnected, reason error",
        'call 2: the server disconnected, reason completed; outputVariables {"a": "b"}',
    ]
