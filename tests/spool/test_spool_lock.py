"""The lock of the spool: one daemon uses it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from audiohookd.spool.lock import Lock, is_locked
from audiohookd.spool.paths import SpoolPaths
from tests.spool.spool_rig import SpoolRig, is_pending, result_of


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


def test_a_second_daemon_gets_an_error(rig: SpoolRig) -> None:
    with pytest.raises(OSError, match="in use by another daemon") as refused:
        SpoolRig(rig.directory)
    assert refused.value.errno == errno.EWOULDBLOCK
    assert refused.value.filename == str(rig.directory / "lock")


def test_a_failed_lock_leaves_no_open_file(rig: SpoolRig) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    assert os.listdir("/proc/self/fd") == before


def test_two_spools_have_independent_locks(rig: SpoolRig, tmp_path: Path) -> None:
    SpoolRig(tmp_path / "other")


def test_the_lock_is_released_when_the_stop_is_done(rig: SpoolRig) -> None:
    finished = rig.begin("a").finish({})
    stopped = rig.spool.stopService()
    rig.writing.run()
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    assert is_pending(stopped)
    rig.finishing.run()
    assert result_of(finished).name == "a.wav"
    SpoolRig(rig.directory)


def test_the_same_daemon_can_lock_again(rig: SpoolRig) -> None:
    result_of(rig.spool.stopService())
    rig.spool.prepare()
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)


def test_a_lock_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "spool" / "lock").mkdir(parents=True)
    with pytest.raises(OSError, match="lock"):
        SpoolRig(tmp_path / "spool")


def test_the_lock_can_be_tested_without_taking_it(rig: SpoolRig) -> None:
    assert is_locked(rig.spool.layout)
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    result_of(rig.spool.stopService())
    assert not is_locked(rig.spool.layout)
    (rig.directory / "lock").unlink()
    assert not is_locked(rig.spool.layout)


def test_child_processes_do_not_inherit_the_lock(rig: SpoolRig) -> None:
    lists = "import os; print([os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')])"
    inherited = subprocess.run([sys.executable, "-c", lists], capture_output=True, check=True, close_fds=False)
    assert b"/dev/null" in inherited.stdout or b"pipe" in inherited.stdout
    assert str(rig.directory / "lock").encode() not in inherited.stdout
    assert str(rig.directory / "draft").encode() not in inherited.stdout


class TestRemovedLockFile:
    def test_a_second_daemon_is_still_rejected(self, rig: SpoolRig) -> None:
        (rig.directory / "lock").unlink()
        for _ in range(2):
            with pytest.raises(OSError, match="in use by another daemon") as refused:
                SpoolRig(rig.directory)
            assert refused.value.errno == errno.EWOULDBLOCK
            assert is_locked(rig.spool.layout)

    def test_keep_creates_the_file_again(self, rig: SpoolRig, tmp_path: Path) -> None:
        (rig.directory / "lock").rename(tmp_path / "taken away")
        with capturedLogs() as logged:
            rig.spool.lock.keep()
            rig.spool.lock.keep()
        assert [formatEvent(event) for event in logged] == [
            f"{rig.directory}/lock was removed or replaced while in use: locked the spool again"
        ]
        with pytest.raises(OSError, match="in use") as refused:
            SpoolRig(rig.directory)
        assert refused.value.filename == str(rig.directory / "lock")
        result_of(rig.spool.stopService())
        SpoolRig(rig.directory)

    def test_keep_fails_if_another_daemon_has_the_lock(self, rig: SpoolRig, tmp_path: Path) -> None:
        """Simulates a daemon on another machine, which shares the files but not the locks of directories."""
        (rig.directory / "draft").rename(tmp_path / "taken away")
        (rig.directory / "lock").unlink()
        second = SpoolRig(rig.directory)
        for _ in range(2):
            with pytest.raises(OSError, match=r"locked by another daemon: stop one of the two") as refused:
                rig.spool.lock.keep()
            assert refused.value.filename == str(rig.directory / "lock")
        second.spool.lock.keep()
        result_of(second.spool.stopService())
        rig.spool.lock.keep()
        with pytest.raises(OSError, match="in use"):
            SpoolRig(rig.directory)

    def test_keep_leaks_no_open_file(self, rig: SpoolRig) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            (rig.directory / "lock").unlink()
            rig.spool.lock.keep()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_keep_after_release_does_not_lock(self, rig: SpoolRig) -> None:
        result_of(rig.spool.stopService())
        rig.spool.lock.keep()
        SpoolRig(rig.directory)


class TestStopDuringKeep:
    """A disk may take minutes to answer, and a stop does not wait for it."""

    @pytest.fixture
    def spool(self, tmp_path: Path) -> SpoolPaths:
        spool = SpoolPaths(tmp_path)
        spool.draft.mkdir()
        return spool

    @pytest.mark.parametrize("place", ["lock", "draft"])
    @pytest.mark.parametrize("is_removed", [True, False])
    def test_a_stop_during_keep_releases_the_spool(self, spool: SpoolPaths, place: str, is_removed: bool) -> None:
        def answer_late(path: Path) -> os.stat_result:
            if path.name == place:
                lock.release()
            return path.stat()

        lock = Lock(spool, answer_late)
        lock.hold()
        if is_removed:
            spool.lock.unlink()
        before = os.listdir("/proc/self/fd")
        lock.keep()
        assert not is_locked(spool)
        assert len(os.listdir("/proc/self/fd")) == len(before) - 2

    def test_a_stop_during_keep_closes_no_foreign_file(self, spool: SpoolPaths) -> None:
        others: list[int] = []

        def answer_late(path: Path) -> os.stat_result:
            lock.release()
            others.extend(os.open(spool.directory, os.O_RDONLY) for _ in range(2 - len(others)))
            raise FileNotFoundError

        lock = Lock(spool, answer_late)
        lock.hold()
        lock.keep()
        for other in others:
            os.close(other)  # as another part of the program may do
        assert not is_locked(spool)

    def test_a_stop_during_keep_does_not_affect_the_next_lock(self, spool: SpoolPaths) -> None:
        def answer_late(path: Path) -> os.stat_result:
            if not later:
                lock.release()
                later.append(Lock(spool))
                later[0].hold()
            return path.stat()

        later: list[Lock] = []
        lock = Lock(spool, answer_late)
        lock.hold()
        lock.keep()
        with pytest.raises(OSError, match="in use"):
            Lock(spool).hold()
        later[0].release()
        assert not is_locked(spool)
