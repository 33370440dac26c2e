"""Many recordings that each fail for their own reason do not hold up the others."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.worker import CONSECUTIVE_FAILURES, UNREADABLE_PAUSE
from audiohookd.interfaces import IRecording, Unavailable
from tests.delivery.delivery_rig import DAY, YESTERDAY, Carrier, NoSync, Rig, logged, make_ready, recording_id

#: More than may be waiting and deferred together.
POISONED = 1_100
NEW = 5_000
#: Seconds between "ready" and "stored" that count as no delay.
SOON = 1.0
#: Seconds after a start in which nearly the whole backlog has been attempted once.
SETTLED = 60.0


def unreadable(recording: IRecording) -> Exception:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(recording.audio))


def torn(recording: IRecording) -> Exception:
    """A sector that cannot be read: the error of an open file has no file name."""
    return OSError(errno.EIO, os.strerror(errno.EIO))


def cursed(recording: IRecording) -> Exception:
    return ValueError("cursed")


def poison(spool: Path, count: int) -> None:
    """Makes ready recordings; all are links to one file, to be quick."""
    make_ready(spool, 0, YESTERDAY)
    day = spool / "ready" / YESTERDAY
    for number in range(1, count):
        for suffix in ("wav", "json"):
            os.link(day / f"{recording_id(0)}.{suffix}", day / f"{recording_id(number)}.{suffix}")


class Poisoned(Carrier):
    """Cannot read the files of some recordings, and stores all others."""

    def __init__(self, fault: Any = unreadable, concurrency: int = 4) -> None:
        super().__init__(concurrency, self._store)
        self._fault = fault
        self.is_down = False

    def _store(self, recording: IRecording) -> Any:
        if recording.day == YESTERDAY:
            raise self._fault(recording)
        if self.is_down:
            raise Unavailable("no route")
        return {}


def seconds_until_stored(rig: Rig, number: int, limit: float) -> float:
    """Seconds from its announcement."""
    before = rig.counted("recordings_stored")
    began = rig.clock.seconds()
    rig.announce(number)
    while rig.counted("recordings_stored") == before and rig.clock.seconds() < began + limit:
        rig.pass_time(0.01, step=0.01)
    return rig.clock.seconds() - began


@pytest.mark.parametrize("fault", [unreadable, torn])
class TestFilesThatCannotBeRead:
    def test_do_not_hold_up_new_recordings(self, tmp_path: Path, fault: Any) -> None:
        poison(tmp_path, POISONED)
        rig = Rig(tmp_path, disk=NoSync(), s3=Poisoned(fault)).start()
        waits = [seconds_until_stored(rig, NEW, 60)]
        for number in range(NEW + 1, NEW + 4):
            rig.pass_time(SETTLED, step=0.1)
            waits.append(seconds_until_stored(rig, number, 60))
        assert max(waits) < SOON
        assert rig.worker().queue.deferred == 1_000

    def test_say_nothing_about_the_destination(self, tmp_path: Path, fault: Any) -> None:
        poison(tmp_path, 10 * CONSECUTIVE_FAILURES)
        with logged() as lines:
            rig = Rig(tmp_path, s3=Poisoned(fault)).start()
            rig.pass_time(600)
        assert rig.counted("outages") == 0
        assert rig.counted("delivery_failures") > 10 * CONSECUTIVE_FAILURES
        assert rig.worker().queue.deferred == 10 * CONSECUTIVE_FAILURES
        assert re.search("will retry: (Input/output error|Permission denied)", lines[0])

    def test_do_not_count_as_probes(self, tmp_path: Path, fault: Any) -> None:
        """When the destination is back, another recording has to prove it."""
        poison(tmp_path, 5 * CONSECUTIVE_FAILURES)
        carrier = Poisoned(fault)
        carrier.is_down = True
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(NEW)
        rig.pass_time(60, step=0.1)
        assert rig.worker().breaker.is_open
        carrier.is_down = False
        rig.pass_time(300, step=0.1)
        assert rig.counted("recordings_stored") == 1
        assert not rig.worker().breaker.is_open

    def test_do_not_keep_the_machine_busy(self, tmp_path: Path, fault: Any) -> None:
        poison(tmp_path, POISONED)
        carrier = Poisoned(fault, concurrency=1)
        rig = Rig(tmp_path, disk=NoSync(), s3=carrier).start()
        rig.pass_time(10, step=0.01)
        assert len(carrier.asked) <= 10 / UNREADABLE_PAUSE + 1


class TestOtherFailures:
    @pytest.mark.parametrize(
        "fault",
        [
            lambda recording: ConnectionResetError(errno.ECONNRESET, "reset"),
            lambda recording: OSError(errno.ENETUNREACH, "no route"),
            lambda recording: FileNotFoundError(errno.ENOENT, "no such file", "/etc/credentials"),
            cursed,
        ],
        ids=["reset", "no route", "another file", "anything"],
    )
    def test_in_a_row_mean_an_outage(self, tmp_path: Path, fault: Any) -> None:
        poison(tmp_path, 10 * CONSECUTIVE_FAILURES)
        rig = Rig(tmp_path, s3=Poisoned(fault, concurrency=1)).start()
        assert rig.counted("outages") == 1
        assert rig.worker().queue.deferred == CONSECUTIVE_FAILURES

    def test_let_a_new_recording_be_the_next_probe(self, tmp_path: Path) -> None:
        """It may prove that the destination is available."""
        poison(tmp_path, POISONED)
        carrier = Poisoned(cursed, concurrency=1)
        rig = Rig(tmp_path, disk=NoSync(), s3=carrier).start()
        rig.pass_time(600)
        (id_,) = rig.announce(NEW)
        asked = len(carrier.asked)
        rig.pass_time(300)
        assert id_ == carrier.asked[asked]
        assert rig.counted("recordings_stored") == 1


def test_new_recordings_do_not_starve_the_backlog(tmp_path: Path) -> None:
    for number in range(50):
        make_ready(tmp_path, number, DAY)
    carrier = Carrier()
    rig = Rig(tmp_path, disk=NoSync(), s3=carrier)
    carrier.act = carrier.hold
    rig.start()
    for number in range(NEW, NEW + 100):
        rig.announce(number)
        carrier.release(next(iter(carrier.held)))
        rig.workers.run()
    old = [int(id_[:8], 16) for id_ in carrier.asked if int(id_[:8], 16) < NEW]
    assert old == list(range(50))
