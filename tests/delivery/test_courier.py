"""One outlet: what it gets, when, how many at a time, and what becomes of failures."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from delivery_rig import (
    DAY,
    FIRST,
    LIMIT,
    YESTERDAY,
    Carrier,
    Notifier,
    Rig,
    deliveries_logged,
    logged,
    make_ready,
    recording_id,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiohookd.delivery.courier import PAUSE, ROW
from audiohookd.interfaces import IRecording, Unavailable, Undeliverable
from audiohookd.runtime.workers import PoolFull
from audiohookd.testing import START


def ids(*numbers: int) -> list[str]:
    return [recording_id(number) for number in numbers]


def failing(fault: Callable[[], Exception], *numbers: int) -> Callable[[IRecording], Any]:
    """Of those recordings, or of all; the others are delivered."""

    def act(recording: IRecording) -> Any:
        if not numbers or recording.id in ids(*numbers):
            raise fault()
        return {}

    return act


class TestOrder:
    def test_what_was_there_goes_first_the_oldest_day_first(self, tmp_path: Path) -> None:
        for number, day in ((2, DAY), (3, YESTERDAY), (1, DAY), (4, YESTERDAY)):
            make_ready(tmp_path, number, day)
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(0)
        assert carrier.asked == ids(3, 4, 1, 2, 0)
        assert rig.files() == set()

    def test_what_is_announced_is_delivered_at_once(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        assert carrier.asked == ids(1, 2)
        assert rig.counted("stored") == 2
        assert rig.status().waiting == rig.status().in_flight == 0

    def test_a_coroutine_will_do(self, tmp_path: Path) -> None:
        async def store(recording: IRecording) -> dict[str, str]:
            return {"key": recording.id}

        rig = Rig(tmp_path, s3=Carrier(act=store)).start()
        rig.announce(1)
        assert rig.counted("stored") == 1

    def test_what_is_gone_is_not_delivered(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.deliveries.announce(rig.layout.ready / DAY / f"{recording_id(1)}.wav")
        rig.workers.run()
        assert carrier.asked == []
        assert rig.status().in_flight == 0


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_is_never_exceeded(self, tmp_path: Path, concurrency: int) -> None:
        carrier = Carrier(concurrency)
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(10))
        seen = []
        while carrier.held:
            seen.append(len(carrier.held))
            assert rig.status().in_flight == len(carrier.held)
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
    def test_is_tried_again_for_ever_less_and_less_often(self, tmp_path: Path) -> None:
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
        assert rig.status().resting == 1
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
        # The clock goes by quarters of a second, and each one of them may be late by that.
        for number, (earlier, later) in enumerate(pairwise(tried)):
            assert 0 <= later - earlier <= min(LIMIT, FIRST * 2**number) + 0.25

    def test_does_not_hold_up_the_others(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), 1))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2, 3)
        assert rig.counted("stored") == 2
        assert rig.status().unavailable_since is None

    def test_is_delivered_in_the_end(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("flaky")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        carrier.act = carrier.upload
        rig.pass_time(1)
        assert rig.counted("stored") == 1
        assert rig.files() == set()

    def test_two_hundred_that_never_succeed_starve_nobody(self, tmp_path: Path) -> None:
        """They are the oldest: always the first that are found."""
        for number in range(200):
            make_ready(tmp_path, number, YESTERDAY)
        good = range(1000, 1100)
        for number in good:
            make_ready(tmp_path, number)
        carrier = Carrier(act=failing(lambda: ValueError("cursed"), *range(200)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.pass_time(900)
        assert rig.counted("stored") == len(good)
        assert rig.status().resting == 200
        rig.announce(2000)
        rig.pass_time(300)
        assert rig.counted("stored") == len(good) + 1

    def test_without_a_receipt_that_can_be_kept_is_not_stored(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=lambda recording: None)).start()
        rig.announce(1)
        assert rig.counted("stored") == 0
        assert f"{DAY}/1.wav" in rig.files()
        assert rig.status().last_error is not None
        assert rig.status().last_error.startswith("TypeError: 'NoneType' object is not a mapping")


class TestTheLogOfFailures:
    def test_is_no_flood(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), 1, 2, 3))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2, 3)
            rig.pass_time(59)
        failures = rig.counted("delivery_failures")
        assert failures > 10
        assert len(lines) == 1
        assert lines[0].startswith(f"warn: s3: recording {recording_id(1)} of {DAY} failed, and is tried again: ")
        assert "OSError: bad sector (test_courier.py, line " in lines[0]
        with logged() as lines:
            rig.pass_time(600)
        assert 2 <= len(lines) <= 11
        assert f"({failures - 1} more failed since the last such line)" in lines[0]

    def test_is_one_line_however_much_a_plugin_says(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=failing(lambda: OSError("line\n" * 1000)))).start()
        with logged() as lines:
            rig.announce(1)
        assert len(lines) == 1
        assert "\n" not in lines[0]
        assert len(lines[0]) < 500


class TestAnOutage:
    def test_makes_everything_wait_but_one_trial_at_a_time(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503 SlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        assert len(carrier.asked) <= 4, "what was begun before it was known"
        asked = len(carrier.asked)
        carrier.act = carrier.hold
        rig.pass_time(LIMIT)
        assert len(carrier.asked) == asked + 1
        assert rig.status().in_flight == 1
        assert rig.status().waiting == 19

    def test_penalises_no_recording(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503 SlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        rig.pass_time(1000)
        assert rig.status().resting == 0
        assert rig.counted("delivery_failures") == 0
        carrier.act = carrier.upload
        rig.pass_time(LIMIT)
        assert rig.counted("stored") == 20

    def test_is_tried_again_less_and_less_often(self, tmp_path: Path) -> None:
        tried: list[float] = []

        def act(recording: IRecording) -> Any:
            tried.append(rig.clock.seconds())
            raise Unavailable("no route")

        rig = Rig(tmp_path, s3=Carrier(act=act)).start()
        rig.announce(*range(3))
        rig.pass_time(1800, step=0.5)
        waits = [later - earlier for earlier, later in pairwise(tried)]
        assert waits[:10] == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150]
        assert set(waits[10:]) == {150}

    def test_lasts_as_long_as_the_other_side_says(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("429", retry_after=77)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        carrier.act = carrier.upload
        rig.pass_time(76)
        assert rig.counted("stored") == 0
        rig.pass_time(1)
        assert rig.counted("stored") == 1

    def test_begins_and_ends_with_a_line(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503\nSlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(*range(20))
            began = rig.now()
            rig.pass_time(60)
            assert rig.status().unavailable_since == began
            assert rig.status().last_error == "503 SlowDown"
            carrier.act = carrier.upload
            rig.pass_time(LIMIT)
        assert lines[0] == "warn: s3: unavailable, everything waits, tried again in 0.5 s: 503 SlowDown"
        assert len(lines) == 2
        assert lines[1].startswith("info: s3: available again after ")
        assert rig.counted("outages") == 1
        assert rig.status().unavailable_since is None

    def test_says_so_again_when_it_is_another_one(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("refused")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(600)
            carrier.act = failing(lambda: Unavailable("no such bucket"))
            rig.pass_time(600)
        assert [line.rpartition(": ")[2] for line in lines] == ["refused", "no such bucket"]

    def test_says_so_every_half_hour_as_long_as_it_lasts(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=failing(lambda: Unavailable("refused")))).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(4 * 3600)
        assert 7 <= len(lines) <= 9

    def test_is_also_when_everything_fails_with_anything(self, tmp_path: Path) -> None:
        """It is not five recordings in a row that are broken."""
        carrier = Carrier(act=failing(lambda: ConnectionResetError("peer")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(*range(20))
        assert len(set(carrier.asked)) == ROW
        assert rig.counted("outages") == 1
        assert any(f"unavailable, everything waits, tried again in 0.5 s: {ROW} recordings" in line for line in lines)
        carrier.act = carrier.upload
        rig.pass_time(60)
        assert rig.counted("stored") == 20

    def test_is_not_when_one_recording_fails_again_and_again(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        rig.pass_time(600)
        assert len(carrier.asked) > ROW
        assert rig.status().unavailable_since is None

    def test_is_not_when_some_succeed_between(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), *range(0, 20, 2)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        assert rig.counted("stored") == 10
        assert rig.counted("outages") == 0

    def test_ends_by_what_was_begun_before_it(self, tmp_path: Path) -> None:
        carrier = Carrier(2)
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2, 3)
        carrier.release(recording_id(1), Unavailable("reset"))
        rig.workers.run()
        assert rig.status().unavailable_since is not None
        carrier.release(recording_id(2))
        rig.workers.run()
        assert rig.status().unavailable_since is None
        assert rig.status().in_flight == 2


class TestAClockThatIsSet:
    @pytest.mark.parametrize("hours", [-5, 5])
    def test_makes_nothing_wait_longer_or_shorter(self, tmp_path: Path, hours: int) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("reset", retry_after=60)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        rig.set_by = hours * 3600.0
        carrier.act = carrier.upload
        with logged() as lines:
            rig.pass_time(59)
            assert rig.counted("stored") == 0
            rig.pass_time(1)
        assert rig.counted("stored") == 1
        assert lines == ["info: s3: available again after 60.0 s"]

    def test_is_the_one_that_dates_come_from(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, keep_local=True, s3=Carrier(), tape=Carrier(act=failing(lambda: Unavailable("reset"))))
        rig.start()
        rig.set_by = 3600.0
        (id_,) = rig.announce(1)
        assert '"at": "2026-01-01T01:00:00.000Z"' in (tmp_path / "ready" / DAY / f"{id_}.stored.s3.json").read_text()
        assert rig.status("stored.tape").unavailable_since == START + 3600.0


class TestADeadLetter:
    def test_is_put_aside_and_told_of(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Undeliverable("larger\nthan 5 TiB"), 1))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2)
        assert rig.files("dead") == {f"{DAY}/1.{suffix}" for suffix in ("wav", "json", "reason.txt")}
        what = f"recording {recording_id(1)} of {DAY} can never be delivered, and was put into dead/"
        assert lines == [f"error: s3: {what}: larger than 5 TiB"]
        assert rig.counted("dead_letters") == 1
        assert rig.counted("stored") == 1
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
        assert rig.counted("stored") == 1

    def test_is_tried_again_while_it_cannot_be_put_aside(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Undeliverable("too large")))
        rig = Rig(tmp_path, s3=carrier).start()
        (tmp_path / "dead").write_text("in the way")
        rig.announce(1)
        assert rig.counted("dead_letters") == 0
        assert rig.status().resting == 1
        (tmp_path / "dead").unlink()
        rig.pass_time(1)
        assert rig.counted("dead_letters") == 1


class TestAPoolThatIsFull:
    def test_costs_only_time(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: PoolFull("plugin-s3")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2)
            assert carrier.asked == ids(1)
            rig.pass_time(10 * PAUSE)
        assert len(carrier.asked) == 11
        assert lines == []
        assert rig.counted("delivery_failures") == rig.counted("outages") == 0
        carrier.act = carrier.upload
        rig.pass_time(PAUSE)
        assert rig.counted("stored") == 2


class TestAMistakeOfOurOwn:
    def test_neither_blocks_the_outlet_nor_is_hidden(self, tmp_path: Path) -> None:
        def act(recording: IRecording) -> Any:
            raise Unavailable("busy", retry_after="soon") if recording.id == recording_id(1) else OSError("x")

        carrier = Carrier(act=act)
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
        assert any(line.startswith(f"critical: s3: recording {recording_id(1)}") for line in lines)
        assert rig.status().in_flight == 0
        carrier.act = carrier.upload
        rig.announce(2)
        rig.pass_time(PAUSE)
        assert rig.counted("stored") == 1
        rig.pass_time(60)
        assert rig.counted("stored") == 2


def _cycle(draws: list[float]) -> Iterator[float]:
    while True:
        yield from draws


def test_each_delivery_is_a_line(tmp_path: Path) -> None:
    rig = Rig(tmp_path, s3=Carrier(), webhook=Notifier()).start()
    with deliveries_logged() as lines:
        rig.announce(1)
    assert [line.rpartition(": ")[0] for line in lines] == [
        "info: recording stored by s3",
        "info: recording told by webhook",
    ]
