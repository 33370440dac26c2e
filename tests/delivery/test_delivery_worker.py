"""One destination: order, concurrency, retries and dead letters."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiohookd.delivery.worker import PAUSE
from audiohookd.interfaces import IRecording, Unavailable, Undeliverable
from tests.delivery.delivery_rig import (
    DAY,
    FIRST,
    LIMIT,
    YESTERDAY,
    Carrier,
    Notifier,
    Rig,
    deliveries_logged,
    failing,
    ids,
    logged,
    make_ready,
    recording_id,
)


class TestOrder:
    def test_a_start_delivers_the_backlog_first_oldest_day_first(self, tmp_path: Path) -> None:
        for number, day in ((2, DAY), (3, YESTERDAY), (1, DAY), (4, YESTERDAY)):
            make_ready(tmp_path, number, day)
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(0)
        assert carrier.asked == ids(3, 4, 1, 2, 0)
        assert rig.files() == set()

    def test_an_announced_recording_is_delivered_at_once(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        assert carrier.asked == ids(1, 2)
        assert rig.counted("recordings_stored") == 2
        assert rig.worker().queue.waiting == rig.worker().queue.in_flight == 0

    def test_a_plugin_may_return_a_coroutine(self, tmp_path: Path) -> None:
        async def store(recording: IRecording) -> dict[str, str]:
            return {"key": recording.id}

        rig = Rig(tmp_path, s3=Carrier(act=store)).start()
        rig.announce(1)
        assert rig.counted("recordings_stored") == 1

    def test_a_removed_recording_is_not_delivered(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.deliveries.announce(rig.layout.ready / DAY / f"{recording_id(1)}.wav")
        rig.workers.run()
        assert carrier.asked == []
        assert rig.worker().queue.in_flight == 0


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_limits_the_deliveries_in_flight(self, tmp_path: Path, concurrency: int) -> None:
        carrier = Carrier(concurrency)
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(10))
        seen = []
        while carrier.held:
            seen.append(len(carrier.held))
            assert rig.worker().queue.in_flight == len(carrier.held)
            carrier.release(next(iter(carrier.held)))
            rig.workers.run()
        assert max(seen) == concurrency
        assert seen[0] == concurrency
        assert sorted(carrier.asked) == ids(*range(10))

    def test_counts_until_the_receipt_is_written(self, tmp_path: Path) -> None:
        carrier = Carrier()
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        carrier.release(recording_id(1))
        assert carrier.asked == ids(1)
        rig.workers.run()
        assert carrier.asked == ids(1, 2)


class TestARecordingThatFails:
    def test_retries_without_end_at_growing_intervals(self, tmp_path: Path) -> None:
        tried: list[float] = []

        def act(recording: IRecording) -> Any:
            if recording.id == recording_id(1):
                tried.append(rig.clock.seconds())
                raise OSError("flaky")
            return {}

        draws = iter([0.5] * 1000)
        rig = Rig(tmp_path, s3=Carrier(act=act), random=lambda: next(draws)).start()
        rig.announce(1)
        rig.pass_time(3600, step=0.5)
        waits = [later - earlier for earlier, later in pairwise(tried)]
        assert waits[:10] == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150]
        assert set(waits[10:]) == {150}
        assert len(waits) > 25
        assert rig.worker().queue.deferred == 1
        assert rig.counted("delivery_failures") == len(tried)
        assert f"{DAY}/1.wav" in rig.files()

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(draws=st.lists(st.floats(0.01, 1, exclude_max=True), min_size=1, max_size=20))
    def test_waits_at_random_within_the_bounds(
        self, tmp_path_factory: pytest.TempPathFactory, draws: list[float]
    ) -> None:
        tried: list[float] = []
        endless = _cycle(draws)

        def act(recording: IRecording) -> Any:
            tried.append(rig.clock.seconds())
            raise OSError("flaky")

        rig = Rig(tmp_path_factory.mktemp("spool"), s3=Carrier(act=act), random=lambda: next(endless)).start()
        rig.announce(1)
        rig.pass_time(12, step=0.25)
        # The test's clock advances in steps of 0.25 s, so each retry may be late by that.
        for number, (earlier, later) in enumerate(pairwise(tried)):
            assert 0 <= later - earlier <= min(LIMIT, FIRST * 2**number) + 0.25

    def test_does_not_hold_up_the_others(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), 1))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2, 3)
        assert rig.counted("recordings_stored") == 2
        assert not rig.worker().breaker.is_open

    def test_succeeds_in_a_later_retry(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("flaky")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        carrier.act = carrier.upload
        rig.pass_time(1)
        assert rig.counted("recordings_stored") == 1
        assert rig.files() == set()

    def test_two_hundred_failing_recordings_do_not_starve_others(self, tmp_path: Path) -> None:
        """They are the oldest, so every search finds them first."""
        for number in range(200):
            make_ready(tmp_path, number, YESTERDAY)
        good = range(1000, 1100)
        for number in good:
            make_ready(tmp_path, number)
        carrier = Carrier(act=failing(lambda: ValueError("cursed"), *range(200)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.pass_time(900)
        assert rig.counted("recordings_stored") == len(good)
        assert rig.worker().queue.deferred == 200
        rig.announce(2000)
        rig.pass_time(300)
        assert rig.counted("recordings_stored") == len(good) + 1

    def test_without_a_receipt_that_can_be_kept_is_not_stored(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=lambda recording: None)).start()
        with logged() as lines:
            rig.announce(1)
        assert rig.counted("recordings_stored") == 0
        assert f"{DAY}/1.wav" in rig.files()
        assert any("will retry: TypeError: 'NoneType' object is not a mapping" in line for line in lines)


class TestTheLogOfFailures:
    def test_has_the_traceback_of_a_mistake_in_the_plugin_once(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: KeyError("bucket"), 1, 2, 3))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2, 3)
            rig.pass_time(59)
        assert rig.counted("delivery_failures") > 10
        mistakes = [line for line in lines if "programming error" in line]
        assert mistakes == ["critical: s3: programming error in the plugin"]
        assert [line for line in lines if ".py" in line] == []

    @pytest.mark.parametrize("fault", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
    def test_any_exception_of_a_plugin_is_retried(self, tmp_path: Path, fault: type[BaseException]) -> None:
        carrier = Carrier(act=failing(fault, 1))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(59)
        assert rig.counted("delivery_failures") > 1
        assert lines[0] == "critical: s3: programming error in the plugin"
        assert lines[1].endswith(f"will retry: {fault.__name__}")

    def test_has_no_traceback_of_what_may_happen(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError(113, "No route to host"), 1))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
        assert [line.rpartition(": ")[2] for line in lines] == ["No route to host"]

    def test_limits_the_rate_of_lines(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), 1, 2, 3))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2, 3)
            rig.pass_time(59)
        failures = rig.counted("delivery_failures")
        assert failures > 10
        assert len(lines) == 1
        assert lines[0].startswith(f"warn: s3: delivery of recording {recording_id(1)} of {DAY} failed, will retry: ")
        assert lines[0].endswith("will retry: OSError: bad sector")
        with logged() as lines:
            rig.pass_time(600)
        assert 2 <= len(lines) <= 11
        assert f"({failures - 1} more failed since the last such line)" in lines[0]

    def test_shortens_a_long_error_to_one_line(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=failing(lambda: OSError("line\n" * 1000)))).start()
        with logged() as lines:
            rig.announce(1)
        assert len(lines) == 1
        assert "\n" not in lines[0]
        assert len(lines[0]) < 500


class TestADeadLetter:
    def test_moves_to_dead_and_is_logged(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Undeliverable("larger\nthan 5 TiB"), 1))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2)
        assert rig.files("dead") == {f"{DAY}/1.{suffix}" for suffix in ("wav", "json", "reason.txt")}
        what = f"recording {recording_id(1)} of {DAY} rejected for good, moved to dead/"
        assert lines == [f"error: s3: {what}: larger than 5 TiB"]
        assert rig.counted("dead_letters") == 1
        assert rig.counted("recordings_stored") == 1
        rig.pass_time(600)
        assert len(carrier.asked) == 2

    def test_says_nothing_of_the_other_side(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Undeliverable("too large")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        assert rig.counted("dead_letters") == 20
        assert rig.counted("outages") == 0

    def test_as_a_trial_makes_room_for_another(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("reset")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        carrier.act = failing(lambda: Undeliverable("too large"), 2)
        rig.pass_time(1)
        assert rig.counted("dead_letters") == 1
        assert rig.counted("recordings_stored") == 1

    def test_retries_until_it_can_be_moved(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Undeliverable("too large")))
        rig = Rig(tmp_path, s3=carrier).start()
        (tmp_path / "dead").write_text("in the way")
        rig.announce(1)
        assert rig.counted("dead_letters") == 0
        assert rig.worker().queue.deferred == 1
        (tmp_path / "dead").unlink()
        rig.pass_time(1)
        assert rig.counted("dead_letters") == 1


class TestAMistakeOfOurOwn:
    def test_neither_blocks_the_destination_nor_is_hidden(self, tmp_path: Path) -> None:
        def act(recording: IRecording) -> Any:
            raise Unavailable("busy", retry_after="soon") if recording.id == recording_id(1) else OSError("x")  # type: ignore[arg-type]

        carrier = Carrier(act=act)
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
        assert any(
            line.startswith(f"critical: s3: internal error while delivering recording {recording_id(1)}")
            for line in lines
        )
        assert rig.worker().queue.in_flight == 0
        assert rig.counters.value("internal_errors") == 1
        carrier.act = carrier.upload
        rig.announce(2)
        rig.pass_time(PAUSE)
        assert rig.counted("recordings_stored") == 1
        rig.pass_time(60)
        assert rig.counted("recordings_stored") == 2


def _cycle(draws: list[float]) -> Iterator[float]:
    while True:
        yield from draws


def test_each_delivery_is_a_line(tmp_path: Path) -> None:
    rig = Rig(tmp_path, s3=Carrier(), webhook=Notifier()).start()
    with deliveries_logged() as lines:
        rig.announce(1)
    assert [line.rpartition(": ")[0] for line in lines] == [
        "info: recording stored by s3",
        "info: recording announced by webhook",
    ]
