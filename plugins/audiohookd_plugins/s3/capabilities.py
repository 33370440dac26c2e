"""What the requests so far have shown of one store."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from audiohookd_plugins.s3.checksum import NONE, Algorithm

_READ = "each object is read back before its local file is deleted, which costs a GET and the traffic"


class Verdict(NamedTuple):
    """Whether a store verifies checksums, as found by :mod:`audiohookd_plugins.s3.probe`.

    :param warning: for the operator, when the store does not verify, or it is unknown.
    :param is_final: another probe would find the same.
    :param computes_etags: the ETag of what was sent is the MD5 of what arrived.
    """

    verifies: bool
    warning: str | None
    is_final: bool
    computes_etags: bool = False


class Capabilities:
    """For worker threads, any number at a time. What was found holds until the daemon restarts.

    :param bucket: its name, for warnings.
    :param algorithm: what the configuration wants to be sent.
    """

    def __init__(self, bucket: str, algorithm: Algorithm) -> None:
        #: The checksum that is sent. :data:`NONE` once the store has rejected the other.
        self.algorithm = algorithm
        #: Whether the ETag of an upload is the MD5 of what arrived. Known after a probe that the store accepted.
        self.computes_etags = False
        self._bucket = bucket
        self._verifies: bool | None = None
        self._lock = Lock()
        self._warnings: deque[str] = deque()
        self._warned: set[str] = set()

    def verifies(self, probe: Callable[[], Verdict]) -> bool:
        """Whether the store notices data that changed on the way; ``probe`` is called until that is known."""
        with self._lock:
            if self._verifies is not None:
                return self._verifies
            verdict = probe()
            self.computes_etags = verdict.computes_etags
            if verdict.is_final:
                self._verifies = verdict.verifies
            if verdict.warning is not None:
                self._warn("verifies", f"{verdict.warning}; {_READ}")
            return verdict.verifies

    def rejected_checksums(self, reason: str) -> None:
        """The store does not take ``x-amz-checksum-`` headers: from now on none are sent."""
        self.algorithm = NONE
        self._warn(
            "rejects",
            f"the store rejects x-amz-checksum headers ({reason}); none are sent any more, Content-MD5 protects the"
            ' upload: set checksum = "none"',
        )

    def lacks(self, missing: str) -> None:
        """A HEAD does not say enough of an object that has just been sent."""
        self._warn(
            missing,
            f"the answer to a HEAD has no {missing}; {_READ}. If the store cannot be changed, set"
            ' confirm = "read", which is the same without this line, or confirm = "size" (see docs/s3.rst)',
        )

    def take_warnings(self) -> list[str]:
        """What there is to log, each kind once."""
        return [self._warnings.popleft() for _ in range(len(self._warnings))]

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warnings.append(f"bucket {self._bucket}: {text}")
