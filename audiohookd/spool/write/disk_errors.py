"""What is wrong with the disk just now, as commits tell it.

Each episode is one line in the log when it begins and one when it ends, however many calls it has to do with.
"""

import errno
from collections.abc import Callable, Sequence

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.spool.write.draft_files import CALLER_ERRORS, WriteResult
from audiohookd.spool.write.wav_writer import name_of


class _Episode(Struct):
    """An episode in which the disk refuses what it is given."""

    reason: str | None
    since: float
    lost: int = 0  # samples (per channel)


class DiskErrorTracker:
    """For the reactor thread.

    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, count: Callable[..., object]) -> None:
        #: That a commit takes too long, while it does: to be raised to those who give more.
        self.stall: OSError | None = None
        self._reactor = reactor
        self._count = count
        self._episode: _Episode | None = None
        self._affected: set[object] = set()

    @property
    def text(self) -> str | None:
        """What is wrong; None when nothing is."""
        if self.stall is not None:
            return f"the disk stalls: {self.stall.strerror}"
        return None if self._episode is None else f"the disk refuses recordings: {self._episode.reason}"

    @property
    def has_error(self) -> bool:
        """The disk has refused something, and not come round yet."""
        return self._episode is not None

    def begin_stall(self, seconds: float, calls: int) -> OSError:
        """A commit of ``calls`` drafts is under way for so many ``seconds``."""
        self.stall = OSError(errno.ETIMEDOUT, f"nothing was written for {seconds:g} s")
        self._count("disk_errors", "stalled")
        self._log.error("the disk stalls: {calls} calls wait since {seconds:g} s", calls=calls, seconds=seconds)
        return self.stall

    def end_stall(self, seconds: float) -> None:
        """It has come to its end after so many ``seconds``, be it good or bad."""
        if self.stall is not None:
            self.stall = None
            self._log.info("the disk goes on, after a stall of {seconds:.1f} s", seconds=seconds)

    def record(self, drafts: Sequence[object], outcomes: Sequence[WriteResult], quiet: int = 0) -> None:
        """What became of the ``drafts`` in a commit.

        :param quiet: how many of them were refused too often to tell of the disk; their outcomes are left out.
        """
        refused = [outcome for outcome in outcomes if _has_failed(outcome)]
        if refused:
            self._write_errors(refused)
        if self._episode is not None:
            for draft, outcome in zip(drafts, outcomes, strict=True):
                if _has_failed(outcome) and outcome.is_pending:
                    self._affected.add(draft)
                else:  # well again, or at its end
                    self._affected.discard(draft)
            if not self._affected:
                self._end(self._episode, quiet)

    def _write_errors(self, outcomes: Sequence[WriteResult]) -> None:
        faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
        if self._episode is None:
            self._episode = self._begin(faults[0], len(faults))
        lost = sum(outcome.lost for outcome in outcomes)
        self._episode.lost += lost
        self._count("disk_lost_samples", amount=lost)
        for fault in faults:
            self._count("disk_errors", name_of(fault))

    def _begin(self, fault: OSError, calls: int) -> _Episode:
        self._log.error(
            "the disk refuses recordings: {reason} {path}; {calls} calls lose audio until it takes them again",
            reason=fault.strerror,
            path=fault.filename or "",
            calls=calls,
        )
        return _Episode(fault.strerror, self._reactor.seconds())

    def _end(self, refusal: _Episode, quiet: int) -> None:
        self._episode = None
        seconds = self._reactor.seconds() - refusal.since
        if quiet:
            self._log.warn(
                "no call suffers from the disk any more, after {seconds:.1f} s that cost {lost} samples; the ends of "
                "{quiet} recordings are still refused, and tried on",
                quiet=quiet,
                seconds=seconds,
                lost=refusal.lost,
            )
        else:
            self._log.info(
                "the disk refuses no recordings any more, after {seconds:.1f} s that cost {lost} samples",
                seconds=seconds,
                lost=refusal.lost,
            )


def _has_failed(outcome: WriteResult) -> bool:
    return outcome.fault is not None and not isinstance(outcome.fault, CALLER_ERRORS)
