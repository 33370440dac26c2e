"""What journald reads of a log: a priority before each line."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from audiohookd.observe.journald import PRIORITIES, JournalObserver, error_line, journal_observer, prefixed


def written(say: Callable[[Logger], object]) -> list[str]:
    stream = io.BytesIO()
    say(Logger("audiohookd.test", observer=JournalObserver(stream)))
    assert stream.getvalue().endswith(b"\n")
    return stream.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    ("level", "priority"), [("critical", 2), ("error", 3), ("warn", 4), ("info", 6), ("debug", 7)]
)
def test_a_line_begins_with_the_priority_of_its_level_and_no_date(level: str, priority: int) -> None:
    lines = written(lambda log: log.emit(LogLevel.lookupByName(level), "so much: {number}", number=7))
    assert lines == [f"<{priority}>[audiohookd.test#{level}] so much: 7"]


def test_each_line_of_a_traceback_has_the_priority() -> None:
    lines = written(lambda log: log.failure("it failed", Failure(ValueError("one\ntwo"))))
    assert len(lines) > 3
    assert [line[:3] for line in lines] == ["<2>"] * len(lines)
    assert [line[3:4] for line in lines[1:]] == ["\t"] * (len(lines) - 1)
    assert lines[-1] == "<2>\ttwo"


@given(st.text(st.characters(codec=None)), st.sampled_from(sorted(PRIORITIES, key=lambda level: level.name)))
def test_no_text_gets_around_the_priority(text: str, level: LogLevel) -> None:
    """journald takes a line feed or a NUL as the end of a line, and `<0>` at the start of one as its priority."""
    data = prefixed(text, level)
    lines = data.replace(b"\0", b"\n").split(b"\n")
    assert lines.pop() == b""
    assert {line[:3] for line in lines} == {b"<%d>" % PRIORITIES[level]}
    assert len(lines) == text.count("\n") + 1


class TestWhichFile:
    def test_the_journal_gets_the_file_that_systemd_names(self, tmp_path: Path) -> None:
        with (tmp_path / "log").open("w+b") as file:
            about = os.fstat(file.fileno())
            environment = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
            observer = journal_observer(environment, file.fileno())
            assert observer is not None
            Logger("audiohookd.test", observer=observer).warn("snow \u2603 \udce4")
            assert error_line("no way", environment, file.fileno()) == "<3>no way\n"
        assert (tmp_path / "log").read_text() == "<4>[audiohookd.test#warn] snow \u2603 \\udce4\n"

    @pytest.mark.parametrize("environment", [{}, {"JOURNAL_STREAM": "1:1"}, {"JOURNAL_STREAM": ""}])
    def test_the_journal_gets_no_other_file(self, tmp_path: Path, environment: dict[str, str]) -> None:
        with (tmp_path / "log").open("w+b") as file:
            assert journal_observer(environment, file.fileno()) is None
            assert error_line("no way", environment, file.fileno()) == "no way\n"

    def test_the_journal_gets_no_closed_file(self, tmp_path: Path) -> None:
        with (tmp_path / "log").open("w+b") as file:
            number = file.fileno()
        assert journal_observer({"JOURNAL_STREAM": "1:1"}, number) is None
