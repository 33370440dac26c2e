"""Runs ``audiohookctl call`` in the reactor: the only place here that wires things together."""

import random
import signal
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Raw
from twisted.internet.task import LoopingCall
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from audiohookd.cli.call.campaign import Campaign
from audiohookd.cli.call.connection import Connection, endpoint
from audiohookd.cli.call.conversation import Conversation, call_length
from audiohookd.cli.call.options import Options
from audiohookd.cli.call.report import Report
from audiohookd.cli.call.source import Source, recording, tone
from audiohookd.cli.call.websocket import Upgrade
from audiohookd.observe.log_encoding import EscapingObserver
from audiohookd.protocol.client import ClientSession
from audiohookd.protocol.client_checks import offers
from audiohookd.protocol.messages import NULL_UUID, Open, Participant
from audiohookd.runtime.clock import keep_time

_INTERIM = 30.0  # seconds between two reports of the round trips
_BAR_AFTER = 3.0  # seconds: short calls need no progress bar
#: Seconds in which a second signal is the first one again: timeout(1) sends it to the process, and to its group.
SAME_SIGNAL = 0.2
_PROGRESS = 0.5  # seconds between two steps of the bar


def execute(options: Options) -> int:
    """Makes the calls and reports; returns the exit code.

    :raises Mistake: the audio cannot be read.
    :raises ImportError: the URL takes TLS, and OpenSSL is not installed.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    keep_time(reactor)
    source = None if options.probe else recording(options.wav) if options.wav else tone()
    report = _report(options, source)
    caller = Caller(options, source, report, reactor, time.time)
    chance = random.Random()  # noqa: S311 - arrivals, not secrets
    campaign = Campaign(reactor, caller.dial, options.sessions, options.rate, chance)
    _run(reactor, campaign, report)
    report.summary()
    return 1 if report.failures else 0


def _report(options: Options, source: Source | None) -> Report:
    length = call_length(source, options.max_duration)
    return Report(
        results=None if options.quiet else sys.stdout,
        messages=sys.stderr,
        total=None if length is None else length * options.sessions,
        bar_after=_BAR_AFTER if sys.stderr.isatty() else None,
    )


def _run(reactor: Any, campaign: Campaign, report: Report) -> None:
    """Until all calls are over."""
    signalled_at = -SAME_SIGNAL

    def interrupt(*_: object) -> None:
        nonlocal signalled_at
        before, signalled_at = signalled_at, time.monotonic()
        if signalled_at - before >= SAME_SIGNAL:
            reactor.callFromThread(campaign.interrupt)  # wakes the reactor, too

    def begin() -> None:
        # Now, because the reactor has just put its own in place.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
                signal.signal(number, interrupt)
        keep_informed(reactor, report)
        campaign.begin()

    _log_to_stderr()
    campaign.done.addCallback(lambda _: reactor.stop())
    reactor.callWhenRunning(begin)
    reactor.run()


def keep_informed(clock: Any, report: Report) -> None:
    """Moves the bar, and says now and then what is known so far."""
    for tell, seconds in ((report.progress, _PROGRESS), (report.interim, _INTERIM)):
        regularly = LoopingCall(tell)
        regularly.clock = clock
        regularly.start(seconds, now=False)


def _log_to_stderr() -> None:
    """Only what must not happen: what does happen is in the report."""
    only_critical = LogLevelFilterPredicate(defaultLogLevel=LogLevel.critical)
    observer = FilteringLogObserver(EscapingObserver(textFileLogObserver(sys.stderr)), [only_critical])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)


class Caller:
    """Begins calls.

    :param wall_clock: UNIX seconds, for the signatures.
    """

    def __init__(
        self,
        options: Options,
        source: Source | None,
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
        self._upgrade = Upgrade(options.target, options.api_key, options.secret)
        self._organization_id = options.organization or str(uuid.uuid4())

    def dial(self, over: Callable[[], None]) -> Connection:
        """See :data:`~audiohookd.cli.call.campaign.Dial`."""
        call = self._report.call()
        session = ClientSession(str(uuid.uuid4()), self._opening(), self._reactor.seconds)
        options = self._options
        conversation = Conversation(
            session, self._source, options.speed, options.max_duration, self._reactor, call
        )
        request = self._upgrade.request(
            self._organization_id, session.id, str(uuid.uuid4()), int(self._wall_clock())
        )

        def done(why: str | None, closing: str | None) -> None:
            call.over(why, closing)
            over()

        return Connection(self._reactor, self._endpoint, request, conversation, done, self._explain_tls)

    def _opening(self) -> Open:
        options = self._options
        probe = options.probe
        called = {"ani": "+12065550100", "ani_name": "Test caller", "dnis": "+12065550199"}
        return Open(
            organization_id=self._organization_id,
            conversation_id=NULL_UUID if probe else str(uuid.uuid4()),
            participant=Participant(NULL_UUID) if probe else Participant(str(uuid.uuid4()), **called),
            media=offers(self._source.channels if self._source else 2),
            language=options.language,
            supported_languages=options.supported_languages or None,
            custom_config=UNSET if options.custom_config is None else Raw(options.custom_config),
        )
