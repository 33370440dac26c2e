"""Carries ready recordings to S3, or to a store that speaks it.

Audio first and sidecar last, so a sidecar in the bucket means that the audio is there. Nothing is ever overwritten,
and a recording counts as stored when the store has confirmed size and checksum of both.
"""

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

from botocore.loaders import Loader, create_loader
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer, provider

from audiohookd.interfaces import (
    ICarrier,
    IDaemon,
    IPlugin,
    IPluginFactory,
    IRecording,
    ISession,
    IWorkers,
    Unavailable,
)
from audiohookd_plugins.s3.breaker import Breaker
from audiohookd_plugins.s3.bucket import AudioGone, Bucket
from audiohookd_plugins.s3.config import S3Config, check
from audiohookd_plugins.s3.naming import Naming

__all__ = ["S3Config", "S3Plugin"]

#: Characters: the log shows 300 of what a plugin says of a failure.
SHOWN = 149


class Interrupted(Exception):
    """The daemon stops in the middle of an upload, which begins again at its next start."""


@provider(IPluginFactory)
@implementer(IPlugin, ICarrier)
class S3Plugin(Service):
    """See the module.

    As a service it probes the stores at start, and interrupts uploads at the daemon's shutdown.

    :param loader: for several plugins to share; see :class:`audiohookd_plugins.s3.connection.Connection`.
    """

    config_type = S3Config
    log = Logger()

    def __init__(self, config: S3Config, daemon: IDaemon, loader: Loader | None = None) -> None:
        check(config)
        self._reactor: IReactorTime = daemon.reactor
        self._now: Callable[[], float] = self._reactor.seconds
        common = (config, Naming(config), self._go_on, self._now, loader or create_loader())
        self.concurrency = config.concurrency
        self._is_stopping = Event()
        self._bucket = Bucket(config, *common)
        self._fallback = Bucket(config.fallback, *common) if config.fallback else None
        self._buckets = [bucket for bucket in (self._bucket, self._fallback) if bucket is not None]
        self._probing: list[Deferred[Any]] = []
        self._fallback_after = config.fallback_after
        self._breaker = Breaker()
        self._down_because = ""
        self._uses_fallback = False
        self._has_neither = False
        self._workers = _pool(config, daemon)

    def observe(self, session: ISession) -> None:
        """See :class:`IPlugin`. Recordings are carried, not sessions watched."""

    def startService(self) -> None:
        """Probes the stores once the reactor runs, in threads: a warning is in the log before the first call."""
        super().startService()
        self._reactor.callLater(0, self._probe)

    def stopService(self) -> None:
        """What is being sent ends at the next block of its file; a probe, after the request that waits."""
        super().stopService()
        self._is_stopping.set()
        for probing in list(self._probing):
            probing.cancel()  # the pool's shutdown must not wait for a store that does not answer
        for bucket in self._buckets:
            bucket.close()

    def _go_on(self) -> None:
        if self._is_stopping.is_set():
            raise Interrupted("the daemon stops")

    # ---- the probe at start ----------------------------------------------------------------------

    def _probe(self) -> None:
        if not self.running:
            return
        for bucket in self._buckets:
            probing = self._workers.do(bucket.probe)
            self._probing.append(probing)
            probing.addBoth(self._log_warnings, bucket).addErrback(self._log_probe_failure, bucket)

    def _log_probe_failure(self, failure: Failure, bucket: Bucket) -> None:
        if failure.check(Interrupted, CancelledError) is None:
            text = "bucket {bucket}: no probe was sent: {reason}; another probe goes with the first upload"
            self.log.warn(text, bucket=bucket.name, reason=failure.getErrorMessage())

    # ---- which bucket ----------------------------------------------------------------------------

    async def carry(self, recording: IRecording) -> dict[str, Any]:
        """See :class:`ICarrier`."""
        if self._fallback is None:
            return await self._to(self._bucket, recording)
        try:
            return await self._to_first(recording)
        except (Unavailable, AudioGone) as fault:
            patience = self._fallback_after - self._breaker.down_for(self._now())
            if isinstance(fault, Unavailable) and patience > 0:
                raise _at_most(patience, fault) from fault
            return await self._to_fallback(self._fallback, recording, fault)

    async def _to_first(self, recording: IRecording) -> dict[str, Any]:
        down_for = self._breaker.down_for(self._now())
        if down_for >= self._fallback_after and not self._breaker.admits(self._now()):
            raise Unavailable(self._down_because)
        try:
            receipt = await self._to(self._bucket, recording)
        except Unavailable as fault:
            self._breaker.failed(self._now(), fault.retry_after)
            self._down_because = str(fault)
            raise
        except BaseException:
            self._breaker.given_up()
            raise
        self._breaker.worked()
        self._says_fallback(False, "")
        return receipt

    async def _to_fallback(
        self, fallback: Bucket, recording: IRecording, first: Unavailable | AudioGone
    ) -> dict[str, Any]:
        try:
            receipt = await self._to(fallback, recording)
        except Unavailable as second:
            self._says_neither(second)
            raise _neither(first, second) from second
        except AudioGone:
            raise first from None  # when the first one is back, it may have the audio
        self._says_fallback(isinstance(first, Unavailable), str(first))
        return receipt

    def _to(self, bucket: Bucket, recording: IRecording) -> "Deferred[dict[str, Any]]":
        done: Deferred[dict[str, Any]] = self._workers.do(partial(bucket.carry, recording))
        return done.addBoth(self._log_warnings, bucket)

    def _log_warnings(self, outcome: Any, bucket: Bucket) -> Any:
        for warning in bucket.take_warnings():
            self.log.warn("{warning}", warning=warning)
        return outcome

    def _says_neither(self, second: Unavailable) -> None:
        if not self._has_neither:
            self.log.warn("nor can the fallback be had: {reason}", reason=str(second))
        self._has_neither = True

    def _says_fallback(self, is_used: bool, reason: str) -> None:
        if is_used and not self._uses_fallback:
            self.log.warn("recordings go to the fallback: {reason}", reason=reason)
        elif self._uses_fallback and not is_used:
            self.log.info("recordings go to bucket {bucket} again", bucket=self._bucket.name)
        self._uses_fallback = is_used
        self._has_neither = False


def _pool(config: S3Config, daemon: IDaemon) -> IWorkers:
    probes = 1 if config.fallback is None else 2  # with threads of their own: no upload waits for one
    store = "" if config.endpoint_url is None else f" at {config.endpoint_url}"
    try:
        daemon.claim(f"s3 bucket {config.bucket}{store}")
    except ValueError as fault:
        raise ValueError(f"bucket: another table carries to {config.bucket}{store} already: {fault}") from fault
    return daemon.workers("upload", config.concurrency + probes, config.concurrency)


def _at_most(patience: float, fault: Unavailable) -> Unavailable:
    """What one bucket asks for must not keep recordings from the other."""
    wait = None if fault.retry_after is None else min(fault.retry_after, patience)
    return Unavailable(str(fault), wait)


def _neither(first: Unavailable | AudioGone, second: Unavailable) -> Unavailable:
    """To be tried again as soon as one of them may be back; that is anybody's guess if it did not say when."""
    waits = [fault.retry_after for fault in (first, second) if isinstance(fault, Unavailable)]
    known = [wait for wait in waits if wait is not None]
    return Unavailable(f"{_shown(first)}; {_shown(second)}", min(known) if known == waits else None)


def _shown(fault: Exception) -> str:
    """One of two reasons in one line of the log."""
    text = str(fault)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
