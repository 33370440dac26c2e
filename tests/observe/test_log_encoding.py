"""Whatever is logged becomes bounded lines of printable text, and no line is missing."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogBeginner,
    Logger,
    LogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.syslog import SyslogObserver

from audiohookd.escaping import printable
from audiohookd.observe.journald import JournalObserver
from audiohookd.observe.log_encoding import (
    MESSAGE_LIMIT,
    TRACE_HEAD,
    TRACE_LINE_LIMIT,
    TRACE_TAIL,
    EscapingObserver,
    escape_early_log,
    escape_log,
)

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


HOSTILE = "a\x1b[2J\x00\r\n2026-01-01T00:00:00+0000 [x#info] forged\x9b31m\u202e\u2028\udce9"


class Unspeakable:
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


class Failing(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def written(act: Callable[[Logger], object], observe: Callable[[TextIO], ILogObserver] = textFileLogObserver) -> str:
    """Returns the log of ``act``."""
    stream = StringIO()
    act(Logger("audiohookd.test", observer=EscapingObserver(observe(stream))))
    return stream.getvalue()


def failed(fault: BaseException) -> Callable[[Logger], None]:
    """Logs that ``fault`` was raised."""

    def act(log: Logger) -> None:
        try:
            raise fault
        except BaseException:
            log.failure("it failed, {why}", why=HOSTILE)

    return act


@pytest.mark.parametrize(
    "act",
    [
        lambda log: log.warn("it says {reason}", reason=HOSTILE),
        lambda log: log.warn("it says {reason!s}", reason=[HOSTILE]),
        lambda log: log.warn(f"it says {HOSTILE}"),
        lambda log: log.warn("it says {reason}", log_system=HOSTILE, reason=""),
        lambda log: log.warn("it says {no.such}", reason=HOSTILE),
        lambda log: log.warn("it says {reason}", reason=Unspeakable()),
    ],
)
def test_an_event_is_one_printable_line(act: Callable[[Logger], object]) -> None:
    text = written(act)
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert len(text) > 50


def test_a_long_message_is_cut_and_says_how_long_it_was() -> None:
    text = written(lambda log: log.info("{text}", text="A" * 60_000))
    assert text.endswith("A... (60000 characters)\n")
    assert len(text) < MESSAGE_LIMIT + 200


@pytest.mark.parametrize(
    "fault", [ValueError(HOSTILE), Failing(), RuntimeError("A" * 60_000), OSError(5, HOSTILE, HOSTILE)]
)
def test_the_lines_of_a_traceback_are_printable_and_marked_by_a_tab(fault: Exception) -> None:
    first, *others = written(failed(fault)).removesuffix("\n").split("\n")
    assert first.isprintable()
    assert others[0] == "\tTraceback (most recent call last):"
    assert [line for line in others if not (line[0] == "\t" and line[1:].isprintable())] == []
    assert max(map(len, others)) <= TRACE_LINE_LIMIT + 50


def test_of_a_long_traceback_beginning_and_end_are_kept() -> None:
    lines = written(failed(ValueError("\n".join(map(str, range(100_000)))))).splitlines()
    assert len(lines) == 1 + TRACE_HEAD + 1 + TRACE_TAIL
    assert lines[1] == "\tTraceback (most recent call last):"
    assert lines[1 + TRACE_HEAD].startswith("\t... (99")
    assert lines[-1] == "\t99999"


def syslog(lines: list[str]) -> ILogObserver:
    """As twistd has it with --syslog."""

    class Syslog(SyslogObserver):
        def openlog(self, *_: object) -> None: ...

        def syslog(self, _: int, line: str) -> None:
            lines.append(line)

    return LegacyLogObserverWrapper(Syslog("audiohookd").emit)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [HOSTILE, "A" * 60_000])
def test_a_line_for_syslog_is_printable(reason: str) -> None:
    lines: list[str] = []
    log = Logger("audiohookd.test", observer=EscapingObserver(syslog(lines)))
    log.warn("it says {reason}", reason=reason)
    failed(ValueError(reason))(log)
    assert [line for line in lines if not line.replace("\t", "", 1).isprintable()] == []
    assert [line for line in lines if len(line) > MESSAGE_LIMIT + 100] == []
    assert len([line for line in lines if not line.startswith("[-] \t")]) == 2


def test_a_line_for_the_journal_is_printable() -> None:
    stream = BytesIO()
    log = Logger("audiohookd.test", observer=EscapingObserver(JournalObserver(stream)))
    log.warn("it says {reason}", reason=HOSTILE)
    failed(ValueError(HOSTILE))(log)
    lines = stream.getvalue().decode("utf-8").removesuffix("\n").split("\n")
    assert [line for line in lines if not line.replace("\t", "", 1).isprintable()] == []
    assert len([line for line in lines if not line.startswith("<2>\t")]) == 2


def test_a_line_of_json_has_the_fields_and_the_safe_text() -> None:
    log = partial(jsonFileLogObserver, recordSeparator="")
    text = written(lambda log: log.warn("it says {reason}", reason=HOSTILE), log)
    assert text[:-1].isprintable()
    event = json.loads(text)
    assert (event["reason"], event["log_text"]) == (HOSTILE, f"it says {printable(HOSTILE)}")


def test_events_of_the_old_log_are_escaped_too() -> None:
    stream = StringIO()
    publisher = LogPublisher(EscapingObserver(textFileLogObserver(stream)))
    old = legacy.LogPublisher(publisher, publisher)
    old.msg(HOSTILE, system=HOSTILE)
    old.msg("why", why=HOSTILE, failure=Failure(ValueError(HOSTILE)), isError=1)
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert [line for line in lines if not line.replace("\t", "", 1).isprintable()] == []
    assert [line.startswith("\t") for line in lines[:4]] == [False, False, True, True]


@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_line(text: str) -> None:
    assert written(lambda log: log.info("{text}!", text=text))[:-1].isprintable()


def test_events_before_the_log_began_are_escaped_too() -> None:
    publisher, stream, errors = LogPublisher(), StringIO(), StringIO()
    beginner = LogBeginner(publisher, errors, sys, warnings)
    Logger("audiohookd.test", observer=publisher).warn("it says {reason}", reason=HOSTILE)
    escape_early_log(beginner)
    beginner.beginLoggingTo([textFileLogObserver(stream)], redirectStandardIO=False)
    assert stream.getvalue().endswith(f"[audiohookd.test#warn] it says {printable(HOSTILE)}\n")


def test_an_observer_is_wrapped_once() -> None:
    stream = StringIO()
    publisher = LogPublisher(EscapingObserver(textFileLogObserver(stream)))
    escape_log(publisher)
    failed(ValueError("no"))(Logger("audiohookd.test", observer=publisher))
    assert "\n\tTraceback (most recent call last):\n" in stream.getvalue()
