"""All destinations together: carriers first, then notifiers; start, stop, and retries."""

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from audiohookd.delivery.destination import destinations_of
from audiohookd.delivery.service import SEARCH_EVERY, STOP_LIMIT, WAKE_EVERY, disk_work
from audiohookd.interfaces import IRecording, Unavailable
from audiohookd.spool.paths import SpoolPaths
from audiohookd.testing import MemoryWorkers
from tests.delivery.delivery_rig import (
    DAY,
    LIMIT,
    YESTERDAY,
    Both,
    Carrier,
    Notifier,
    Rig,
    logged,
    make_ready,
    recording_id,
)


def unavailable(recording: IRecording) -> Any:
    raise Unavailable("no route")


def flaky(recording: IRecording) -> Any:
    raise OSError("flaky")


class TestTheWayOfARecording:
    def test_all_carriers_then_all_notifiers_then_it_is_gone(self, tmp_path: Path) -> None:
        first, second, hook = Carrier(), Carrier(), Notifier()
        second.act = second.hold
        rig = Rig(tmp_path, s3=first, tape=second, webhook=hook).start()
        (id_,) = rig.announce(1)
        assert (first.asked, second.asked, hook.asked) == ([id_], [id_], [])
        second.release(id_)
        rig.workers.run()
        assert hook.asked == [id_]
        assert rig.files() == set()
        assert [
            rig.counted("recordings_stored"),
            rig.counted("recordings_stored", "tape"),
            rig.counted("notifications_sent", "webhook"),
        ] == [1, 1, 1]

    def test_notifiers_get_it_while_another_one_is_unavailable(self, tmp_path: Path) -> None:
        carrier, hook, queue = Carrier(), Notifier(act=unavailable), Notifier()
        rig = Rig(tmp_path, s3=carrier, webhook=hook, publish=queue).start()
        (id_,) = rig.announce(1)
        assert queue.asked == [id_]
        assert rig.files() == {f"{DAY}/1.{end}" for end in ("json", "stored.s3.json", "told.publish.json")}

    def test_a_notifier_finds_the_receipts(self, tmp_path: Path) -> None:
        seen: list[Any] = []
        hook = Notifier(act=lambda recording: seen.append(dict(recording.receipts())))
        rig = Rig(tmp_path, s3=Carrier(), webhook=hook).start()
        (id_,) = rig.announce(1)
        assert seen == [{"s3": {"bucket": "calls", "key": id_, "at": "2026-01-01T00:00:00.000Z"}}]

    def test_without_carriers_notifiers_get_it_at_once(self, tmp_path: Path) -> None:
        hook = Notifier()
        rig = Rig(tmp_path, webhook=hook).start()
        rig.announce(1)
        assert hook.asked == [recording_id(1)]
        assert rig.files("done") == {f"{DAY}/1.{end}" for end in ("wav", "json", "told.webhook.json")}

    def test_a_plugin_that_is_both_has_two_destinations(self, tmp_path: Path) -> None:
        hub = Both()
        rig = Rig(tmp_path, hub=hub).start()
        (id_,) = rig.announce(1)
        assert hub.asked == [id_, id_]
        assert rig.files() == set()
        assert [worker.outlet.is_carrier for worker in rig.deliveries.destination_workers] == [True, False]

    def test_a_session_without_audio_is_delivered_too(self, tmp_path: Path) -> None:
        carrier, hook = Carrier(), Notifier()
        rig = Rig(tmp_path, s3=carrier, webhook=hook).start()
        id_ = make_ready(tmp_path, 1, with_audio=False)
        rig.deliveries.announce(tmp_path / "ready" / DAY / f"{id_}.json")
        rig.workers.run()
        assert (carrier.asked, hook.asked) == ([id_], [id_])
        assert set(carrier.store[id_]) == {"json"}
        assert rig.files() == set()


class TestStart:
    def test_does_nothing_by_itself(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier)
        rig.deliveries.startService()
        assert carrier.asked == []
        assert len(rig.workers) == 1, "in a worker thread"
        rig.workers.run()
        assert carrier.asked == [recording_id(1)]

    def test_continues_where_the_last_daemon_ended(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1, YESTERDAY)
        make_ready(tmp_path, 2)
        hook = Notifier(act=unavailable)
        Rig(tmp_path, s3=Carrier(), webhook=hook).start()
        after = Notifier()
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier, webhook=after).start()
        assert carrier.asked == []
        assert after.asked == [recording_id(1), recording_id(2)]
        assert rig.files() == set()

    def test_a_recording_announced_before_the_search_is_delivered_once(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier)
        rig.announce(1)
        assert carrier.asked == []
        rig.start()
        assert carrier.asked == [recording_id(1)]

    def test_logs_an_error_when_the_recovery_fails(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, workers=MemoryWorkers(waiting=0), s3=Carrier())
        with logged() as lines:
            rig.start()
        assert any(line.startswith("error: cannot use the spool: memory workers") for line in lines)

    def test_a_check_of_wake_without_a_free_thread_is_retried(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, workers=MemoryWorkers(waiting=0), s3=Carrier())
        with logged() as lines:
            rig.start().clock.advance(WAKE_EVERY)
        assert any("delivery-wake failed, and is tried again: PoolFull" in line for line in lines)

    def test_without_destinations_recordings_stay_as_they_are(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        rig = Rig(tmp_path).start()
        rig.announce(2)
        rig.pass_time(600)
        assert rig.files() == {f"{DAY}/{number}.{end}" for number in (1, 2) for end in ("wav", "json")}
        assert rig.clock.getDelayedCalls() == []

    def test_starts_again_after_a_stop(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.deliveries.stopService()
        rig.announce(1)
        rig.pass_time(600)
        assert carrier.asked == []
        rig.start()
        assert carrier.asked == [recording_id(1)]


class TestOrphanedAudio:
    def make(self, spool: Path, *numbers: int) -> None:
        for number in numbers:
            (spool / "ready" / DAY / f"{make_ready(spool, number)}.json").unlink()

    def test_logs_one_line_at_the_start(self, tmp_path: Path) -> None:
        self.make(tmp_path, 1, 2, 3)
        make_ready(tmp_path, 4)
        carrier = Carrier()
        with logged() as lines:
            rig = Rig(tmp_path, s3=carrier).start()
            rig.pass_time(600)
        assert carrier.asked == [recording_id(4)]
        path = tmp_path / "ready" / DAY / f"{recording_id(1)}.wav"
        assert lines == [f"warn: audio without a sidecar is not delivered: 3 files in ready/, such as {path}"]
        assert rig.files() == {f"{DAY}/{number}.wav" for number in (1, 2, 3)}

    @pytest.mark.parametrize("place", ["draft", f"ready/{DAY}", f"done/{DAY}", f"dead/{DAY}"])
    def test_has_no_sidecar_in_any_directory(self, tmp_path: Path, place: str) -> None:
        """The files of a recording move one by one while the search runs."""
        self.make(tmp_path, 1)
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"{recording_id(1)}.json").write_text("{}")
        with logged() as lines:
            Rig(tmp_path, s3=Carrier()).start()
        assert [line for line in lines if "without a sidecar" in line] == []


class TestStop:
    def stop(self, rig: Rig) -> list[Any]:
        """Receives an item when the service has stopped."""
        stopped: list[Any] = []
        maybeDeferred(rig.deliveries.stopService).addCallback(stopped.append)
        return stopped

    def test_fires_at_once_when_nothing_is_in_flight(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(), webhook=Notifier()).start()
        assert self.stop(rig)
        assert rig.clock.getDelayedCalls() == []

    def test_waits_for_what_is_in_flight_and_begins_nothing_new(self, tmp_path: Path) -> None:
        carrier, hook = Carrier(2), Notifier()
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier, webhook=hook).start()
        first, second, _ = rig.announce(1, 2, 3)
        stopped = self.stop(rig)
        rig.pass_time(STOP_LIMIT - 1)
        carrier.release(first)
        rig.workers.run()
        assert not stopped
        carrier.release(second)
        rig.workers.run()
        assert stopped
        assert carrier.asked == [first, second]
        assert hook.asked == []
        assert {f"{DAY}/1.stored.s3.json", f"{DAY}/2.stored.s3.json", f"{DAY}/3.wav"} <= rig.files()
        assert rig.clock.getDelayedCalls() == []

    def test_cancels_slow_deliveries_and_the_next_start_repeats_them(self, tmp_path: Path) -> None:
        cut: list[Any] = []
        carrier = Carrier(act=lambda recording: Deferred(cut.append))
        rig = Rig(tmp_path, s3=carrier).start()
        (id_,) = rig.announce(1)
        with logged() as lines:
            stopped = self.stop(rig)
            rig.pass_time(STOP_LIMIT)
        assert stopped
        assert len(cut) == 1
        assert lines == []
        assert rig.counted("delivery_failures") == 0
        after = Carrier()
        Rig(tmp_path, s3=after).start()
        assert after.asked == [id_]

    def test_works_during_the_start(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier)
        rig.deliveries.startService()
        assert self.stop(rig)
        rig.workers.run()
        assert carrier.asked == []
        assert rig.clock.getDelayedCalls() == []

    def test_during_an_outage_leaves_no_timer(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=unavailable)).start()
        rig.announce(1)
        assert self.stop(rig)
        assert rig.clock.getDelayedCalls() == []


class TestWake:
    def touch(self, rig: Rig, at: int = 1) -> None:
        rig.layout.wake.touch()
        os.utime(rig.layout.wake, (at, at))

    def test_ends_an_outage_at_once(self, tmp_path: Path) -> None:
        carrier = Carrier(act=unavailable)
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        rig.pass_time(2000)
        carrier.act = carrier.upload
        asked = len(carrier.asked)
        with logged() as lines:
            self.touch(rig)
            rig.pass_time(WAKE_EVERY)
        assert len(carrier.asked) == asked + 2
        assert rig.files() == set()
        assert [line.partition(" after ")[0] for line in lines] == ["info: s3: available again"]

    def test_without_success_continues_the_same_outage(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, s3=Carrier(act=unavailable)).start()
        rig.announce(1)
        with logged() as lines:
            self.touch(rig)
            rig.pass_time(600)
        assert lines == []
        assert rig.counted("outages") == 1

    def test_retries_all_deferred_recordings(self, tmp_path: Path) -> None:
        carrier = Carrier(act=flaky)
        rig = Rig(tmp_path, s3=carrier).start()
        rig.announce(1, 2)
        rig.pass_time(2000)
        assert rig.worker().queue.deferred == 2
        carrier.act = carrier.upload
        self.touch(rig)
        rig.pass_time(WAKE_EVERY)
        assert rig.counted("recordings_stored") == 2

    def test_finds_what_was_put_back_by_hand(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        make_ready(tmp_path, 1, YESTERDAY)
        self.touch(rig)
        rig.pass_time(WAKE_EVERY)
        assert carrier.asked == [recording_id(1)]

    def test_each_touch_counts_once(self, tmp_path: Path) -> None:
        carrier = Carrier(act=unavailable)
        rig = Rig(tmp_path, s3=carrier)
        self.touch(rig, at=1)
        rig.start()
        rig.announce(1)
        rig.pass_time(2000)
        asked = len(carrier.asked)
        rig.pass_time(WAKE_EVERY)
        assert len(carrier.asked) <= asked + 1, "that touch was before the start"
        for at in (2, 3):
            asked = len(carrier.asked)
            self.touch(rig, at)
            rig.pass_time(WAKE_EVERY)
            assert len(carrier.asked) > asked
        rig.pass_time(LIMIT)
        asked = len(carrier.asked)
        rig.pass_time(LIMIT)
        assert len(carrier.asked) <= asked + 3

    def test_periodic_search_finds_recordings_put_back_by_hand(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        make_ready(tmp_path, 1)
        rig.pass_time(SEARCH_EVERY - 1)
        assert carrier.asked == []
        rig.pass_time(1)
        assert carrier.asked == [recording_id(1)]


class TestASpoolThatCannotBeRead:
    def test_logs_an_error_and_retries(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        rig.layout.ready.rmdir()
        rig.layout.ready.write_text("no directory")
        with logged() as lines:
            rig.pass_time(2 * SEARCH_EVERY)
        assert len(lines) == 2
        assert all(line.startswith("error: s3: cannot use the spool: Not a directory (") for line in lines)
        rig.layout.ready.unlink()
        make_ready(tmp_path, 1)
        rig.pass_time(SEARCH_EVERY)
        assert carrier.asked == [recording_id(1)]

    def test_in_one_place_does_not_hold_up_the_others(self, tmp_path: Path) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, s3=carrier).start()
        (tmp_path / "ready" / YESTERDAY).symlink_to(YESTERDAY)
        make_ready(tmp_path, 1)
        with logged() as lines:
            rig.pass_time(SEARCH_EVERY)
        assert carrier.asked == [recording_id(1)]
        assert len(lines) == 1
        assert lines[0].startswith("error: s3: cannot use the spool: Too many levels of symbolic links (")


class TestTheDisk:
    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_receives_no_more_work_at_once_than_disk_work_says(self, tmp_path: Path, concurrency: int) -> None:
        """Otherwise the thread pool would reject the work."""
        for number in range(40):
            make_ready(tmp_path, number)
        plugins: dict[str, Any] = {
            "s3": Carrier(concurrency),
            "tape": Carrier(concurrency),
            "webhook": Notifier(concurrency),
        }
        rig = Rig(tmp_path, **plugins)
        rig.deliveries.startService()
        most = 0
        for second in range(2000):
            most = max(most, len(rig.workers))
            if len(rig.workers):
                rig.workers.run_one()
            else:
                rig.clock.advance(1)
            if second % 50 == 0:
                rig.clock.advance(WAKE_EVERY)
        assert rig.files() == set()
        assert concurrency < most <= disk_work(destinations_of(plugins))


def test_where_things_are_is_the_layout_of_the_spool(tmp_path: Path) -> None:
    rig = Rig(tmp_path, keeps_local=True, s3=Carrier()).start()
    rig.announce(1)
    assert (SpoolPaths(tmp_path).done / DAY / f"{recording_id(1)}.stored.s3.json").exists()
