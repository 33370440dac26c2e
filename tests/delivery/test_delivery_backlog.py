"""A backlog larger than the queue: memory stays bounded, and every recording is delivered."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

from audiohookd.interfaces import IRecording, Unavailable
from tests.delivery.delivery_rig import DAY, YESTERDAY, Carrier, NoSync, Notifier, Rig, make_ready, recording_id

#: Peak bytes of a search among 10,000 recordings: it holds the names of one day at a time.
MEMORY = 16 << 20
#: How many may wait, and how many may be deferred.
LIMIT = 100


def fill(spool: Path, count: int) -> None:
    """Recordings of two days; all are the same file, for that is quick."""
    for day in (YESTERDAY, DAY):
        make_ready(spool, 0, day)
    for number in range(1, count):
        directory = spool / "ready" / (YESTERDAY if number % 4 else DAY)
        for suffix in ("wav", "json"):
            os.link(directory / f"{recording_id(0)}.{suffix}", directory / f"{recording_id(number)}.{suffix}")


def unavailable(recording: IRecording) -> Any:
    raise Unavailable("no route")


class TestMemory:
    def test_ten_thousand_on_disk_cost_little(self, tmp_path: Path) -> None:
        fill(tmp_path, 10_000)
        tracemalloc.start()
        try:
            rig = Rig(tmp_path, s3=Carrier(8, unavailable), webhook=Notifier()).start()
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        print(f"\n10000 ready recordings: {peak >> 10} KiB at most while searching, {kept >> 10} KiB kept")
        assert rig.worker().queue.waiting == 750, "the other places are reserved for new recordings"
        assert peak < MEMORY

    def test_no_more_wait_than_may(self, tmp_path: Path) -> None:
        fill(tmp_path, 5 * LIMIT)
        rig = Rig(tmp_path, limit=LIMIT, s3=Carrier(8, unavailable)).start()
        for number in range(3 * LIMIT):
            rig.deliveries.announce(rig.layout.ready / DAY / f"{recording_id(5 * LIMIT + number)}.wav")
            assert rig.worker().queue.waiting <= LIMIT
        assert rig.worker().queue.waiting == LIMIT
        rig.pass_time(300)
        assert rig.worker().queue.waiting <= LIMIT

    def test_no_more_rest_than_may(self, tmp_path: Path) -> None:
        """Every third comes to an end, so that it is no outage; the others pile up."""
        fill(tmp_path, 6 * LIMIT)

        def act(recording: IRecording) -> Any:
            if int(recording.id[:8], 16) % 3:
                raise ValueError("cursed")
            return {}

        rig = Rig(tmp_path, limit=LIMIT, disk=NoSync(), s3=Carrier(8, act), random=lambda: 0.999).start()
        deferred = []
        for _ in range(60):
            rig.pass_time(10)
            deferred.append(rig.worker().queue.deferred)
            assert rig.worker().queue.waiting <= LIMIT
        assert max(deferred) == LIMIT
        assert rig.counted("recordings_stored") == 2 * LIMIT + 1, "number 0 is there twice"


class TestAll:
    def test_are_delivered_together_with_new_recordings(self, tmp_path: Path) -> None:
        count = 5 * LIMIT
        fill(tmp_path, count)
        carrier, hook = Carrier(8, lambda recording: {}), Notifier(8)
        rig = Rig(tmp_path, disk=NoSync(), limit=LIMIT, s3=carrier, webhook=hook)
        rig.deliveries.startService()
        for number in range(count, count + LIMIT):
            while len(rig.workers) and len(carrier.asked) < 5 * (number - count):
                rig.workers.run_one()
                assert rig.worker().queue.waiting <= LIMIT
            make_ready(tmp_path, number)
            rig.deliveries.announce(rig.layout.ready / DAY / f"{recording_id(number)}.wav")
        rig.workers.run()
        rig.pass_time(61)
        everything = [recording_id(number) for number in (0, *range(count + LIMIT))]
        assert sorted(carrier.asked) == everything, "each once"
        assert sorted(hook.asked) == everything
        assert rig.files() == set()

    def test_are_delivered_despite_an_endless_flow_of_new_recordings(self, tmp_path: Path) -> None:
        """As many recordings become ready as are delivered: the old ones must not wait for a quiet hour."""
        fill(tmp_path, 2 * LIMIT)
        carrier = Carrier(1, lambda recording: {})
        rig = Rig(tmp_path, disk=NoSync(), limit=LIMIT, s3=carrier)
        rig.deliveries.startService()
        number = 2 * LIMIT
        while rig.workers and number < 20 * LIMIT:
            rig.workers.run_one()
            while number - 2 * LIMIT < len(carrier.asked):
                make_ready(tmp_path, number)
                rig.deliveries.announce(rig.layout.ready / DAY / f"{recording_id(number)}.wav")
                number += 1
            if set(carrier.asked) >= {recording_id(old) for old in range(2 * LIMIT)}:
                break
        assert number < 20 * LIMIT
