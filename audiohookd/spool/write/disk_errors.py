"""Tracks disk errors and stalls, as commits report them.

Each episode is one log line when it begins and one when it ends, however many calls it affects.
"""

import errno
from collections.abc import Callable, Sequence

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.spool.write.draft_files import CALLER_ERRORS, WriteResult
from audiohookd.spool.write.wav_writer import name_of


class _Episode(Struct):
    """A period in which writes fail."""

    reason: str | None
    since: float
    lost: int = 0  # samples (per channel)


class DiskErrorTracker:
    """Logs and counts episodes of disk errors, and keeps the current one. For the reactor thread.

    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, count: Callable[..., object]) -> None:
        #: The error to raise to callers that add audio while a commit takes too long, or None.
        self.stall: OSError | None = None
        self._reactor = reactor
        self._count = count
        self._episode: _Episode | None = None
        self._affected: set[object] = set()

    @property
    def text(self) -> str | None:
        """The current error, or None."""
        if self.stall is not None:
            return f"disk write timed out: {self.stall.strerror}"
        return None if self._episode is None else f"cannot write recordings: {self._episode.reason}"

    @property
    def has_error(self) -> bool:
        """Whether an episode of failed writes is in progress."""
        return self._episode is not None

    def begin_stall(self, seconds: float, calls: int) -> OSError:
        """Reports that a commit of ``calls`` drafts has not returned for ``seconds``.

        :returns: the error to raise to callers that add audio.
        """
        self.stall = OSError(errno.ETIMEDOUT, f"nothing was written for {seconds:g} s")
        self._count("disk_errors", "stalled")
        self._log.error(
            "disk write timed out: nothing was written for {seconds:g} s, {calls} calls wait; check the disk",
            calls=calls,
            seconds=seconds,
        )
        return self.stall

    def end_stall(self, seconds: float) -> None:
        """Reports that a commit returned after ``seconds``, with or without an error."""
        if self.stall is not None:
            self.stall = None
            self._log.info("disk recovered: a write returned after {seconds:.1f} s", seconds=seconds)

    def record(self, drafts: Sequence[object], outcomes: Sequence[WriteResult], quiet: int = 0) -> None:
        """Records the results of the ``drafts`` of a commit.

        :param quiet: the number of drafts that failed too often to say anything about the disk. Their outcomes are
            replaced by empty ones.
        """
        failed = [outcome for outcome in outcomes if _has_failed(outcome)]
        if failed:
            self._record_failed(failed)
        if self._episode is not None:
            for draft, outcome in zip(drafts, outcomes, strict=True):
                if _has_failed(outcome) and outcome.is_pending:
                    self._affected.add(draft)
                else:  # written, or abandoned
                    self._affected.discard(draft)
            if not self._affected:
                self._end(self._episode, quiet)

    def _record_failed(self, outcomes: Sequence[WriteResult]) -> None:
        errors = [outcome.fault for outcome in outcomes if outcome.fault is not None]
        if self._episode is None:
            self._episode = self._begin(errors[0], len(errors))
        lost = sum(outcome.lost for outcome in outcomes)
        self._episode.lost += lost
        self._count("disk_lost_samples", amount=lost)
        for error in errors:
            self._count("disk_errors", name_of(error))

    def _begin(self, error: OSError, calls: int) -> _Episode:
        self._log.error(
            "cannot write recordings: {reason} {path}; {calls} calls lose audio until the disk recovers",
            reason=error.strerror,
            path=error.filename or "",
            calls=calls,
        )
        return _Episode(error.strerror, self._reactor.seconds())

    def _end(self, episode: _Episode, quiet: int) -> None:
        self._episode = None
        seconds = self._reactor.seconds() - episode.since
        if quiet:
            self._log.warn(
                "disk recovered after {seconds:.1f} s, {lost} samples lost; the ends of {quiet} recordings still "
                "cannot be written, retrying",
                quiet=quiet,
                seconds=seconds,
                lost=episode.lost,
            )
        else:
            self._log.info(
                "disk recovered, recordings are written again after {seconds:.1f} s; {lost} samples lost",
                seconds=seconds,
                lost=episode.lost,
            )


def _has_failed(outcome: WriteResult) -> bool:
    return outcome.fault is not None and not isinstance(outcome.fault, CALLER_ERRORS)
