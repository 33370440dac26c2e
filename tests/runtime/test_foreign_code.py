"""The border to the code of plugins."""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure

from audiohookd.escaping import TEXT_LIMIT, printable
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, text_of
from audiohookd.runtime.foreign_code import FRAMES_LIMIT, PluginRaised

BEYOND_EXCEPTION = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)

    __repr__ = __str__


def raising(fault: BaseException) -> Callable[..., Any]:
    def act(*_: object) -> None:
        raise fault

    return act


async def later(fault: BaseException) -> None:
    raise fault


@pytest.mark.parametrize("fault", BEYOND_EXCEPTION, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("how", ["raise", "coroutine", "deferred", "property"])
def test_nothing_that_is_raised_passes_and_what_comes_is_an_exception(how: str, fault: BaseException) -> None:
    class Plugin:
        act = property(raising(fault))

    acts: dict[str, Callable[[], Any]] = {
        "raise": raising(fault),
        "coroutine": lambda: later(fault),
        "deferred": lambda: fail(fault),
        "property": lambda: foreign_code.call_method(Plugin(), "act"),
    }
    outcomes: list[foreign_code.Outcome] = []
    foreign_code.outcome_of(acts[how]).addCallback(outcomes.append)
    (outcome,) = outcomes
    assert outcome.failure is not None
    assert outcome.failure.check(PluginRaised)
    assert outcome.failure.value is not None
    assert type(fault).__name__ in in_words(outcome.failure.value)


@pytest.mark.parametrize("result", [7, None])
def test_a_result_comes_as_it_is(result: object) -> None:
    outcomes: list[foreign_code.Outcome] = []
    for act in (lambda: result, lambda: succeed(result)):
        foreign_code.outcome_of(act).addCallback(outcomes.append)
    assert [outcome.result for outcome in outcomes] == [result, result]
    assert foreign_code.call(lambda: result) is result


def test_cancelling_reaches_what_the_plugin_returned_and_ends_even_when_that_raises() -> None:
    outcomes: list[foreign_code.Outcome] = []
    endless: list[Deferred[Any]] = [Deferred(), Deferred(raising(SystemExit(1)))]
    for waiting in endless:
        outcome = foreign_code.outcome_of(lambda waiting=waiting: waiting)
        outcome.addCallback(outcomes.append)
        outcome.cancel()
    assert [one.failure.type for one in outcomes if one.failure] == [CancelledError, PluginRaised]


def test_an_exception_stays_what_it_is() -> None:
    fault = ValueError("no port")
    failure = foreign_code.call(raising(fault))
    assert failure.value is fault
    assert foreign_code.loggable(failure) is failure


@pytest.mark.parametrize("fault", [Unspeakable(), ValueError("x" * 10_000_000), OSError(5, "x" * 10_000_000)])
def test_a_log_line_is_short_whatever_was_raised(fault: Exception) -> None:
    shown = foreign_code.loggable(foreign_code.call(raising(fault)))
    assert len(shown.getTraceback()) < TEXT_LIMIT + 2_000
    assert type(fault).__name__ in shown.getTraceback() or isinstance(fault, OSError)
    assert "act" in shown.getTraceback()
    assert len(in_words(fault)) + len(text_of(fault)) < 3 * TEXT_LIMIT


@pytest.mark.parametrize("text", ["a\x1b[2J\x00", "a\u202eb", "a\udce9"])
def test_a_log_line_is_printable_whatever_was_raised(text: str) -> None:
    fault = ValueError(text)
    shown = foreign_code.loggable(foreign_code.call(raising(fault)))
    assert shown.getTraceback().splitlines()[-1].endswith(f"ValueError: {printable(text)}")
    assert text_of(fault) == printable(text)
    assert in_words(OSError(2, text, text)) == f"{printable(text)} ({printable(text)})"


def test_the_lines_of_what_was_raised_are_joined() -> None:
    shown = foreign_code.loggable(foreign_code.call(raising(ValueError("a\r\n  [forged] b"))))
    assert shown.getTraceback().splitlines()[-1].endswith("ValueError: a [forged] b")


def test_of_an_endless_recursion_the_innermost_frames_are_logged() -> None:
    def recurse() -> None:
        recurse()

    shown = foreign_code.loggable(foreign_code.call(recurse))
    assert len(shown.frames) == FRAMES_LIMIT
    assert shown.frames[-1][0] == "recurse"


def test_a_failure_that_a_plugin_returns_is_one() -> None:
    outcomes: list[foreign_code.Outcome] = []
    failure = Failure(RuntimeError("returned"))
    foreign_code.outcome_of(lambda: failure).addCallback(outcomes.append)
    assert outcomes[0].failure is failure


def generator() -> Any:
    yield


async def async_generator() -> Any:
    yield


def asyncio_future() -> Any:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    return future


class Awaitable:
    def __await__(self) -> Any:
        yield


FOREIGN: dict[str, Callable[[], Any]] = {
    "asyncio.Future": asyncio_future,
    "concurrent.futures.Future": concurrent.futures.Future,
    "awaitable": Awaitable,
    "generator": generator,
    "async generator": async_generator,
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_an_unsupported_awaitable_is_a_failure_that_says_what_to_return(make: Callable[[], Any]) -> None:
    outcomes: list[Any] = []
    foreign_code.outcome_of(make).addCallback(outcomes.append)
    (outcome,) = outcomes
    assert outcome.failure.check(TypeError)
    assert "Deferred" in text_of(outcome.failure.value) or "async def" in text_of(outcome.failure.value)


@pytest.mark.parametrize("value", [42, True, "text", [], {"a": 1}, print], ids=repr)
def test_any_other_result_is_a_result(value: Any) -> None:
    assert foreign_code.deferred_of(value) is None
