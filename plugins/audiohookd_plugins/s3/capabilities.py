"""Capabilities of one store, as learned from its responses."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from audiohookd_plugins.s3.checksum import NONE, Algorithm

_READ = "each object is read back before its local file is deleted, which costs a GET and the traffic"


class ChecksumSupport(NamedTuple):
    """Whether a store verifies checksums, as found by :mod:`audiohookd_plugins.s3.probe`.

    :param verifies: also False while it is unknown.
    :param warning: for the operator, if the store does not verify checksums or it is unknown.
    :param retry_after: seconds until the next probe is due; None if another probe would find the same.
    :param computes_etags: whether the ETag of an upload is the MD5 of the bytes that arrived.
    """

    verifies: bool
    warning: str | None = None
    retry_after: float | None = None
    computes_etags: bool = False


UNKNOWN = ChecksumSupport(verifies=False, retry_after=0.0)


class Capabilities:
    """Learns and caches what one store supports, until the daemon restarts. For worker threads, any number at a time.

    :param bucket: its name, for warnings.
    :param algorithm: the configured checksum.
    :param now: monotonic, in seconds.
    """

    def __init__(self, bucket: str, algorithm: Algorithm, now: Callable[[], float]) -> None:
        #: The checksum to send; :data:`NONE` once the store has rejected the configured one.
        self.algorithm = algorithm
        self._bucket = bucket
        self._now = now
        self._lock = Lock()
        self._verdict = UNKNOWN
        self._is_probing = False
        self._next_probe = now()
        self._warnings: deque[str] = deque()
        self._warned: set[str] = set()

    def verdict(self, probe: Callable[[], ChecksumSupport]) -> ChecksumSupport:
        """The current verdict. Calls ``probe`` first if one is due and may change it.

        Does not wait while another thread probes: an upload that waited for a store's timeout would delay the
        shutdown and all other uploads.
        """
        if not self._begins_probe():
            return self._verdict
        verdict = UNKNOWN
        try:
            verdict = probe()
        finally:
            self._end_probe(verdict)
        return verdict

    def _begins_probe(self) -> bool:
        with self._lock:
            is_due = self._verdict.retry_after is not None and self._now() >= self._next_probe
            begins = is_due and not self._is_probing
            self._is_probing = self._is_probing or begins
            return begins

    def _end_probe(self, verdict: ChecksumSupport) -> None:
        with self._lock:
            self._verdict = verdict
            self._next_probe = self._now() + (verdict.retry_after or 0.0)
            self._is_probing = False
        if verdict.warning is not None:
            self._warn(f"verifies, {verdict.retry_after}", f"{verdict.warning}; {_consequence(verdict.retry_after)}")

    def rejected_checksums(self, reason: str) -> None:
        """Records that the store rejects ``x-amz-checksum-`` headers: from now on none are sent."""
        self.algorithm = NONE
        self._warn(
            "rejects",
            f"the store rejects x-amz-checksum headers ({reason}); none are sent any more, Content-MD5 protects the"
            ' upload: set checksum = "none"',
        )

    def lacks(self, missing: str) -> None:
        """Records that the HEAD of an object that has just been sent lacks ``missing``."""
        self._warn(
            missing,
            f"the answer to a HEAD has no {missing}; {_READ}. If the store cannot be changed, set"
            ' confirm = "read", which is the same without this line, or confirm = "size" (see docs/s3.rst)',
        )

    def take_warnings(self) -> list[str]:
        """New warnings to log, each kind once."""
        return [self._warnings.popleft() for _ in range(len(self._warnings))]

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warnings.append(f"bucket {self._bucket}: {text}")


def _consequence(retry_after: float | None) -> str:
    """What follows for a store that does not verify, or may not."""
    if retry_after is None:
        return _READ
    if not retry_after:
        return "the first upload sends another probe"
    return f"an upload after {retry_after:g} s sends another probe, until then {_READ}"
