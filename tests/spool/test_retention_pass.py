"""A retention pass: which recordings it removes, and in which order."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import rejected_suffix, stored_suffix
from audiohookd.spool.retention import IDLE_DAY, RetentionPass, RetentionPolicy, removable, size_below
from tests.spool.retention_rig import DAYS, HOUR, NOW, S3, S3_TOO, WEBHOOK, WHOLE, FullSpool, recording_id

CARRIERS = frozenset({"s3"})


@pytest.fixture
def spool(tmp_path: Path) -> FullSpool:
    return FullSpool(tmp_path / "spool")


def sweep(
    spool: FullSpool,
    *,
    keep: float = 1_000 * HOUR,
    limit: int = 0,
    carriers: frozenset[str] = CARRIERS,
    is_over: Callable[[], bool] = lambda: False,
) -> RetentionPass:
    return RetentionPass(spool.layout, RetentionPolicy(carriers, keep, limit), NOW, is_over).run()


class TestExpiry:
    def test_a_recording_stays_for_its_time_after_it_was_stored(self, spool: FullSpool) -> None:
        for number, age in enumerate([3 * HOUR, 2 * HOUR + 1, 2 * HOUR, 2 * HOUR - 1, HOUR]):
            spool.put(spool.layout.done / DAYS[3], number, age=age)
        swept = sweep(spool, keep=2 * HOUR)
        assert spool.numbers(spool.layout.done) == [3, 4]
        assert swept.expired == 3
        assert swept.used == sum(spool.files().values()) == 800

    def test_a_recording_stays_for_its_time_after_the_last_receipt(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[2], 1, WHOLE, age=30 * HOUR)
        spool.put(spool.layout.done / DAYS[2], 1, [S3_TOO], age=HOUR)
        sweep(spool, keep=2 * HOUR)
        assert len(spool.files()) == 5
        sweep(spool, keep=HOUR)
        assert spool.files() == {}

    def test_a_recording_without_a_receipt_never_expires(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, ["wav", "json", WEBHOOK])
        assert sweep(spool, keep=0.0, limit=1).expired == 0
        assert len(spool.files()) == 3

    def test_a_recording_never_expires_without_carriers(self, spool: FullSpool) -> None:
        """The operator may have removed the carrier to keep the local recordings."""
        spool.put(spool.layout.done / DAYS[0], 1)
        swept = sweep(spool, keep=0.0, limit=1, carriers=frozenset())
        assert len(spool.files()) == 4
        assert swept.used == 400

    def test_a_recording_missing_at_a_new_carrier_never_expires(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, WHOLE)
        swept = sweep(spool, keep=0.0, limit=1, carriers=frozenset({"s3", "elsewhere"}))
        assert (swept.expired, swept.evicted) == (0, 0)
        assert len(spool.files()) == 4

    def test_a_recording_with_a_receipt_of_a_former_carrier_expires(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, [*WHOLE, S3_TOO])
        assert sweep(spool, keep=0.0).expired == 1
        assert spool.files() == {}

    def test_a_recording_in_ready_or_dead_never_expires(self, spool: FullSpool) -> None:
        for place in (spool.layout.ready, spool.layout.dead):
            spool.put(place / DAYS[0], 1)
        sweep(spool, keep=0.0)
        assert len(spool.files()) == 8

    def test_a_recording_rejected_by_a_former_carrier_expires(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, [*WHOLE, rejected_suffix("tape")], age=3 * HOUR)
        assert sweep(spool, keep=2 * HOUR).expired == 1
        assert spool.files() == {}

    def test_a_recording_rejected_by_a_carrier_stays(self, spool: FullSpool) -> None:
        spool.put(spool.layout.ready / DAYS[0], 1, ["wav", "json", S3, rejected_suffix("tape")], age=3 * HOUR)
        sweep(spool, keep=0.0, limit=1, carriers=frozenset({"s3", "tape"}))
        assert len(spool.files()) == 4

    def test_an_interrupted_removal_is_completed(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, ["json", WEBHOOK, S3])
        spool.put(spool.layout.done / DAYS[0], 2, [S3])
        sweep(spool, keep=2 * HOUR)
        assert len(spool.files()) == 4
        assert sweep(spool, keep=HOUR).expired == 2
        assert spool.files() == {}

    def test_a_removal_interrupted_between_two_receipts_is_completed(self, spool: FullSpool) -> None:
        """Without sidecar and audio it is no recording, whichever carriers have stored it."""
        spool.put(spool.layout.done / DAYS[0], 1, [S3])
        assert sweep(spool, keep=0.0, carriers=frozenset({"s3", "elsewhere"})).expired == 1
        assert spool.files() == {}

    @pytest.mark.parametrize("suffix", ["wav", "json"])
    def test_a_recording_with_other_files_than_receipts_stays(self, spool: FullSpool, suffix: str) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, [suffix, S3])
        assert sweep(spool, keep=0.0, carriers=frozenset({"s3", "elsewhere"})).expired == 0
        assert len(spool.files()) == 2

    def test_foreign_files_stay(self, spool: FullSpool) -> None:
        day = spool.layout.done / DAYS[0]
        spool.put(day, 1, [*WHOLE, "notes.txt"])
        (day / "index.html").write_text("recordings")
        sweep(spool, keep=0.0)
        assert set(spool.files()) == {f"done/{DAYS[0]}/{recording_id(1)}.notes.txt", f"done/{DAYS[0]}/index.html"}


class TestEviction:
    def test_the_oldest_day_is_evicted_first(self, spool: FullSpool) -> None:
        for number, day in enumerate(DAYS):
            spool.put(spool.layout.done / day, 10 - number)
        swept = sweep(spool, limit=1_300)
        assert spool.numbers(spool.layout.done) == [6, 7, 8]
        assert (swept.evicted, swept.used) == (2, 1_200)

    def test_the_oldest_recording_of_a_day_is_evicted_first(self, spool: FullSpool) -> None:
        for number, age in enumerate([3 * HOUR, 5 * HOUR, 4 * HOUR, 1 * HOUR]):
            spool.put(spool.layout.done / DAYS[3], number, age=age)
        sweep(spool, limit=800)
        assert spool.numbers(spool.layout.done) == [0, 3]

    def test_nothing_is_evicted_below_the_limit(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[3], 1)
        swept = sweep(spool, limit=400)
        assert (swept.evicted, swept.used) == (0, 400)

    def test_done_recordings_are_evicted_before_those_waiting_for_notifiers(self, spool: FullSpool) -> None:
        spool.put(spool.layout.ready / DAYS[0], 1, ["wav", "json", S3])
        spool.put(spool.layout.done / DAYS[4], 2)
        sweep(spool, limit=300)
        assert spool.numbers(spool.layout.directory) == [1]
        assert len(spool.files()) == 3

    def test_only_audio_is_evicted_while_notifiers_are_pending(self, spool: FullSpool) -> None:
        spool.put(spool.layout.ready / DAYS[0], 1, ["wav", "json", S3])
        swept = sweep(spool, limit=1)
        assert set(spool.files()) == {f"ready/{DAYS[0]}/{recording_id(1)}.{suffix}" for suffix in ("json", S3)}
        assert (swept.evicted, swept.used) == (1, 200)
        assert sweep(spool, limit=1).evicted == 0

    def test_a_recording_that_one_carrier_lacks_is_not_evicted(self, spool: FullSpool) -> None:
        spool.put(spool.layout.ready / DAYS[0], 1, ["wav", "json", S3])
        sweep(spool, limit=1, carriers=frozenset({"s3", "elsewhere"}))
        assert len(spool.files()) == 3

    def test_a_recording_stored_only_by_a_former_carrier_is_not_evicted(self, spool: FullSpool) -> None:
        spool.put(spool.layout.ready / DAYS[0], 1, ["wav", "json", S3_TOO])
        sweep(spool, limit=1)
        assert len(spool.files()) == 3

    def test_the_size_includes_all_files(self, spool: FullSpool) -> None:
        (spool.layout.draft / "a.wav").write_bytes(bytes(700))
        (spool.layout.broken / "b.reason.txt").write_bytes(bytes(50))
        spool.layout.lock.write_bytes(bytes(7))
        (spool.layout.ready / "link").symlink_to("/usr")
        link = (spool.layout.ready / "link").lstat().st_size
        assert size_below(spool.layout.directory, lambda: False) == 757 + link


class TestEmptyDays:
    def test_an_empty_day_is_removed_after_a_day_without_changes(self, spool: FullSpool) -> None:
        for day in DAYS[:3]:
            spool.put(spool.layout.done / day, 1)
        sweep(spool, keep=0.0)
        assert len(list(spool.layout.done.iterdir())) == 3
        spool.leave_alone(spool.layout.done / DAYS[0], IDLE_DAY + 1)
        spool.leave_alone(spool.layout.done / DAYS[1], IDLE_DAY - 1)
        sweep(spool, keep=0.0)
        assert [day.name for day in sorted(spool.layout.done.iterdir())] == [*DAYS[1:3]]

    def test_a_day_with_files_stays(self, spool: FullSpool) -> None:
        spool.put(spool.layout.done / DAYS[0], 1, ["wav", "json"])
        spool.leave_alone(spool.layout.done / DAYS[0], 3 * IDLE_DAY)
        assert sweep(spool).error is None
        assert len(spool.files()) == 2

    def test_an_empty_day_in_ready_stays(self, spool: FullSpool) -> None:
        day = spool.layout.ready / DAYS[0]
        day.mkdir()
        spool.leave_alone(day, 3 * IDLE_DAY)
        sweep(spool)
        assert day.is_dir()


class TestDiskErrors:
    @pytest.fixture
    def stubborn(self, spool: FullSpool) -> FullSpool:
        """A spool in which the audio of one recording is a directory, which not even root can unlink."""
        spool.put(spool.layout.done / DAYS[0], 1, ["json", S3])
        (spool.layout.done / DAYS[0] / f"{recording_id(1)}.wav").mkdir()
        spool.put(spool.layout.done / DAYS[1], 2)
        return spool

    def test_an_error_keeps_the_rest_of_that_recording_only(self, stubborn: FullSpool) -> None:
        swept = sweep(stubborn, keep=0.0)
        assert set(stubborn.files()) == {f"done/{DAYS[0]}/{recording_id(1)}.{suffix}" for suffix in ("json", S3)}
        assert swept.expired == 1
        assert swept.error is not None
        assert swept.error.filename == str(stubborn.layout.done / DAYS[0] / f"{recording_id(1)}.wav")

    def test_an_error_does_not_stop_other_evictions(self, stubborn: FullSpool) -> None:
        swept = sweep(stubborn, limit=1)
        assert len(stubborn.files()) == 2
        assert swept.evicted == 1

    def test_a_file_named_like_a_day_is_an_error(self, spool: FullSpool) -> None:
        (spool.layout.done / DAYS[0]).write_text("")
        spool.leave_alone(spool.layout.done / DAYS[0], 3 * IDLE_DAY)
        swept = sweep(spool)
        assert swept.error is not None
        assert "Not a directory" in str(swept.error)


def test_a_pass_stops_after_the_current_recording(spool: FullSpool) -> None:
    for number in range(5):
        spool.put(spool.layout.done / DAYS[0], number)
    looks: list[None] = []

    def is_over() -> bool:
        looks.append(None)
        return spool.numbers(spool.layout.done) == [2, 3, 4]

    assert sweep(spool, keep=0.0, is_over=is_over).expired == 2
    assert len(spool.files()) == 3 * 4
    assert len(looks) > 5


def test_a_pass_through_a_missing_spool_finds_nothing(tmp_path: Path) -> None:
    spool = FullSpool(tmp_path / "spool")
    for place in spool.layout.directory.iterdir():
        place.rmdir()
    spool.layout.directory.rmdir()
    assert sweep(spool, limit=1).used == 0


def test_receipts_are_removed_last() -> None:
    suffixes = frozenset({S3, S3_TOO, "wav", WEBHOOK, "json", "notes.txt"})
    recording = Recording(Path("day"), recording_id(1), suffixes)
    assert removable(recording) == ["wav", "json", WEBHOOK, S3_TOO, S3]


class TestConcurrentMoves:
    def test_a_recording_moved_away_stays_complete(self, spool: FullSpool) -> None:
        """The pass listed the day with the receipts of both recordings, before the second one was moved."""
        day = spool.layout.done / DAYS[0]
        for number in (1, 2):
            spool.put(day, number)

        def is_over() -> bool:
            if 1 not in spool.numbers(day):
                (day / f"{recording_id(2)}.{S3}").unlink(missing_ok=True)
            return False

        assert sweep(spool, keep=0.0, is_over=is_over).expired == 1
        assert set(spool.files()) == {f"done/{DAYS[0]}/{recording_id(2)}.{one}" for one in ("wav", "json", WEBHOOK)}

    def test_a_recording_moved_here_is_not_taken_for_remains(self) -> None:
        """A listing may show the receipt, which was moved last, and miss the files that were moved before."""
        assert removable(Recording(Path("day"), recording_id(1), frozenset({S3}))) == ["wav", "json", S3]


# ---- Properties of any spool ----


class Put(NamedTuple):
    """A recording somewhere in the spool. All its files have the same size and age."""

    place: str
    day: str
    suffixes: frozenset[str]
    size: int
    age: float

    def file(self, number: int, suffix: str) -> str:
        return f"{self.place}/{self.day}/{recording_id(number)}.{suffix}"


SIZES = st.integers(0, 300)
AGES = st.integers(0, 200).map(lambda hours: hours * HOUR)
SUFFIXES = st.frozensets(st.sampled_from(["wav", "json", S3, S3_TOO, WEBHOOK, "notes.txt"]), min_size=1)
PUTS = st.builds(Put, st.sampled_from(["done", "ready", "dead"]), st.sampled_from(DAYS), SUFFIXES, SIZES, AGES)
WHOLE_PUTS = PUTS.map(lambda put: put._replace(suffixes=frozenset(WHOLE)))
CARRIER_SETS = st.sampled_from([frozenset(), CARRIERS, frozenset({"elsewhere"}), frozenset({"s3", "elsewhere"})])


def swept_of(puts: list[Put], keep: float, limit: int, carriers: frozenset[str]) -> tuple[RetentionPass, set[str]]:
    """Runs a pass, and returns it with the remaining files."""
    with tempfile.TemporaryDirectory() as directory:
        spool = FullSpool(Path(directory) / "spool")
        for number, put in enumerate(puts):
            spool.put(spool.layout.directory / put.place / put.day, number, put.suffixes, put.size, put.age)
        return sweep(spool, keep=keep, limit=limit, carriers=carriers), set(spool.files())


@given(st.lists(PUTS, max_size=8), AGES, st.integers(0, 4_000), CARRIER_SETS)
def test_only_stored_recordings_are_removed(
    puts: list[Put], keep: float, limit: int, carriers: frozenset[str]
) -> None:
    _, left = swept_of(puts, keep, limit, carriers)
    for number, put in enumerate(puts):
        gone = {suffix for suffix in put.suffixes if put.file(number, suffix) not in left}
        assert "notes.txt" not in gone
        match put.place:
            case "done":
                is_rest = put.suffixes & {S3, S3_TOO} and not put.suffixes & {"wav", "json"}
                assert not gone or (carriers and (is_rest or put.suffixes >= set(map(stored_suffix, carriers))))
            case "ready":
                assert not gone or (
                    gone == {"wav"} and carriers and put.suffixes >= set(map(stored_suffix, carriers))
                )
            case "dead":
                assert not gone


@given(st.lists(WHOLE_PUTS, max_size=12), st.integers(1, 4_000))
def test_the_oldest_are_evicted_first_and_no_more_than_needed(puts: list[Put], limit: int) -> None:
    oldest_first = sorted(enumerate(puts), key=lambda one: (one[1].place, one[1].day, -one[1].age, one[0]))
    expected = {put.file(number, suffix): put.size for number, put in enumerate(puts) for suffix in put.suffixes}
    displaced = 0
    for number, put in oldest_first:
        if put.place != "dead" and sum(expected.values()) > limit:
            displaced += 1
            for suffix in WHOLE if put.place == "done" else ["wav"]:
                del expected[put.file(number, suffix)]

    swept, left = swept_of(puts, 1_000 * HOUR, limit, CARRIERS)
    assert left == set(expected)
    assert (swept.used, swept.evicted, swept.expired) == (sum(expected.values()), displaced, 0)


@given(st.lists(WHOLE_PUTS, max_size=8), AGES)
def test_done_recordings_expire_whatever_the_free_space(puts: list[Put], keep: float) -> None:
    swept, left = swept_of(puts, keep, 0, CARRIERS)
    assert left == {
        put.file(number, suffix)
        for number, put in enumerate(puts)
        for suffix in WHOLE
        if put.place != "done" or put.age < keep or put.day > oldest_day_kept(keep)
    }
    assert swept.evicted == 0


def oldest_day_kept(keep: float) -> str:
    """The day before which a recording may expire: a call of a later day cannot have been stored long enough."""
    return (datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=keep)).date().isoformat()
