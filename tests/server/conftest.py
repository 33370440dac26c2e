"""What all tests of the server have in common: the log, and that no failure goes unseen."""

import gc
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, globalLogPublisher


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[LogEvent]]:
    """What was logged. Deferreds whose failure nobody looked at fail the test."""
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    gc.collect(1)  # a full one, for each test, would take half of the time
    globalLogPublisher.removeObserver(found.append)
    unseen = [event for event in found if event["log_level"] is LogLevel.critical and not _told(event)]
    assert unseen == []


def _told(event: LogEvent) -> bool:
    """Failures of plugins, and of our own, are logged as such; whatever else is critical went unseen."""
    return str(event["log_namespace"]).startswith("audiohookd.")
