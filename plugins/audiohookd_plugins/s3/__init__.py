"""Uploads ready recordings to S3, or to a store with an S3 API.

The audio is uploaded first and the sidecar last, so a sidecar in the bucket means that the audio is there. Objects
are never overwritten. A recording counts as stored when the store has confirmed size and checksum of both objects.
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
from audiohookd_plugins.s3.bucket import AudioGone, Bucket
from audiohookd_plugins.s3.config import S3Config, check
from audiohookd_plugins.s3.naming import Naming

__all__ = ["S3Config", "S3Plugin"]

#: Characters of each of two reasons; the log shows 300 characters of a plugin's error.
SHOWN = 149
#: Seconds between two uploads that test whether the primary bucket is available again, while the fallback is in use.
PRIMARY_RETRY = 60.0
#: Seconds. A longer Retry-After of the primary bucket is shortened to this.
RETRY_AFTER_LIMIT = 3600.0


class Interrupted(Exception):
    """The daemon shuts down during an upload, which is repeated after the next start."""


@provider(IPluginFactory)
@implementer(IPlugin, ICarrier)
class S3Plugin(Service):
    """See the module.

    As a service it probes the stores at start, and interrupts uploads at shutdown.

    :param loader: shared by several plugins; see :class:`audiohookd_plugins.s3.connection.Connection`.
    """

    config_type = S3Config
    log = Logger()

    def __init__(self, config: S3Config, daemon: IDaemon, loader: Loader | None = None) -> None:
        check(config)
        self._reactor: IReactorTime = daemon.reactor
        self._now: Callable[[], float] = self._reactor.seconds
        common = (config, Naming(config), self._check_running, self._now, loader or create_loader())
        self.concurrency = config.concurrency
        self._is_stopping = Event()
        self._bucket = Bucket(config, *common)
        self._fallback = Bucket(config.fallback, *common) if config.fallback else None
        self._buckets = [bucket for bucket in (self._bucket, self._fallback) if bucket is not None]
        self._probing: list[Deferred[Any]] = []
        self._fallback_after = config.fallback_after
        self._down_since: float | None = None  # the primary bucket; None while it is available
        self._retry_primary_at = 0.0
        self._down_because = ""
        self._uses_fallback = False
        self._are_both_unavailable = False
        self._workers = _pool(config, daemon)

    def observe(self, session: ISession) -> None:
        """Observes no session."""

    def startService(self) -> None:
        """Probes the stores in worker threads once the reactor runs, so that warnings are logged before the first
        call.
        """
        super().startService()
        self._reactor.callLater(0, self._probe)

    def stopService(self) -> None:
        """Interrupts uploads at the next block of their file, and probes after the current request."""
        super().stopService()
        self._is_stopping.set()
        for probing in list(self._probing):
            probing.cancel()  # the pool's shutdown must not wait for a store that does not answer
        for bucket in self._buckets:
            bucket.close()

    def _check_running(self) -> None:
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
            text = "bucket {bucket}: no probe was sent: {reason}; the first upload sends another probe"
            self.log.warn(text, bucket=bucket.name, reason=failure.getErrorMessage())

    # ---- primary and fallback --------------------------------------------------------------------

    async def carry(self, recording: IRecording) -> dict[str, Any]:
        """See :class:`ICarrier`."""
        if self._fallback is None:
            return await self._upload_to(self._bucket, recording)
        try:
            return await self._upload_to_primary(recording)
        except (Unavailable, AudioGone) as error:
            remaining = self._fallback_after - self._down_for()
            if isinstance(error, Unavailable) and remaining > 0:
                raise _at_most(remaining, error) from error
            return await self._upload_to_fallback(self._fallback, recording, error)

    def _down_for(self) -> float:
        """Seconds since the primary bucket became unavailable; 0 while it is available."""
        return 0.0 if self._down_since is None else self._now() - self._down_since

    async def _upload_to_primary(self, recording: IRecording) -> dict[str, Any]:
        if self._down_since is not None and self._down_for() >= self._fallback_after:
            if self._now() < self._retry_primary_at:
                raise Unavailable(self._down_because)
            self._retry_primary_at = self._now() + PRIMARY_RETRY  # other uploads use the fallback until then
        try:
            receipt = await self._upload_to(self._bucket, recording)
        except Unavailable as error:
            if self._down_since is None:
                self._down_since = self._now()
            pause = max(PRIMARY_RETRY, min(error.retry_after or 0.0, RETRY_AFTER_LIMIT))
            self._retry_primary_at = max(self._retry_primary_at, self._now() + pause)
            self._down_because = str(error)
            raise
        self._down_since = None
        self._log_fallback_use(False, "")
        return receipt

    async def _upload_to_fallback(
        self, fallback: Bucket, recording: IRecording, first: Unavailable | AudioGone
    ) -> dict[str, Any]:
        try:
            receipt = await self._upload_to(fallback, recording)
        except Unavailable as second:
            self._log_both_unavailable(second)
            raise _neither(first, second) from second
        except AudioGone:
            raise first from None  # the primary bucket may have the audio once it is available again
        self._log_fallback_use(isinstance(first, Unavailable), str(first))
        return receipt

    def _upload_to(self, bucket: Bucket, recording: IRecording) -> "Deferred[dict[str, Any]]":
        done: Deferred[dict[str, Any]] = self._workers.do(partial(bucket.carry, recording))
        return done.addBoth(self._log_warnings, bucket)

    def _log_warnings(self, outcome: Any, bucket: Bucket) -> Any:
        for warning in bucket.take_warnings():
            self.log.warn("{warning}", warning=warning)
        return outcome

    def _log_both_unavailable(self, second: Unavailable) -> None:
        if not self._are_both_unavailable:
            self.log.warn("the fallback bucket is unavailable, too: {reason}", reason=str(second))
        self._are_both_unavailable = True

    def _log_fallback_use(self, is_used: bool, reason: str) -> None:
        if is_used and not self._uses_fallback:
            self.log.warn("uploading recordings to the fallback bucket: {reason}", reason=reason)
        elif self._uses_fallback and not is_used:
            self.log.info("uploading recordings to bucket {bucket} again", bucket=self._bucket.name)
        self._uses_fallback = is_used
        self._are_both_unavailable = False


def _pool(config: S3Config, daemon: IDaemon) -> IWorkers:
    probes = 1 if config.fallback is None else 2  # probes have their own threads, so that no upload waits for one
    store = "" if config.endpoint_url is None else f" at {config.endpoint_url}"
    try:
        daemon.claim(f"s3 bucket {config.bucket}{store}")
    except ValueError as error:
        raise ValueError(f"bucket: another table uploads to {config.bucket}{store} already: {error}") from error
    return daemon.workers("upload", config.concurrency + probes, config.concurrency)


def _at_most(remaining: float, error: Unavailable) -> Unavailable:
    """Shortens the wait that one bucket asks for, so that recordings can go to the other one in time."""
    wait = None if error.retry_after is None else min(error.retry_after, remaining)
    return Unavailable(str(error), wait)


def _neither(first: Unavailable | AudioGone, second: Unavailable) -> Unavailable:
    """The error when both buckets are unavailable: retry when the first of them may be back, if both said when."""
    waits = [error.retry_after for error in (first, second) if isinstance(error, Unavailable)]
    known = [wait for wait in waits if wait is not None]
    return Unavailable(f"{_shortened(first)}; {_shortened(second)}", min(known) if known == waits else None)


def _shortened(error: Exception) -> str:
    """One of two reasons for one log line."""
    text = str(error)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
