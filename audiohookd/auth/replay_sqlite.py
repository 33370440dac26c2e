"""Nonces in a file of SQLite, for several daemons on one host.

With a rollback journal and not a write-ahead log: every question writes, so nothing is gained from readers that
writers do not hold up; the file is one of SQLite's ordinary ones from its first moment, without a change of mode that
two processes could want at once; and somebody may delete it while daemons run. Nothing is synced: what a loss of
power takes is too old when the machine is up again.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from audiohookd.auth.expired_ranges import ExpiredRange, ExpiredRanges
from audiohookd.auth.replay import SWEEP, StoreDown
from audiohookd.runtime.privileges import give_to_owner_of

#: 16 MiB, in pages of 4 KiB: room for some 150,000 nonces. A directory like /run is memory.
MAX_PAGES = 4_096

#: ``since`` by the clock that nobody can set, which all processes share until the next boot. Names are new with the
#: columns: a file that an earlier version of the daemon has made can be used on.
_COLUMNS = "entry BLOB PRIMARY KEY, created REAL NOT NULL, since REAL NOT NULL"
_SETTINGS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = OFF",
    f"PRAGMA max_page_count = {MAX_PAGES}",
    f"CREATE TABLE IF NOT EXISTS used ({_COLUMNS}) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS used_since ON used (since)",
    "CREATE TABLE IF NOT EXISTS expired_ranges (clock_offset REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL)",
)
#: Past the window. What is there since later than now is from before the last boot.
_OLD = """
    SELECT entry, created, since FROM used WHERE since < :now - :window OR since > :now ORDER BY since LIMIT :sweep
"""
_RANGES = "SELECT clock_offset, first, last FROM expired_ranges"
_IS_EXPIRED = "SELECT 1 FROM expired_ranges WHERE :created BETWEEN first AND last"
_KEEP = "INSERT OR IGNORE INTO used (entry, created, since) VALUES (:entry, :created, :now)"


class SqliteNonces:
    """Nonces of the last ``window`` seconds in the file ``path``, which is made where it is missing.

    Times from which nonces have expired stay in it as :class:`ExpiredRanges`, over restarts as well.

    Of all processes that add the same entry, one is told that it is new. A file that cannot be used is left as it is:
    once it was removed or repaired, the next call finds that out. For one thread at a time.

    :param clock: seconds that nobody can set, of the host: the same for all processes. Asked in the thread.
    :param patience: seconds to wait for other processes.
    """

    def __init__(self, path: Path, window: float, clock: Callable[[], float], patience: float) -> None:
        self._path = path
        self._window = window
        self._clock = clock
        self._patience = patience
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def add(self, entry: bytes, created: float) -> bool:
        """See :class:`audiohookd.auth.replay_shared.Nonces`."""
        try:
            return self._add(self._connected(), entry, created)
        except (sqlite3.Error, OSError) as fault:
            self.close()
            reason = (isinstance(fault, OSError) and fault.strerror) or fault
            raise StoreDown(f"{self._path}: {reason}") from None

    def close(self) -> None:
        """Let go of the file; the next call opens it again. Undoes what was begun."""
        if self._connection is not None:
            # A broken file may not even be closed without an error, and then there is nothing more to do about it.
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _add(self, connection: sqlite3.Connection, entry: bytes, created: float) -> bool:
        # At once for writing: what has only read, and then wants to write, may have to be given up.
        connection.execute("BEGIN IMMEDIATE")
        now = self._clock()
        self._expire(connection, now)
        is_new = connection.execute(_IS_EXPIRED, {"created": created}).fetchone() is None
        if is_new:
            kept = connection.execute(_KEEP, {"entry": entry, "created": created, "now": now})
            is_new = kept.rowcount == 1
        connection.execute("COMMIT")
        return is_new

    def _expire(self, connection: sqlite3.Connection, now: float) -> None:
        old = connection.execute(_OLD, {"window": self._window, "now": now, "sweep": SWEEP}).fetchall()
        if not old:
            return
        ranges = ExpiredRanges(self._window, (ExpiredRange(*row) for row in connection.execute(_RANGES)))
        for _, created, since in old:
            ranges.add(created, since)
        connection.execute("DELETE FROM expired_ranges")
        connection.executemany("INSERT INTO expired_ranges VALUES (?, ?, ?)", ranges)
        connection.executemany("DELETE FROM used WHERE entry = ?", [(entry,) for entry, _, _ in old])

    def _connected(self) -> sqlite3.Connection:
        """To the file that has the name now: another one, or none, leaves us alone with what others do not see."""
        identity = _identity(self._path)
        if identity is None or identity != self._identity:
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # SQLite would let others read it. Only when it is new: to close a file drops all locks that we have on it.
        with suppress(FileExistsError):
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            give_to_owner_of(self._path.parent, file)
            os.close(file)
        # Before it is opened: a file that is exchanged meanwhile is then found out with the next call.
        self._identity = _identity(self._path)
        connection = sqlite3.connect(
            self._path, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        try:
            for statement in _SETTINGS:
                connection.execute(statement).close()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino
