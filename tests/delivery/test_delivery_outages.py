"""A destination that is unavailable, or a full thread pool: recordings wait, and none is penalised."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.worker import CONSECUTIVE_FAILURES, PAUSE
from audiohookd.interfaces import IRecording, PoolFull, Unavailable
from tests.delivery.delivery_rig import DAY, LIMIT, Carrier, Rig, failing, ids, logged, recording_id


class TestAnOutage:
    def test_makes_everything_wait_but_one_probe_at_a_time(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503 SlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        assert len(carrier.asked) <= 4, "in flight when the outage began"
        asked = len(carrier.asked)
        carrier.act = carrier.hold
        rig.pass_time(LIMIT)
        assert len(carrier.asked) == asked + 1
        assert rig.worker().queue.in_flight == 1
        assert rig.worker().queue.waiting == 19

    def test_penalises_no_recording(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503 SlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        rig.pass_time(1000)
        assert rig.worker().queue.deferred == 0
        assert rig.counted("delivery_failures") == 0
        carrier.act = carrier.upload
        rig.pass_time(LIMIT)
        assert rig.counted("recordings_stored") == 20

    def test_probes_at_growing_intervals(self, tmp_path: Path) -> None:
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

    def test_lasts_as_long_as_retry_after_says(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("429", retry_after=77)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        carrier.act = carrier.upload
        rig.pass_time(76)
        assert rig.counted("recordings_stored") == 0
        rig.pass_time(1)
        assert rig.counted("recordings_stored") == 1

    def test_begins_and_ends_with_a_line(self, tmp_path: Path) -> None:
        carrier = Carrier(4, failing(lambda: Unavailable("503\nSlowDown")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(*range(20))
            rig.pass_time(60)
            assert rig.worker().breaker.is_open
            carrier.act = carrier.upload
            rig.pass_time(LIMIT)
        assert lines[0] == "warn: s3: unavailable, all recordings wait, retry in less than a second: 503 SlowDown"
        assert len(lines) == 2
        assert lines[1].startswith("info: s3: available again after ")
        assert rig.counted("outages") == 1
        assert not rig.worker().breaker.is_open

    def test_logs_another_reason(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: Unavailable("refused")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(600)
            carrier.act = failing(lambda: Unavailable("no such bucket"))
            rig.pass_time(600)
        assert [line.rpartition(": ")[2] for line in lines] == ["refused", "no such bucket"]

    def test_logs_a_reminder_every_half_hour(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=failing(lambda: Unavailable("refused")))).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(4 * 3600)
        assert 7 <= len(lines) <= 9

    def test_begins_when_many_recordings_fail_in_a_row(self, tmp_path: Path) -> None:
        """Five different recordings that fail in a row mean an outage."""
        carrier = Carrier(act=failing(lambda: ConnectionResetError("peer")))
        rig = Rig(tmp_path, s3=carrier).start()
        with logged() as lines:
            rig.announce(*range(20))
        assert len(set(carrier.asked)) == CONSECUTIVE_FAILURES
        assert rig.counted("outages") == 1
        said = f"unavailable, all recordings wait, retry in less than a second: {CONSECUTIVE_FAILURES} recordings"
        assert any(said in line for line in lines)
        carrier.act = carrier.upload
        rig.pass_time(60)
        assert rig.counted("recordings_stored") == 20

    def test_does_not_begin_when_one_recording_keeps_failing(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector")))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        rig.pass_time(600)
        assert len(carrier.asked) > CONSECUTIVE_FAILURES
        assert not rig.worker().breaker.is_open

    def test_does_not_begin_when_some_succeed_in_between(self, tmp_path: Path) -> None:
        carrier = Carrier(act=failing(lambda: OSError("bad sector"), *range(0, 20, 2)))
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(*range(20))
        assert rig.counted("recordings_stored") == 10
        assert rig.counted("outages") == 0

    def test_ends_with_a_success_that_began_before_it(self, tmp_path: Path) -> None:
        carrier = Carrier(2)
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2, 3)
        carrier.release(recording_id(1), Unavailable("reset"))
        rig.workers.run()
        assert rig.worker().breaker.is_open
        carrier.release(recording_id(2))
        rig.workers.run()
        assert not rig.worker().breaker.is_open
        assert rig.worker().queue.in_flight == 2


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
            assert rig.counted("recordings_stored") == 0
            rig.pass_time(1)
        assert rig.counted("recordings_stored") == 1
        assert lines == ["info: s3: available again after 60 s"]

    def test_provides_the_dates_of_receipts(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, keeps_local=True, s3=Carrier(), tape=Carrier(act=failing(lambda: Unavailable("reset"))))
        rig.start()
        rig.set_by = 3600.0
        (id_,) = rig.announce(1)
        assert '"at": "2026-01-01T01:00:00.000Z"' in (tmp_path / "ready" / DAY / f"{id_}.stored.s3.json").read_text()


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
        assert rig.counted("recordings_stored") == 2
