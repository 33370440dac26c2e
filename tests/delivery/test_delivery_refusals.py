"""A destination rejects a recording for good: the others still get it, then it becomes a dead letter."""

from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.service import SEARCH_EVERY
from audiohookd.interfaces import IRecording, Unavailable, Undeliverable
from audiohookd.spool import paths
from tests.delivery.delivery_rig import DAY, Both, Carrier, Notifier, Rig, logged, recording_id

ID = recording_id(1)


def refuse(recording: IRecording) -> Any:
    raise Undeliverable("larger\nthan 5 TiB")


def unavailable(recording: IRecording) -> Any:
    raise Unavailable("no route")


def reason(rig: Rig) -> list[str]:
    return (rig.layout.dead / DAY / f"{ID}.{paths.REASON}").read_text().splitlines()


class TestACarriers:
    def test_waits_until_the_other_carriers_have_it(self, tmp_path: Path) -> None:
        slow, hook = Carrier(act=unavailable), Notifier()
        rig = Rig(tmp_path, s3=slow, archive=Carrier(act=refuse), webhook=hook).start()
        with logged() as lines:
            rig.announce(1)
        assert rig.files() == {f"{DAY}/1.{end}" for end in ("wav", "json", "refused.archive.json")}
        what = f"recording {ID} of {DAY} rejected for good, moves to dead/ after the other destinations"
        assert f"error: archive: {what}: larger than 5 TiB" in lines
        assert rig.counted("dead_letters", "archive") == 1
        slow.act = slow.upload
        rig.pass_time(10)
        assert set(slow.store[ID]) == {"wav", "json"}
        assert rig.files() == set()
        ends = ("wav", "json", "stored.s3.json", "refused.archive.json", "reason.txt")
        assert rig.files("dead") == {f"{DAY}/1.{end}" for end in ends}
        assert hook.asked == []
        assert reason(rig) == ["2026-01-01T00:00:00.000Z archive: larger than 5 TiB"]

    def test_prevents_further_deliveries(self, tmp_path: Path) -> None:
        picky = Carrier(act=refuse)
        plugins: dict[str, Any] = {"s3": Carrier(act=unavailable), "archive": picky}
        rig = Rig(tmp_path, **plugins).start()
        rig.announce(1)
        rig.pass_time(2 * SEARCH_EVERY)
        Rig(tmp_path, **plugins).start().pass_time(2 * SEARCH_EVERY)
        assert picky.asked == [ID]

    def test_all_reasons_are_beside_the_dead_letter(self, tmp_path: Path) -> None:
        late = Carrier()
        late.act = late.hold
        rig = Rig(tmp_path, s3=late, archive=Carrier(act=refuse)).start()
        rig.announce(1)
        rig.pass_time(5)
        late.release(ID, Undeliverable("another object is there"))
        rig.workers.run()
        assert reason(rig) == [
            "2026-01-01T00:00:00.000Z archive: larger than 5 TiB",
            "2026-01-01T00:00:05.000Z s3: another object is there",
        ]
        assert not list((tmp_path / "ready").rglob("*.*"))

    def test_does_not_count_once_that_carrier_is_not_configured(self, tmp_path: Path) -> None:
        Rig(tmp_path, s3=Carrier(act=unavailable), archive=Carrier(act=refuse)).start().announce(1)
        hook = Notifier()
        rig = Rig(tmp_path, s3=Carrier(), webhook=hook).start()
        assert hook.asked == [ID]
        assert rig.files("dead") == set()
        Rig(tmp_path, s3=Carrier(), webhook=hook).start()
        assert rig.files() == set(), "not even the refusal is left"

    def test_makes_a_dead_letter_once_the_other_carrier_is_not_configured(self, tmp_path: Path) -> None:
        Rig(tmp_path, s3=Carrier(act=unavailable), archive=Carrier(act=refuse)).start().announce(1)
        rig = Rig(tmp_path, archive=Carrier(act=refuse)).start()
        assert f"{DAY}/1.wav" in rig.files("dead")

    def test_counts_even_if_its_reason_cannot_be_read(self, tmp_path: Path) -> None:
        Rig(tmp_path, s3=Carrier(act=unavailable), archive=Carrier(act=refuse)).start().announce(1)
        (tmp_path / "ready" / DAY / f"{ID}.refused.archive.json").write_text("{")
        rig = Rig(tmp_path, s3=Carrier(), archive=Carrier(act=refuse)).start()
        assert reason(rig) == ["archive: rejected it"]


class TestANotifiers:
    def test_waits_until_the_other_notifiers_are_done(self, tmp_path: Path) -> None:
        slow = Notifier(act=unavailable)
        rig = Rig(tmp_path, s3=Carrier(), one=Notifier(act=refuse), two=slow).start()
        rig.announce(1)
        assert rig.files() == {f"{DAY}/1.{end}" for end in ("json", "stored.s3.json", "refused.one.json")}
        slow.act = lambda recording: {}
        rig.pass_time(10)
        assert rig.counted("notifications_sent", "two") == 1
        assert rig.files() == set()
        ends = ("json", "stored.s3.json", "told.two.json", "refused.one.json", "reason.txt")
        assert rig.files("dead") == {f"{DAY}/1.{end}" for end in ends}

    def test_does_not_count_as_a_rejection_by_the_carrier(self, tmp_path: Path) -> None:
        """One name, two destinations."""

        class Fussy(Both):
            def notify(self, recording: IRecording) -> Any:
                return refuse(recording)

        rig = Rig(tmp_path, hub=Fussy(), webhook=Notifier(act=unavailable)).start()
        rig.announce(1)
        assert rig.files() == {f"{DAY}/1.{end}" for end in ("json", "stored.hub.json", "refused.hub.json")}
        assert rig.files("dead") == set()


@pytest.mark.parametrize("keeps_local", [False, True])
def test_it_is_due_again_without_the_mark(tmp_path: Path, keeps_local: bool) -> None:
    """After a retry of a dead letter, only the destination that rejected it receives it again."""
    s3, archive, hook = Carrier(), Carrier(act=refuse), Notifier()
    rig = Rig(tmp_path, keeps_local, s3=s3, archive=archive, webhook=hook).start()
    rig.announce(1)
    for path in (tmp_path / "dead" / DAY).iterdir():
        if "refused" in path.name or path.suffix == ".txt":
            path.unlink()
        else:
            path.rename(tmp_path / "ready" / DAY / path.name)
    archive.act = archive.upload
    rig.pass_time(SEARCH_EVERY)
    assert (s3.asked, archive.asked, hook.asked) == ([ID], [ID, ID], [ID])
    assert rig.files() == set()
