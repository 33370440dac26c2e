"""Nonces in an SQLite file, for several daemons on one host.

The file has a rollback journal instead of a write-ahead log, for three reasons. Every lookup writes, so concurrent
readers gain nothing. No process has to change the mode of the file, which two processes could attempt at once. And
the file can be deleted while daemons run. Nothing is synced: nonces lost in a power failure have expired before the
host is up again.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from audiohookd.auth.replay.expired_ranges import ExpiredRange, ExpiredRanges
from audiohookd.auth.replay.store import SWEEP, StoreUnavailable
from audiohookd.runtime.privileges import give_to_owner_of

#: 16 MiB in pages of 4 KiB: room for some 150,000 nonces. Bounded, because a directory like /run is in memory.
MAX_PAGES = 4_096

#: ``since`` is monotonic time, which all processes share until the next boot. The table is renamed whenever its
#: columns change, so a file from an earlier version of the daemon stays usable.
_COLUMNS = "entry BLOB PRIMARY KEY, created REAL NOT NULL, since REAL NOT NULL"
_SETTINGS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = OFF",
    f"PRAGMA max_page_count = {MAX_PAGES}",
    f"CREATE TABLE IF NOT EXISTS used ({_COLUMNS}) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS used_since ON used (since)",
    "CREATE TABLE IF NOT EXISTS expired_ranges (clock_offset REAL NOT NULL, first REAL NOT NULL, last REAL NOT NULL)",
)
#: Entries past the window. An entry with ``since`` in the future is from before the last boot.
_OLD = """
    SELECT entry, created, since FROM used WHERE since < :now - :window OR since > :now ORDER BY since LIMIT :sweep
"""
_RANGES = "SELECT clock_offset, first, last FROM expired_ranges"
_IS_EXPIRED = "SELECT 1 FROM expired_ranges WHERE :created BETWEEN first AND last"
_KEEP = "INSERT OR IGNORE INTO used (entry, created, since) VALUES (:entry, :created, :now)"


class SqliteNonces:
    """Nonces of the last ``window`` seconds in the file ``path``, which is created if missing.

    The file also keeps the :class:`ExpiredRanges`, across restarts. If several processes add the same entry, it is
    new for exactly one of them. A file that cannot be used is not changed; after it is removed or repaired, the next
    call uses it. For one thread at a time.

    :param clock: monotonic seconds of the host, the same for all processes. Called in the thread.
    :param timeout: seconds to wait for other processes.
    """

    def __init__(self, path: Path, window: float, clock: Callable[[], float], timeout: float) -> None:
        self._path = path
        self._window = window
        self._clock = clock
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def add(self, entry: bytes, created: float) -> bool:
        """See :class:`audiohookd.auth.replay.shared.NonceBackend`."""
        try:
            return self._add(self._connected(), entry, created)
        except (sqlite3.Error, OSError) as error:
            self.close()
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise StoreUnavailable(f"{self._path}: {reason}") from None

    def close(self) -> None:
        """Closes the file, and rolls back an open transaction. The next call opens it again."""
        if self._connection is not None:
            # Closing a corrupt file may fail, too. The connection is dropped in any case.
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _add(self, connection: sqlite3.Connection, entry: bytes, created: float) -> bool:
        # Locks for writing at once. A transaction that upgrades from reading to writing may fail.
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
        """Returns a connection to the file that ``path`` names now.

        If the file was deleted or replaced, other processes would not see entries in the old one.
        """
        identity = _identity(self._path)
        if identity is None or identity != self._identity:
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # SQLite would create it readable for all users. Only a new file is opened here: closing a file drops all
        # locks that this process has on it.
        with suppress(FileExistsError):
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            give_to_owner_of(self._path.parent, file)
            os.close(file)
        # Before the file is opened: if it is replaced in between, the next call detects that.
        self._identity = _identity(self._path)
        connection = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            for statement in _SETTINGS:
                connection.execute(statement).close()
        except sqlite3.Error:
            connection.close()
            raise
        return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
