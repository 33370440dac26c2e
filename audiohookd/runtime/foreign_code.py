"""The border to the code of plugins: calls it, and lets nothing through that it raises.

``except Exception`` is not enough. ``sys.exit()`` in a library, the CancelledError of asyncio, KeyboardInterrupt and
GeneratorExit are no Exceptions: one of them, raised in ``closed``, left the recording of the call a draft and held up
the stop for 44 s. While the reactor runs, none of them comes from the operator: Twisted handles SIGINT and SIGTERM
itself, outside of any plugin.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from audiohookd.runtime.error_text import OperatorError, in_words, text_of

#: Innermost frames of a traceback that are logged: that of an endless recursion has a thousand.
FRAMES_LIMIT = 30
_YIELD = "twisted.internet.defer.inlineCallbacks"
_REMEDIES = "for asyncio Deferred.fromFuture with the asyncio reactor, for a thread daemon.workers"


class PluginRaised(OperatorError):
    """Stands for what a plugin raised where that is no Exception, or cannot be logged as it is."""


class Outcome(Struct, frozen=True):
    """What a call came to: ``failure`` or else ``result``."""

    result: Any = None
    failure: Failure | None = None


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of a plugin. Never raises.

    :returns: its result, or a Failure with an Exception as value.
    """
    try:
        return function(*arguments)
    except BaseException:
        return raised()


def call_method(target: Any, method: str, *arguments: Any) -> Any:
    """As :func:`call`: a property may raise, too."""
    try:
        return getattr(target, method)(*arguments)
    except BaseException:
        return raised()


def raised() -> Failure:
    """The exception that is being handled, for callers that cannot afford a call more."""
    return contained(Failure())


def contained(failure: Failure) -> Failure:
    """``failure`` if its value is an Exception. Else another one with :class:`PluginRaised`."""
    return failure if isinstance(failure.value, Exception) else _stand_in(failure)


def loggable(failure: Failure) -> Failure:
    """``failure``, or one that stands for it where its text is not loggable, or its traceback is too long."""
    is_short = len(failure.frames) <= FRAMES_LIMIT
    return failure if is_short and _has_loggable_text(failure) else _stand_in(failure)


def deferred_of(result: Any) -> "Deferred[Any] | None":
    """What to wait for, if there is anything to wait for.

    :raises TypeError: it has to be waited for and is neither a Deferred nor a coroutine, or is a generator, which
        would never run: no log would show it otherwise.
    """
    if isinstance(result, Deferred):
        return result
    if isinstance(result, Coroutine):
        return Deferred.fromCoroutine(result)
    if isinstance(result, Generator | AsyncGenerator):
        raise TypeError(f"returned {_kind(result)}, which never runs: use async def without yield, or {_YIELD}")
    if isinstance(result, Awaitable | Future):
        raise TypeError(f"returned {_kind(result)}: return a Deferred or be a coroutine ({_REMEDIES})")
    return None


def _kind(result: object) -> str:
    return f"{type(result).__module__}.{type(result).__qualname__}"


def outcome_of(function: Callable[..., Any], *arguments: Any) -> "Deferred[Outcome]":
    """Calls what may return a Deferred or be a coroutine. The result never fails.

    To cancel it cancels what the plugin returned.
    """
    result = call(function, *arguments)
    waiting = call(deferred_of, result)
    if not isinstance(waiting, Deferred):
        failure = waiting or result
        return succeed(Outcome(failure=failure) if isinstance(failure, Failure) else Outcome(result))

    def settle(value: Any) -> None:
        if not outcome.called:
            is_failure = isinstance(value, Failure)
            outcome.callback(Outcome(failure=contained(value)) if is_failure else Outcome(value))

    def give_up(_: object) -> None:
        failure = cancel(waiting)
        if failure is not None:
            settle(failure)

    outcome: Deferred[Outcome] = Deferred(give_up)
    waiting.addBoth(settle)
    return outcome


def cancel(waiting: "Deferred[Any]") -> Failure | None:
    """Cancels a plugin's Deferred. A Failure when its canceller raised."""
    failure = call(waiting.cancel)
    return failure if isinstance(failure, Failure) else None


def _has_loggable_text(failure: Failure) -> bool:
    """Twisted, too, has to find it when it formats the traceback."""
    try:
        return str(failure.value) == text_of(failure.value)
    except BaseException:
        return False


def _stand_in(failure: Failure) -> Failure:
    fault = failure.value
    stand_in = Failure(PluginRaised(in_words(fault) if fault is not None else "nothing"))
    stand_in.frames = failure.frames[-FRAMES_LIMIT:]
    return stand_in
