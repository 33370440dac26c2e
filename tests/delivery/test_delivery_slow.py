"""A delivery that takes long, or never ends, is logged and not cancelled."""

from pathlib import Path

import pytest

from audiohookd.delivery.worker import SLOW
from tests.delivery.delivery_rig import DAY, Carrier, Rig, logged, recording_id


class TestADeliveryThatDoesNotEnd:
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        carrier = Carrier(2)
        carrier.act = carrier.hold
        return Rig(tmp_path, s3=carrier).start()

    def test_counts_as_in_flight(self, rig: Rig) -> None:
        rig.announce(1, 2, 3)
        rig.pass_time(3600)
        queue = rig.worker().queue
        assert (queue.in_flight, queue.waiting, queue.deferred) == (2, 1, 0)

    def test_logs_a_warning_and_repeats_it_at_most_once_an_hour(self, rig: Rig) -> None:
        with logged() as lines:
            rig.announce(1, 2, 3)
            rig.pass_time(SLOW - 1)
            assert lines == []
            rig.pass_time(1)
            recording = f"recording {recording_id(1)} of {DAY}"
            assert lines == [f"warn: s3: delivery of {recording} has taken 600 s so far, and delays others"]
            rig.pass_time(3599)
            assert len(lines) == 1
            rig.pass_time(1)
            assert len(lines) == 2
            assert "has taken 4200 s" in lines[1]

    def test_logs_nothing_after_it_has_ended(self, tmp_path: Path) -> None:
        carrier = Carrier()
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1)
        rig.pass_time(SLOW)
        carrier.release(recording_id(1))
        rig.workers.run()
        with logged() as lines:
            rig.pass_time(2 * 3600, step=10)
        assert lines == []
