"""Runs ``audiohookctl call`` in the reactor: schedules the calls, builds their parts and connects them."""

import random
import signal
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Raw
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from audiohookd.cli.call.call import CallSession, call_length
from audiohookd.cli.call.connection import Connection, endpoint
from audiohookd.cli.call.options import Options
from audiohookd.cli.call.report import Report
from audiohookd.cli.call.source import Recording, recording, tone
from audiohookd.cli.call.speech import Speech
from audiohookd.cli.upgrade import Identity, request
from audiohookd.observe.log_encoding import EscapingObserver
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import NULL_UUID, Open, Participant
from audiohookd.runtime.process import use_monotonic_clock

_INTERIM = 30.0  # seconds between two interim reports of the round trips
_BAR_AFTER = 3.0  # seconds until the progress bar appears: short calls need none
#: Seconds in which a repeated signal counts as one: timeout(1) sends its signal to the process and to its group.
SAME_SIGNAL = 0.2
_PROGRESS = 0.5  # seconds between two updates of the bar


#: Starts a call. Its argument is called once when the call ends, which may be before the start returns.
Dial = Callable[[Callable[[], None]], Connection]


class CallScheduler:
    """Starts the first call at once, and the others at random times (a Poisson process), as independent callers do.

    :param rate: calls started per second, on average.
    :param clock: IReactorTime.
    """

    def __init__(self, clock: Any, dial: Dial, calls: int, rate: float, rng: random.Random) -> None:
        self._clock = clock
        self._dial = dial
        self._to_begin = calls
        self._rate = rate
        self._rng = rng
        self._calls: dict[int, Connection] = {}
        self._running: set[int] = set()
        self._next: Any = None
        self._is_interrupted = False
        #: Fires with None when all calls have ended.
        self.done: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Starts the next call, and schedules the one after it."""
        self._next = None
        self._to_begin -= 1
        if self._to_begin:
            self._next = self._clock.callLater(self._rng.expovariate(self._rate), self.begin)
        number = self._to_begin
        self._running.add(number)
        call = self._dial(lambda: self._ended(number))
        if number in self._running:
            self._calls[number] = call

    def interrupt(self) -> None:
        """Starts no more calls. Ends the calls in progress with ``close``; aborts them if called a second time."""
        self._to_begin = 0
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for call in list(self._calls.values()):
            if self._is_interrupted:
                call.abort()
            else:
                call.hang_up()
        self._is_interrupted = True
        self._finish()

    def _ended(self, number: int) -> None:
        self._running.discard(number)
        self._calls.pop(number, None)
        self._finish()

    def _finish(self) -> None:
        if not self._to_begin and not self._running and not self.done.called:
            self.done.callback(None)


def execute(options: Options) -> int:
    """Makes the calls, prints the report, and returns the exit code.

    :raises UsageError: the audio cannot be read.
    :raises ImportError: the URL needs TLS, and OpenSSL is not installed.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    use_monotonic_clock(reactor)
    source = None if options.probe else recording(options.wav) if options.wav else tone()
    report = _report(options, source)
    caller = Caller(options, source, report, reactor, time.time)
    rng = random.Random()  # noqa: S311 - arrivals, not secrets
    scheduler = CallScheduler(reactor, caller.dial, options.sessions, options.rate, rng)
    _run(reactor, scheduler, report)
    report.summary()
    if options.save is not None:
        report.save(options.save)
    return 1 if report.failures else 0


def _report(options: Options, source: Recording | None) -> Report:
    length = call_length(source, options.max_duration)
    return Report(
        results=None if options.quiet else sys.stdout,
        messages=sys.stderr,
        total=None if length is None else length * options.sessions,
        bar_after=_BAR_AFTER if sys.stderr.isatty() else None,
        speech=None if options.save is None else Speech(),
    )


def _run(reactor: Any, scheduler: CallScheduler, report: Report) -> None:
    """Runs the reactor until all calls have ended."""
    signalled_at = -SAME_SIGNAL

    def interrupt(*_: object) -> None:
        nonlocal signalled_at
        before, signalled_at = signalled_at, time.monotonic()
        if signalled_at - before >= SAME_SIGNAL:
            reactor.callFromThread(scheduler.interrupt)  # wakes the reactor, too

    def begin() -> None:
        # Only now, because the reactor has just installed its own handlers.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup makes the process ignore SIGHUP
                signal.signal(number, interrupt)
        keep_informed(reactor, report)
        scheduler.begin()

    _log_to_stderr()
    scheduler.done.addCallback(lambda _: reactor.stop())
    reactor.callWhenRunning(begin)
    reactor.run()


def keep_informed(clock: Any, report: Report) -> None:
    """Updates the progress bar and prints an interim report, both at regular intervals."""
    for update, seconds in ((report.progress, _PROGRESS), (report.interim, _INTERIM)):
        loop = LoopingCall(update)
        loop.clock = clock
        loop.start(seconds, now=False)


def _log_to_stderr() -> None:
    """Logs critical errors only, which are bugs. Failed calls are in the report."""
    only_critical = LogLevelFilterPredicate(defaultLogLevel=LogLevel.critical)
    observer = FilteringLogObserver(EscapingObserver(textFileLogObserver(sys.stderr)), [only_critical])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)


class Caller:
    """Starts calls with the options of the command.

    :param wall_clock: returns UNIX seconds, for the signatures.
    """

    def __init__(
        self,
        options: Options,
        source: Recording | None,
        report: Report,
        reactor: Any,
        wall_clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._source = source
        self._report = report
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._endpoint, self._explain_tls = endpoint(reactor, options.target, options.ca)
        self._organization_id = options.organization or str(uuid.uuid4())

    def dial(self, ended: Callable[[], None]) -> Connection:
        """See :data:`~audiohookd.cli.call.execution.Dial`."""
        call = self._report.call()
        options = self._options
        identity = Identity(organization=self._organization_id)
        session = ClientSession(
            identity.session, self._opening(), self._reactor.seconds, plays_audio=options.connector
        )
        conversation = CallSession(
            session, self._source, options.speed, options.max_duration, self._reactor, call, options.dtmf
        )
        asked = request(options.target, options.api_key, options.secret, identity, int(self._wall_clock()))

        def done(reason: str | None, closing: str | None) -> None:
            call.over(reason, closing)
            ended()

        return Connection(self._reactor, self._endpoint, asked, conversation, done, self._explain_tls)

    def _opening(self) -> Open:
        options = self._options
        probe = options.probe
        called = {"ani": "+12065550100", "ani_name": "Test caller", "dnis": "+12065550199"}
        return Open(
            organization_id=self._organization_id,
            conversation_id=NULL_UUID if probe else str(uuid.uuid4()),
            participant=Participant(NULL_UUID) if probe else Participant(str(uuid.uuid4()), **called),
            media=offers(1 if options.connector else self._source.channels if self._source else 2),
            language=options.language,
            supported_languages=options.supported_languages or None,
            custom_config=UNSET if options.custom_config is None else Raw(options.custom_config),
            input_variables=UNSET if options.input_variables is None else Raw(options.input_variables),
        )
