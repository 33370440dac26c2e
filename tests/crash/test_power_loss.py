"""The simulated power loss of the crash harness."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.power_loss import PowerLoss

#: Code of a process with the hook, in the directory ``spool``.
WORK = """
import os
from audiohookd.spool.write import linux_fs
def write(name, data, sync):
    with open(name, "ab") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fdatasync(file)
def sync_directory(name):
    file = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(file)
    os.close(file)
def sync_all_of(name):
    file = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    linux_fs.sync_file_system(file)
    os.close(file)
"""


class Machine:
    """A process that works in ``spool`` until the power fails."""

    def __init__(self, directory: Path) -> None:
        self.spool = directory / "spool"
        (self.spool / "draft").mkdir(parents=True)
        (self.spool / "ready").mkdir()
        self._power = PowerLoss(directory / "synced")

    def work(self, text: str) -> None:
        """Runs the code ``text``, and then simulates a power loss."""
        environment = os.environ | self._power.environment
        command = [sys.executable, "-c", WORK + text]
        subprocess.run(command, cwd=self.spool, env=environment, check=True)
        self._power.strike(self.spool)

    @property
    def content(self) -> dict[str, bytes]:
        """The content of all files by path."""
        files = [path for path in self.spool.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.spool)): path.read_bytes() for path in files}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_file_ends_where_it_was_synced(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", True); sync_directory("draft"); write("draft/a", b"two", False)')
    assert machine.content == {"draft/a": b"one"}


def test_a_name_that_was_not_synced_is_gone_and_one_that_was_may_be_empty(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", False); sync_directory("draft"); write("draft/b", b"two", True)')
    assert machine.content == {"draft/a": b""}


def test_a_removal_that_was_not_synced_did_not_happen(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", True); sync_directory("draft"); os.unlink("draft/a")')
    assert machine.content == {"draft/a": b"one"}
    machine.work('os.unlink("draft/a"); sync_directory("draft")')
    assert machine.content == {}


def test_a_move_is_atomic(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", True); sync_directory("draft"); os.rename("draft/a", "ready/b")')
    assert machine.content == {"draft/a": b"one"}
    machine.work('os.rename("draft/a", "ready/b"); sync_directory("ready")')
    assert machine.content == {"ready/b": b"one"}


def test_a_move_survives_a_sync_of_the_directory_it_came_from(machine: Machine) -> None:
    machine.work(
        'write("draft/a", b"one", True); sync_directory("draft"); os.rename("draft/a", "ready/b")' + "\n"
        'sync_directory("draft")'
    )
    assert machine.content == {"ready/b": b"one"}


def test_data_that_survived_one_power_loss_survives_the_next(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", True); sync_directory("draft"); write("draft/a", b"two", False)')
    machine.work('write("draft/a", b"three", True); write("draft/a", b"four", False)')
    assert machine.content == {"draft/a": b"onethree"}


def test_a_sync_of_the_file_system_syncs_the_directory(machine: Machine) -> None:
    machine.work('write("draft/a", b"one", False); sync_all_of("draft"); write("draft/a", b"two", False)')
    assert machine.content == {"draft/a": b"one"}


def test_a_sync_that_ends_late_does_not_undo_one_that_began_later(machine: Machine) -> None:
    machine.work("""
import sitecustomize, threading
begun, done = threading.Event(), threading.Event()
write("draft/a", b"one", False)
def slow(number):
    begun.set()
    done.wait(10)
linux_fs.sync_file_system = sitecustomize._noting_all(slow, sitecustomize._log)
thread = threading.Thread(target=sync_all_of, args=["draft"])
thread.start()
begun.wait(10)
write("draft/a", b"two", True)
done.set()
thread.join()
""")
    assert machine.content == {"draft/a": b"onetwo"}
