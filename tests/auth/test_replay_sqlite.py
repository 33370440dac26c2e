"""Nonces in an SQLite file: each is new once for all processes. A broken file only makes the store unavailable."""

import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from audiohookd.auth.replay.sqlite import MAX_PAGES, SqliteNonces
from audiohookd.auth.replay.store import SWEEP, MemoryReplayStore, StoreUnavailable, nonce_digest

RACER = Path(__file__).parent / "nonce_racer.py"
NOW = 1_700_000_000.0
WINDOW = 16.0
COLUMNS = "entry BLOB PRIMARY KEY, created REAL NOT NULL, since REAL NOT NULL"
#: Seconds to wait for another process: no test waits for it, unless it tests the timeout.
PATIENCE = 0.01

ONE, OTHER = nonce_digest("key", "one"), nonce_digest("key", "other")


class Stores:
    """As many as are asked for, all on one file, and closed in the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[SqliteNonces] = []
        self.clock = Clock()
        self.clock.advance(1000.0)

    def later(self, seconds: float) -> float:
        """The date then, by both clocks."""
        self.clock.advance(seconds)
        return NOW + self.clock.seconds() - 1000.0

    def open(self) -> SqliteNonces:
        self.opened.append(SqliteNonces(self.path, WINDOW, self.clock.seconds, PATIENCE))
        return self.opened[-1]

    def rows(self) -> dict[bytes, float]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA busy_timeout = 30000")
            return dict(connection.execute("SELECT entry, created FROM used"))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(tmp_path / "replay.sqlite")
    yield stores
    for store in stores.opened:
        store.close()


class TestNonces:
    def test_nonce_is_new_once(self, stores: Stores) -> None:
        store = stores.open()
        assert [store.add(ONE, NOW), store.add(ONE, NOW), store.add(OTHER, NOW)] == [True, False, True]

    def test_nonce_is_new_once_for_all_stores(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        assert [one.add(ONE, NOW), other.add(ONE, NOW)] == [True, False]
        assert [other.add(OTHER, NOW), one.add(OTHER, NOW)] == [True, False]

    def test_nonces_survive_a_restart(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        store.close()
        assert not stores.open().add(ONE, NOW + 1)

    def test_expired_nonce_is_deleted_and_not_new(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        store.add(ONE, NOW)
        stores.later(WINDOW)
        assert not store.add(ONE, NOW)
        assert store.add(OTHER, stores.later(0.01))
        assert set(stores.rows()) == {OTHER}
        assert not store.add(ONE, NOW)

    def test_a_repeat_does_not_extend_the_window(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        stores.later(WINDOW)
        store.add(ONE, NOW)
        store.add(OTHER, stores.later(0.01))
        assert set(stores.rows()) == {OTHER}

    @pytest.mark.parametrize("step", [-3600.0, -30.0, 30.0, 3600.0])
    def test_no_clock_step_or_restart_makes_a_nonce_new(self, step: float, stores: Stores) -> None:
        store = stores.open()
        assert store.add(ONE, NOW)
        assert store.add(OTHER, stores.later(WINDOW + 1) + step)
        stores.later(WINDOW + 1)
        assert store.add(nonce_digest("key", "third"), stores.later(0))
        store.close()
        assert not stores.open().add(ONE, NOW)
        assert not stores.open().add(OTHER, NOW + WINDOW + 1 + step)

    def test_nonce_from_before_the_last_boot_is_not_new(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        stores.clock = Clock()
        store = stores.open()
        assert store.add(OTHER, NOW + WINDOW + 1)
        assert set(stores.rows()) == {OTHER}
        assert not store.add(ONE, NOW)

    def test_a_file_of_an_earlier_version_is_usable(self, stores: Stores) -> None:
        with closing(sqlite3.connect(stores.path)) as connection:
            connection.execute("CREATE TABLE nonces (entry BLOB PRIMARY KEY, seen REAL, since REAL) WITHOUT ROWID")
            connection.execute("CREATE INDEX nonces_by_age ON nonces (seen)")
        store = stores.open()
        assert [store.add(ONE, NOW), store.add(ONE, NOW)] == [True, False]

    def test_each_lookup_removes_more_than_it_adds(self, stores: Stores) -> None:
        store = stores.open()
        for number in range(3 * SWEEP):
            store.add(nonce_digest("key", str(number)), NOW)
        later = stores.later(WINDOW + 1)
        store.add(ONE, later)
        assert len(stores.rows()) == 2 * SWEEP + 1
        store.add(OTHER, later)
        store.add(OTHER, later)
        assert stores.rows() == {ONE: later, OTHER: later}

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        asked=st.lists(
            st.tuples(st.integers(0, 5), st.floats(0, 20), st.booleans(), st.sampled_from([0, 60.0, -60.0, 3600.0])),
            max_size=30,
        )
    )
    def test_file_and_memory_agree(
        self, asked: list[tuple[int, float, bool, float]], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        stores = Stores(tmp_path_factory.mktemp("nonces") / "replay.sqlite")
        both, memory = (stores.open(), stores.open()), MemoryReplayStore(WINDOW, stores.clock.seconds)
        created, used = dict[int, float](), set[int]()
        for nonce, seconds, which, ahead in asked:
            signed_at = created.setdefault(nonce, stores.later(seconds) + ahead)
            is_new = both[which].add(nonce_digest("key", str(nonce)), signed_at)
            assert is_new is memory.first_use("key", str(nonce), signed_at)
            assert not (is_new and nonce in used)
            used.add(nonce)
        for store in both:
            store.close()


class TestFile:
    def test_file_is_private_and_has_only_hashes(self, stores: Stores) -> None:
        stores.open().add(nonce_digest("an-api-key", "a-nonce-of-22-characters"), NOW)
        content = stores.path.read_bytes()
        assert b"an-api-key" not in content
        assert b"a-nonce" not in content
        assert stat.S_IMODE(stores.path.stat().st_mode) == 0o600

    def test_no_other_file_is_left(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        store.close()
        assert {path.name for path in stores.path.parent.iterdir()} <= {"replay.sqlite", "replay.sqlite-journal"}

    def test_file_size_is_limited(self, stores: Stores) -> None:
        """A full file makes the store unavailable. Expired entries make room."""
        with closing(sqlite3.connect(stores.path)) as connection:
            connection.execute(f"CREATE TABLE used ({COLUMNS}) WITHOUT ROWID")
            connection.execute("CREATE INDEX used_since ON used (since)")
            connection.execute("CREATE TABLE ballast (page BLOB)")
            size = 4096 * (MAX_PAGES - 40)
            connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (size,))
            connection.commit()
        store = stores.open()
        entries = [nonce_digest("key", str(number)) for number in range(5000)]
        with pytest.raises(StoreUnavailable, match="full"):
            all(store.add(entry, NOW) for entry in entries)
        assert stores.path.stat().st_size <= 4096 * MAX_PAGES
        assert store.add(ONE, stores.later(WINDOW + 1))

    @pytest.mark.parametrize("gone", ["deleted", "moved", "replaced"])
    def test_replaced_file_is_detected(self, gone: str, stores: Stores) -> None:
        one = stores.open()
        one.add(ONE, NOW)
        match gone:
            case "deleted":
                stores.path.unlink()
            case "moved":
                stores.path.rename(stores.path.with_suffix(".old"))
            case "replaced":
                other = Stores(stores.path.with_suffix(".new"))
                other.open().add(OTHER, NOW)
                other.opened[0].close()
                other.path.rename(stores.path)
        assert one.add(ONE, NOW)
        assert not stores.open().add(ONE, NOW)


class TestDown:
    def down(self, store: SqliteNonces, reason: str) -> None:
        with pytest.raises(StoreUnavailable, match=reason) as caught:
            store.add(ONE, NOW)
        assert "\n" not in str(caught.value)
        assert ONE.hex() not in str(caught.value)

    @pytest.mark.parametrize(
        "content", [b"This is no database at all.\n" * 400, b"SQLite format 3\0" + bytes(range(256)) * 40]
    )
    def test_a_corrupt_file_is_an_outage(self, content: bytes, stores: Stores) -> None:
        stores.path.write_bytes(content)
        store = stores.open()
        self.down(store, "not a database|malformed|disk I/O|unsupported|readonly")
        assert stores.path.read_bytes() == content
        stores.path.unlink()
        assert store.add(ONE, NOW)

    def test_a_file_corrupted_in_use_is_an_outage(self, stores: Stores) -> None:
        store = stores.open()
        store.add(ONE, NOW)
        with stores.path.open("r+b") as file:
            file.write(b"nonsense" * 1024)
        self.down(store, "not a database|malformed|disk I/O")
        stores.path.unlink()
        assert store.add(ONE, NOW)

    def test_a_missing_directory_is_an_outage(self, stores: Stores) -> None:
        stores.path = stores.path.parent / "later" / "replay.sqlite"
        store = stores.open()
        self.down(store, "No such file or directory")
        stores.path.parent.mkdir()
        assert store.add(ONE, NOW)

    def test_a_directory_in_place_of_the_file_is_an_outage(self, stores: Stores) -> None:
        stores.path.mkdir()
        self.down(stores.open(), "unable to open")

    def test_a_foreign_table_is_an_outage(self, stores: Stores) -> None:
        with closing(sqlite3.connect(stores.path)) as connection:
            connection.execute("CREATE TABLE used (a, b)")
        self.down(stores.open(), "no such column|has no column")

    def test_a_lock_that_is_held_is_an_outage(self, stores: Stores) -> None:
        store = stores.open()
        store.add(OTHER, NOW)
        with closing(sqlite3.connect(stores.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            self.down(store, "locked")
            other.execute("COMMIT")
        assert store.add(ONE, NOW)

    def test_an_interrupted_lookup_is_rolled_back(self, stores: Stores) -> None:
        """Otherwise the nonce would count as used, and the retry of its client would be rejected."""
        store = stores.open()
        store.add(OTHER, NOW)
        with closing(sqlite3.connect(stores.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM used").fetchone() == (1,)
            self.down(store, "locked")  # only after it has written all of it
        assert store.add(ONE, NOW)


class Racer:
    """Another process that adds nonces as soon as it reads ``go``."""

    def __init__(self, path: Path, count: int) -> None:
        command = [sys.executable, str(RACER), str(path), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self) -> list[int]:
        """Returns the numbers of its new nonces, when it has ended."""
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return [int(number) for number in said.split()]


class TestSeveralProcesses:
    COUNT = 300

    @pytest.fixture
    def racer(self, stores: Stores) -> Iterator[Callable[[int], Racer]]:
        racers: list[Racer] = []

        def start(count: int) -> Racer:
            racers.append(Racer(stores.path, count))
            return racers[-1]

        yield start
        for racer in racers:
            racer.process.kill()
            racer.process.communicate()

    def test_each_nonce_is_new_for_one_process(self, racer: Callable[[int], Racer]) -> None:
        """From the first moment on, in which both of them make the file."""
        racers = [racer(self.COUNT), racer(self.COUNT)]
        for one in racers:
            one.go()
        told = [one.told() for one in racers]
        assert sorted(told[0] + told[1]) == list(range(self.COUNT))

    def test_other_processes_continue_after_a_kill(self, stores: Stores, racer: Callable[[int], Racer]) -> None:
        """The next process rolls back its open transaction."""
        store = SqliteNonces(stores.path, WINDOW, time.monotonic, timeout=30.0)  # the clock of the other process
        stores.opened.append(store)
        store.add(ONE, NOW)
        killed = racer(1_000_000)
        killed.go()
        # Nothing but readers: SQLite does not grant locks in turn, and a writer that never pauses kept it for 30 s.
        while len(stores.rows()) < 50:
            pass
        killed.process.kill()
        assert not store.add(ONE, NOW)
        assert store.add(OTHER, NOW)
