"""One daemon to a spool."""

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


def test_a_second_daemon_is_told(rig: SpoolRig) -> None:
    with pytest.raises(OSError, match="in use by another daemon") as refused:
        SpoolRig(rig.directory)
    assert refused.value.errno == errno.EWOULDBLOCK
    assert refused.value.filename == str(rig.directory / "lock")


def test_a_daemon_that_was_refused_keeps_nothing_open(rig: SpoolRig) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    assert os.listdir("/proc/self/fd") == before


def test_another_spool_is_another_matter(rig: SpoolRig, tmp_path: Path) -> None:
    SpoolRig(tmp_path / "other")


def test_is_free_again_when_all_is_settled(rig: SpoolRig) -> None:
    finished = rig.begin("a").finish({})
    stopped = rig.spool.stopService()
    rig.writing.run()
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    assert is_pending(stopped)
    rig.finishing.run()
    assert result_of(finished).name == "a.wav"
    SpoolRig(rig.directory)


def test_the_same_one_can_have_it_again(rig: SpoolRig) -> None:
    result_of(rig.spool.stopService())
    rig.spool.prepare()
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool" / "lock").mkdir(parents=True)
    with pytest.raises(OSError, match="lock"):
        SpoolRig(tmp_path / "spool")


def test_can_be_looked_at_without_taking_it(rig: SpoolRig) -> None:
    assert is_locked(rig.spool.layout)
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    result_of(rig.spool.stopService())
    assert not is_locked(rig.spool.layout)
    (rig.directory / "lock").unlink()
    assert not is_locked(rig.spool.layout)


def test_programs_that_the_daemon_starts_do_not_inherit_it(rig: SpoolRig) -> None:
    lists = "import os; print([os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')])"
    inherited = subprocess.run([sys.executable, "-c", lists], capture_output=True, check=True, close_fds=False)
    assert b"/dev/null" in inherited.stdout or b"pipe" in inherited.stdout
    assert str(rig.directory / "lock").encode() not in inherited.stdout
    assert str(rig.directory / "draft").encode() not in inherited.stdout


class TestWhoeverRemovesTheFile:
    def test_lets_no_second_daemon_in(self, rig: SpoolRig) -> None:
        (rig.directory / "lock").unlink()
        for _ in range(2):
            with pytest.raises(OSError, match="in use by another daemon") as refused:
                SpoolRig(rig.directory)
            assert refused.value.errno == errno.EWOULDBLOCK
            assert is_locked(rig.spool.layout)

    def test_finds_it_there_again_after_the_next_look(self, rig: SpoolRig, tmp_path: Path) -> None:
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

    def test_is_told_when_another_daemon_was_quicker(self, rig: SpoolRig, tmp_path: Path) -> None:
        """As on another machine, which sees the same spool but not who has its directories."""
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

    def test_costs_no_open_file(self, rig: SpoolRig) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            (rig.directory / "lock").unlink()
            rig.spool.lock.keep()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_a_daemon_that_let_go_does_not_take_it_again(self, rig: SpoolRig) -> None:
        result_of(rig.spool.stopService())
        rig.spool.lock.keep()
        SpoolRig(rig.directory)


class TestTheStopDuringALook:
    """A disk may take minutes to answer, and the stop does not wait for that."""

    @pytest.fixture
    def spool(self, tmp_path: Path) -> SpoolPaths:
        spool = SpoolPaths(tmp_path)
        spool.draft.mkdir()
        return spool

    @pytest.mark.parametrize("place", ["lock", "draft"])
    @pytest.mark.parametrize("is_removed", [True, False])
    def test_leaves_the_spool_free(self, spool: SpoolPaths, place: str, is_removed: bool) -> None:
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

    def test_closes_no_file_of_anybody_else(self, spool: SpoolPaths) -> None:
        others: list[int] = []

        def answer_late(path: Path) -> os.stat_result:
            lock.release()
            others.extend(os.open(spool.directory, os.O_RDONLY) for _ in range(2 - len(others)))
            raise FileNotFoundError

        lock = Lock(spool, answer_late)
        lock.hold()
        lock.keep()
        for other in others:
            os.close(other)  # which somebody else may have done
        assert not is_locked(spool)

    def test_costs_whoever_has_it_next_nothing(self, spool: SpoolPaths) -> None:
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
