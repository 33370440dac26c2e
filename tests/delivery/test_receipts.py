"""Delivery state on disk: due and completed recordings."""

import json
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery import rejection
from audiohookd.delivery.destination import Destination, destinations_of
from audiohookd.delivery.file_moves import FileOperations
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.delivery.receipts import Receipts, timestamp
from audiohookd.delivery.stages import Stage
from audiohookd.spool.catalog import MAX_RECEIPT
from audiohookd.spool.paths import SpoolPaths
from audiohookd.testing import START
from tests.delivery.delivery_rig import DAY, YESTERDAY, Both, Carrier, Notifier, files, make_ready, recording_id

ONE = RecordingKey(DAY, recording_id(1))


class Books:
    """Receipts, and their destinations by name."""

    def __init__(self, spool: Path, keeps_local: bool = False, **plugins: Any) -> None:
        self.spool = spool
        destinations = destinations_of(plugins)
        self.receipts = Receipts(SpoolPaths(spool), destinations, keeps_local)
        self.carriers = {destination.name: destination for destination in destinations if destination.is_carrier}
        self.notifiers = {destination.name: destination for destination in destinations if not destination.is_carrier}

    def is_due(self, destination: Destination, key: RecordingKey = ONE) -> bool:
        found = self.receipts.search(destination, None, frozenset(), 1000).keys
        due = self.receipts.load_if_due(key, destination)
        assert (due is not None) == (key in found), "both methods must agree"
        return due is not None

    def keep(self, destination: Destination, key: RecordingKey = ONE) -> Stage | None:
        return self.receipts.record_delivered(key, destination, {"bucket": "calls"}, START).stage

    def found(self, destination: Destination) -> list[RecordingKey]:
        return self.receipts.search(destination, None, frozenset(), 1000).keys


def s3_and_webhook(spool: Path, **options: Any) -> Books:
    return Books(spool, s3=Carrier(), webhook=Notifier(), **options)


def test_a_receipt_and_a_reason_that_a_plugin_makes_too_large_are_cut(tmp_path: Path) -> None:
    make_ready(tmp_path, 1)
    books = Books(tmp_path, s3=Carrier(), tape=Carrier(), disc=Carrier())
    books.receipts.record_delivered(ONE, books.carriers["s3"], {"key": "y" * MAX_RECEIPT}, START)
    books.receipts.record_rejected(ONE, books.carriers["tape"], "y" * MAX_RECEIPT, START)
    recording = books.receipts.load_if_due(ONE, books.carriers["disc"])
    assert recording is not None
    assert recording.receipts()["s3"]["truncated"] is True
    (line,) = rejection.lines(recording)
    assert len(line) < rejection.MAX_REASON + 100


class TestDue:
    def test_first_for_carriers_then_for_notifiers(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = Books(tmp_path, s3=Carrier(), tape=Carrier(), webhook=Notifier())
        s3, tape, webhook = books.carriers["s3"], books.carriers["tape"], books.notifiers["webhook"]
        assert [books.is_due(destination) for destination in (s3, tape, webhook)] == [True, True, False]
        assert books.keep(s3) is Stage.CARRIERS
        assert [books.is_due(destination) for destination in (s3, tape, webhook)] == [False, True, False]
        assert books.keep(tape) is Stage.NOTIFIERS
        assert [books.is_due(destination) for destination in (s3, tape, webhook)] == [False, False, True]
        assert books.keep(webhook) is Stage.DONE
        assert [books.is_due(destination) for destination in (s3, tape, webhook)] == [False, False, False]

    def test_at_once_for_notifiers_where_no_carrier_is_configured(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = Books(tmp_path, webhook=Notifier())
        assert books.is_due(books.notifiers["webhook"])

    def test_one_plugin_may_be_both(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = Books(tmp_path, hub=Both())
        carrier, notifier = books.carriers["hub"], books.notifiers["hub"]
        assert books.keep(carrier) is Stage.NOTIFIERS
        assert books.is_due(notifier)
        books.keep(notifier)
        assert files(tmp_path, "ready") == set()

    def test_never_without_its_sidecar(self, tmp_path: Path) -> None:
        """The audio enters ``ready`` first: its sidecar will follow."""
        id_ = make_ready(tmp_path, 1)
        (tmp_path / "ready" / DAY / f"{id_}.json").unlink()
        books = s3_and_webhook(tmp_path)
        assert not books.is_due(books.carriers["s3"])
        assert files(tmp_path, "ready") == {f"{DAY}/1.wav"}

    def test_for_a_carrier_also_without_any_audio(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1, with_audio=False)
        books = Books(tmp_path, s3=Carrier(), tape=Carrier())
        books.keep(books.carriers["s3"])
        assert books.is_due(books.carriers["tape"])

    def test_not_for_a_carrier_that_was_configured_too_late(self, tmp_path: Path) -> None:
        """It was configured after the audio was stored elsewhere and removed here."""
        make_ready(tmp_path, 1)
        before = s3_and_webhook(tmp_path)
        before.keep(before.carriers["s3"])
        after = Books(tmp_path, tape=Carrier(), webhook=Notifier())
        assert not after.is_due(after.carriers["tape"])
        assert after.is_due(after.notifiers["webhook"])
        after.keep(after.notifiers["webhook"])
        assert files(tmp_path, "ready") == {f"{DAY}/1.stored.s3.json"}, "that destination is no longer configured"
        after.receipts.recover()
        assert files(tmp_path, "ready") == set()

    def test_for_the_carrier_when_the_sidecar_cannot_be_read(self, tmp_path: Path) -> None:
        id_ = make_ready(tmp_path, 1, with_audio=False)
        (tmp_path / "ready" / DAY / f"{id_}.json").write_text("{")
        (tmp_path / "ready" / DAY / f"{id_}.stored.old.json").write_text("{}")
        books = s3_and_webhook(tmp_path)
        assert books.is_due(books.carriers["s3"])

    def test_its_receipts_are_there_for_notifiers(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path)
        books.keep(books.carriers["s3"])
        recording = books.receipts.load_if_due(ONE, books.notifiers["webhook"])
        assert recording is not None
        assert recording.receipts() == {"s3": {"bucket": "calls", "at": "2026-01-01T00:00:00.000Z"}}


class TestRecordDelivered:
    def test_the_receipt_says_what_and_when(self, tmp_path: Path) -> None:
        id_ = make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path)
        books.keep(books.carriers["s3"])
        receipt = (tmp_path / "ready" / DAY / f"{id_}.stored.s3.json").read_text()
        assert json.loads(receipt) == {"bucket": "calls", "at": "2026-01-01T00:00:00.000Z"}

    def test_the_audio_is_removed_when_all_carriers_have_stored_it(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = Books(tmp_path, s3=Carrier(), tape=Carrier(), webhook=Notifier())
        books.keep(books.carriers["s3"])
        assert f"{DAY}/1.wav" in files(tmp_path, "ready")
        books.keep(books.carriers["tape"])
        assert files(tmp_path, "ready") == {f"{DAY}/1.{end}.json" for end in ("stored.s3", "stored.tape")} | {
            f"{DAY}/1.json"
        }

    def test_all_files_are_removed_when_all_are_done(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        make_ready(tmp_path, 2)
        books = s3_and_webhook(tmp_path)
        books.keep(books.carriers["s3"])
        books.keep(books.notifiers["webhook"])
        assert files(tmp_path, "ready") == {f"{DAY}/2.wav", f"{DAY}/2.json"}

    @pytest.mark.parametrize(
        ("keeps_local", "plugins", "receipts"),
        [(True, {"s3": Carrier()}, {"stored.s3.json"}), (False, {"hook": Notifier()}, {"told.hook.json"})],
        ids=["on demand", "when it is the only copy"],
    )
    def test_all_files_move_to_done_if_they_are_kept(
        self, tmp_path: Path, keeps_local: bool, plugins: dict[str, Any], receipts: set[str]
    ) -> None:
        make_ready(tmp_path, 1)
        books = Books(tmp_path, keeps_local, **plugins)
        (destination,) = (books.carriers | books.notifiers).values()
        assert books.keep(destination) is Stage.DONE
        assert files(tmp_path, "ready") == set()
        assert files(tmp_path, "done") == {f"{DAY}/1.{suffix}" for suffix in ("wav", "json", *receipts)}

    def test_with_keep_local_the_audio_stays_while_notices_are_due(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path, keeps_local=True)
        assert books.keep(books.carriers["s3"]) is Stage.NOTIFIERS
        assert f"{DAY}/1.wav" in files(tmp_path, "ready")

    def test_twice_is_no_harm(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path)
        assert [books.keep(books.carriers["s3"]) for _ in range(2)] == [Stage.NOTIFIERS] * 2

    def test_leaves_no_file_of_a_removed_recording(self, tmp_path: Path) -> None:
        """An operator removed it, or another destination made it a dead letter."""
        make_ready(tmp_path, 2)
        books = s3_and_webhook(tmp_path)
        assert books.keep(books.carriers["s3"]) is None
        assert files(tmp_path, "ready") == {f"{DAY}/2.wav", f"{DAY}/2.json"}

    def test_leaves_no_file_of_a_recording_removed_at_that_moment(self, tmp_path: Path) -> None:
        class Race(FileOperations):
            def create(self, path: Path, content: bytes, durable: bool) -> None:
                super().create(path, content, durable)
                for file in path.parent.glob("*.json"):
                    file.unlink()

        make_ready(tmp_path, 1, with_audio=False)
        (s3,) = destinations_of({"s3": Carrier()})
        receipts = Receipts(SpoolPaths(tmp_path), [s3], keeps_local=False, disk=Race())
        assert receipts.record_delivered(ONE, s3, {}, START).stage is None
        assert files(tmp_path, "ready") == set()

    @pytest.mark.parametrize("receipt", [None, "stored", {"client": object()}])
    def test_an_invalid_receipt_raises_type_error(self, tmp_path: Path, receipt: Any) -> None:
        make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path)
        with pytest.raises(TypeError):
            books.receipts.record_delivered(ONE, books.carriers["s3"], receipt, START)
        assert files(tmp_path, "ready") == {f"{DAY}/1.wav", f"{DAY}/1.json"}


class TestRefuse:
    def test_by_the_last_one_takes_all_files_and_says_why(self, tmp_path: Path) -> None:
        id_ = make_ready(tmp_path, 1)
        books = Books(tmp_path, s3=Carrier(), tape=Carrier())
        books.keep(books.carriers["tape"])
        (tmp_path / "ready" / DAY / f"{id_}.stored.old.json").write_text("{}")
        assert books.receipts.record_rejected(ONE, books.carriers["s3"], "larger than 5 TiB", START) is Stage.DEAD
        assert files(tmp_path, "ready") == {f"{DAY}/1.stored.old.json"}, "that destination is no longer configured"
        suffixes = ("wav", "json", "stored.tape.json", "reason.txt")
        assert files(tmp_path, "dead") == {f"{DAY}/1.{suffix}" for suffix in suffixes}
        reason = (tmp_path / "dead" / DAY / f"{id_}.reason.txt").read_text()
        assert reason == "2026-01-01T00:00:00.000Z s3: larger than 5 TiB\n"

    def test_replaces_the_reason_of_an_earlier_time(self, tmp_path: Path) -> None:
        """An operator moved a dead letter back by hand, with all its files."""
        id_ = make_ready(tmp_path, 1)
        (tmp_path / "ready" / DAY / f"{id_}.reason.txt").write_text("an older one\n")
        books = s3_and_webhook(tmp_path)
        books.receipts.record_rejected(ONE, books.carriers["s3"], "larger than 5 TiB", START)
        assert files(tmp_path, "ready") == set()
        reason = (tmp_path / "dead" / DAY / f"{id_}.reason.txt").read_text()
        assert reason == "2026-01-01T00:00:00.000Z s3: larger than 5 TiB\n"

    def test_leaves_files_of_former_destinations_to_the_next_start(self, tmp_path: Path) -> None:
        id_ = make_ready(tmp_path, 1)
        (tmp_path / "ready" / DAY / f"{id_}.stored.old.json").write_text("{}")
        books = s3_and_webhook(tmp_path)
        books.receipts.record_rejected(ONE, books.carriers["s3"], "no", START)
        books.receipts.recover()
        assert files(tmp_path, "ready") == set()
        assert f"{DAY}/1.stored.old.json" in files(tmp_path, "dead")

    def test_by_another_one_is_noted(self, tmp_path: Path) -> None:
        id_ = make_ready(tmp_path, 1)
        books = Books(tmp_path, s3=Carrier(), tape=Carrier())
        assert (
            books.receipts.record_rejected(ONE, books.carriers["s3"], "lone \udc80 surrogate", START)
            is Stage.CARRIERS
        )
        assert [books.is_due(destination) for destination in books.carriers.values()] == [False, True]
        note = (tmp_path / "ready" / DAY / f"{id_}.refused.s3.json").read_text()
        assert json.loads(note) == {"reason": "lone \\udc80 surrogate", "at": "2026-01-01T00:00:00.000Z"}

    def test_of_a_removed_recording_does_nothing(self, tmp_path: Path) -> None:
        books = s3_and_webhook(tmp_path)
        assert books.receipts.record_rejected(ONE, books.carriers["s3"], "no", START) is None
        assert not (tmp_path / "dead").exists()

    def test_with_any_text(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        books = s3_and_webhook(tmp_path)
        assert books.receipts.record_rejected(ONE, books.carriers["s3"], "lone \udc80 surrogate", START) is Stage.DEAD


class TestSearch:
    def test_oldest_day_first(self, tmp_path: Path) -> None:
        for number, day in ((1, DAY), (3, YESTERDAY), (2, YESTERDAY)):
            make_ready(tmp_path, number, day)
        books = s3_and_webhook(tmp_path)
        expected = [RecordingKey(YESTERDAY, recording_id(2)), RecordingKey(YESTERDAY, recording_id(3)), ONE]
        assert books.found(books.carriers["s3"]) == expected

    def test_continues_where_it_ended(self, tmp_path: Path) -> None:
        for number in range(5):
            make_ready(tmp_path, number, YESTERDAY if number % 2 else DAY)
        books = s3_and_webhook(tmp_path)
        destination = books.carriers["s3"]
        cursor, found = None, []
        while True:
            keys, cursor, fault = books.receipts.search(destination, cursor, frozenset(), 2)
            assert fault is None
            assert len(keys) <= 2
            found += keys
            if cursor is None:
                break
        assert found == books.found(destination)
        assert len(found) == 5

    def test_skips_known_recordings(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        make_ready(tmp_path, 2)
        books = s3_and_webhook(tmp_path)
        found = books.receipts.search(books.carriers["s3"], None, frozenset({ONE}), 1000)
        assert found.keys == [RecordingKey(DAY, recording_id(2))]

    def test_skips_foreign_files(self, tmp_path: Path) -> None:
        directory = tmp_path / "ready" / DAY
        directory.mkdir(parents=True)
        for name in ("notes.txt", "lost+found.json", f"{recording_id(1).upper()[:-1]}X.json", "1.json"):
            (directory / name).write_text("mine")
        (tmp_path / "ready" / "2026-01-02").write_text("a file")
        (tmp_path / "ready" / "old").mkdir()
        books = s3_and_webhook(tmp_path)
        assert books.found(books.carriers["s3"]) == []
        books.receipts.recover()
        assert len(list(directory.iterdir())) == 4

    def test_completes_recordings_that_no_destination_needs(self, tmp_path: Path) -> None:
        """A notifier was removed from the configuration while its notices were due."""
        make_ready(tmp_path, 1)
        before = s3_and_webhook(tmp_path)
        before.keep(before.carriers["s3"])
        after = Books(tmp_path, s3=Carrier())
        assert after.found(after.carriers["s3"]) == []
        assert files(tmp_path, "ready") == set()

    def test_counts_completed_recordings_towards_its_limit(self, tmp_path: Path) -> None:
        before = Books(tmp_path, s3=Carrier(), webhook=Notifier())
        for number in range(5):
            make_ready(tmp_path, number)
            before.keep(before.carriers["s3"], RecordingKey(DAY, recording_id(number)))
        after = Books(tmp_path, s3=Carrier())
        found = after.receipts.search(after.carriers["s3"], None, frozenset(), 2)
        assert (found.keys, found.cursor) == ([], RecordingKey(DAY, recording_id(1)))
        assert len(files(tmp_path, "ready")) == 3 * 2

    def test_skips_recordings_that_cannot_be_moved(self, tmp_path: Path) -> None:
        """Where nothing can be put into done/, the others are delivered all the same."""
        before = s3_and_webhook(tmp_path, keeps_local=True)
        make_ready(tmp_path, 1)
        before.keep(before.carriers["s3"])
        make_ready(tmp_path, 2)
        (tmp_path / "done").write_text("in the way")
        after = Books(tmp_path, keeps_local=True, s3=Carrier())
        found = after.receipts.search(after.carriers["s3"], None, frozenset(), 1000)
        assert found.keys == [RecordingKey(DAY, recording_id(2))]
        assert isinstance(found.error, OSError)

    def test_skips_a_day_that_cannot_be_read(self, tmp_path: Path) -> None:
        make_ready(tmp_path, 1)
        (tmp_path / "ready" / YESTERDAY).symlink_to(YESTERDAY)
        books = s3_and_webhook(tmp_path)
        found = books.receipts.search(books.carriers["s3"], None, frozenset(), 1000)
        assert found.keys == [ONE]
        assert isinstance(found.error, OSError)

    def test_of_an_empty_spool(self, tmp_path: Path) -> None:
        books = s3_and_webhook(tmp_path / "absent")
        assert books.found(books.carriers["s3"]) == []


class TestRecoverMoves:
    def rest(self, spool: Path, shelf: str, *suffixes: str) -> None:
        directory = spool / shelf / DAY
        directory.mkdir(parents=True, exist_ok=True)
        for suffix in suffixes:
            (directory / f"{recording_id(1)}.{suffix}").write_text(suffix)

    @pytest.mark.parametrize("shelf", ["done", "dead"])
    def test_leftover_files_follow_their_sidecar(self, tmp_path: Path, shelf: str) -> None:
        self.rest(tmp_path, shelf, "json")
        self.rest(tmp_path, "ready", "wav", "stored.s3.json", "told.hook.json", "told.hook.json.new")
        s3_and_webhook(tmp_path).receipts.recover()
        assert files(tmp_path, "ready") == set()
        expected = {f"{DAY}/1.{end}" for end in ("json", "wav", "stored.s3.json", "told.hook.json")}
        assert files(tmp_path, shelf) == expected

    def test_leftover_receipts_without_a_sidecar_are_removed(self, tmp_path: Path) -> None:
        self.rest(tmp_path, "ready", "stored.s3.json", "told.hook.json", "told.hook.json.new", "refused.tape.json")
        s3_and_webhook(tmp_path).receipts.recover()
        assert files(tmp_path, "ready") == set()

    def test_audio_is_never_removed(self, tmp_path: Path) -> None:
        self.rest(tmp_path, "ready", "wav", "stored.s3.json")
        s3_and_webhook(tmp_path).receipts.recover()
        assert files(tmp_path, "ready") == {f"{DAY}/1.wav", f"{DAY}/1.stored.s3.json"}

    def test_complete_recordings_and_foreign_files_are_not_touched(self, tmp_path: Path) -> None:
        self.rest(tmp_path, "ready", "json", "wav", "stored.s3.json", "told.hook.json.new", "notes")
        before = files(tmp_path, "ready")
        s3_and_webhook(tmp_path).receipts.recover()
        assert files(tmp_path, "ready") == before


def test_times_are_those_of_the_sidecar() -> None:
    assert timestamp(START + 0.25) == "2026-01-01T00:00:00.250Z"
