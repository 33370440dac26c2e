"""The wall clock as retention sees it."""

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from audiohookd.spool.wall_clock import DISTRUST, STEP, GuardedWallClock

NOW = 1_767_484_800.0


class SteppedClock:
    """A wall clock that can be set, beside a monotonic clock."""

    def __init__(self) -> None:
        self.monotonic = Clock()
        self.offset = NOW
        self.guarded = GuardedWallClock(self.wall, self.monotonic.seconds)

    def wall(self) -> float:
        return self.offset + self.monotonic.seconds()

    def after(self, seconds: float) -> float:
        """What the guarded clock shows then, in seconds since the start."""
        self.monotonic.advance(seconds)
        return self.guarded.now() - NOW


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []

    def keep(event: LogEvent) -> None:
        if event["log_level"].name == "warn":
            found.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(keep)  # type: ignore[arg-type]
    yield found
    globalLogPublisher.removeObserver(keep)  # type: ignore[arg-type]


def test_a_clock_that_is_slewed_is_followed(warnings: list[str]) -> None:
    clock = SteppedClock()
    for number in range(1, 11):
        clock.offset += STEP * 0.9
        assert clock.after(60.0) == pytest.approx(number * (60.0 + STEP * 0.9))
    assert warnings == []


def test_a_step_forward_counts_after_an_hour(warnings: list[str]) -> None:
    clock = SteppedClock()
    clock.offset += 86_400.0
    assert clock.after(60.0) == pytest.approx(60.0)
    assert clock.after(DISTRUST - 1.0) == pytest.approx(60.0 + DISTRUST - 1.0)
    (line,) = warnings
    assert "set 86400 s forward" in line
    assert clock.after(2.0) == pytest.approx(86_400.0 + DISTRUST + 61.0)
    assert "86400 s ahead for 3600 s" in warnings[1]
    assert clock.after(60.0) == pytest.approx(86_400.0 + DISTRUST + 121.0)
    assert len(warnings) == 2


def test_a_step_forward_that_is_taken_back_never_counts(warnings: list[str]) -> None:
    clock = SteppedClock()
    clock.offset += 400 * 86_400.0
    clock.after(60.0)
    clock.offset = NOW
    assert clock.after(60.0) == pytest.approx(120.0)
    clock.offset += 100.0
    assert clock.after(DISTRUST) == pytest.approx(120.0 + DISTRUST)
    assert len(warnings) == 2


def test_a_step_back_counts_at_once(warnings: list[str]) -> None:
    clock = SteppedClock()
    clock.offset -= 3_600.0
    assert clock.after(60.0) == pytest.approx(60.0 - 3_600.0)
    assert warnings == []
