"""A delivery that takes long, or for ever: nobody ends it, but it is told of."""

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

    def test_is_seen(self, rig: Rig) -> None:
        rig.announce(1, 2, 3)
        rig.pass_time(3600)
        status = rig.status()
        assert (status.in_flight, status.waiting, status.resting) == (2, 1, 0)

    def test_is_told_of_and_then_at_most_once_an_hour(self, rig: Rig) -> None:
        with logged() as lines:
            rig.announce(1, 2, 3)
            rig.pass_time(SLOW - 1)
            assert lines == []
            rig.pass_time(1)
            assert lines == [
                f"warn: s3: recording {recording_id(1)} of {DAY} has been on its way for 600 s, and holds up others"
            ]
            rig.pass_time(3599)
            assert len(lines) == 1
            rig.pass_time(1)
            assert len(lines) == 2
            assert "for 4200 s" in lines[1]

    def test_and_then_does_is_not_told_of_again(self, tmp_path: Path) -> None:
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
