"""One daemon to a spool."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from spool_rig import SpoolRig, is_pending, result_of

from audiohookd.spool.lock import is_locked


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
    path = rig.directory / "lock"
    assert is_locked(path)
    with pytest.raises(OSError, match="in use"):
        SpoolRig(rig.directory)
    result_of(rig.spool.stopService())
    assert not is_locked(path)
    path.unlink()
    assert not is_locked(path)


def test_programs_that_the_daemon_starts_do_not_inherit_it(rig: SpoolRig) -> None:
    lists = "import os; print([os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')])"
    inherited = subprocess.run([sys.executable, "-c", lists], capture_output=True, check=True, close_fds=False)
    assert b"/dev/null" in inherited.stdout or b"pipe" in inherited.stdout
    assert str(rig.directory / "lock").encode() not in inherited.stdout
