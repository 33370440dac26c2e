"""Text that a log file cannot encode costs escapes, and no line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import Logger, LogPublisher, textFileLogObserver
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from audiohookd.observe.log_encoding import escape_log

NAME = "caf\udce9.wav"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Logger, Path]]:
    file = LogFile.fromFullPath(str(tmp_path / "log"))
    publisher = LogPublisher(textFileLogObserver(file))
    escape_log(publisher)
    yield Logger("audiohookd.spool", observer=publisher), tmp_path / "log"
    file.close()


def test_a_line_with_a_name_that_is_no_text_is_written_with_escapes(log: tuple[Logger, Path]) -> None:
    logger, file = log
    logger.warn("{name} is no recording", name=NAME)
    assert "[audiohookd.spool#warn] caf\\udce9.wav is no recording\n" in file.read_text("utf-8")


def test_a_traceback_with_such_a_name_is_written_whole(log: tuple[Logger, Path]) -> None:
    logger, file = log
    try:
        raise FileNotFoundError(NAME)
    except FileNotFoundError:
        logger.failure("cannot be moved", Failure())
    text = file.read_text("utf-8")
    assert "#critical] cannot be moved\n" in text
    assert "FileNotFoundError: caf\\udce9.wav" in text


def test_other_lines_are_written_once_and_as_they_are(log: tuple[Logger, Path]) -> None:
    logger, file = log
    logger.info("{{}} caf\xe9 {name}", name="a.wav")
    assert file.read_text("utf-8").count("{} caf\xe9 a.wav\n") == 1
