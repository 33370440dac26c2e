"""The output of a daemon to journald, as under systemd."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import PATIENCE
from tests.functional.place import Place

PRIORITY = re.compile(r"<([2-7])>")


def run(there: Place, log: Path, *options: str, stop_at: str | None = None) -> list[str]:
    """Runs a daemon with stdout and stderr as the journal, and returns its lines.

    :param stop_at: stops the daemon at a line with these words.
    """
    with log.open("w+b") as journal:
        about = os.fstat(journal.fileno())
        environment = os.environ | {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        command: list[Any] = [
            there.bin / "twistd",
            "--nodaemon",
            "--pidfile=",
            *options,
            "audiohookd",
            "--config",
            there.config,
        ]
        process = subprocess.Popen(command, env=environment, stdout=journal, stderr=journal)
        try:
            while stop_at is not None and process.poll() is None:
                if stop_at in log.read_text():
                    process.send_signal(signal.SIGTERM)
                    break
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
    return log.read_text().splitlines()


def priorities(lines: list[str], words: str) -> set[str]:
    """The priorities of the lines with these words."""
    return {line[:3] for line in lines if words in line}


def test_all_lines_have_a_priority_and_no_date(place: Callable[..., Place], tmp_path: Path) -> None:
    there = place(**{"[route]": {"plugins": []}})
    lines = run(there, tmp_path / "log", stop_at="listening on")
    assert [line for line in lines if not PRIORITY.match(line)] == []
    assert priorities(lines, "starting up") == priorities(lines, "listening on") == {"<6>"}
    assert priorities(lines, "are not recorded") == {"<4>"}
    assert [line for line in lines if re.match(r"<\d>\d{4}-", line)] == []


def test_a_log_file_has_no_priorities(place: Callable[..., Place], tmp_path: Path) -> None:
    there = place(listen={"endpoint": "tcp:3000:interface=192.0.2.1"})
    assert run(there, tmp_path / "log", f"--logfile={tmp_path}/twistd.log") == []
    lines = (tmp_path / "twistd.log").read_text().splitlines()
    assert [line for line in lines if not re.match(r"\d{4}-", line)] == []


@pytest.mark.parametrize("mistake", ["[lsten]\n", "endpoint"])
def test_a_failed_start_is_logged_as_an_error(place: Callable[..., Place], tmp_path: Path, mistake: str) -> None:
    there = place()
    if mistake == "endpoint":
        there.write(listen={"endpoint": "tcp:3000:interface=192.0.2.1"})
    else:
        there.config.write_text(there.config.read_text() + mistake)
    lines = run(there, tmp_path / "log")
    assert priorities(lines, f"{there.config}: ") | priorities(lines, "cannot listen") == {"<3>"}
    assert [line for line in lines if not PRIORITY.match(line)] == []
