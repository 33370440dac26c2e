"""Credentials of Amazon's that are looked for late, and that nobody waits for longer than he wants to."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Any

from botocore.exceptions import CredentialRetrievalError

#: Seconds before they end in which who needs them waits for others. Until then the old ones do, while a thread asks.
LAST = 60.0


class LateCredentials:
    """Those that ``look`` finds, or None, when the first request needs them. Provides itself to botocore.

    To look for them, or to renew them, may ask a network, or run a program, and nobody knows how long that takes. So
    one thread does it, and no second one is started beside it; who waits for it gives up in time. What it finds later
    is there for the next request. Where it never ends, there are none.

    :param patience: seconds to wait.
    """

    def __init__(self, look: Callable[[], Any], patience: float) -> None:
        self._look = look
        self._patience = patience
        self._lock = Lock()  # never held for long
        self._found: Any = None
        self._frozen: Any = None
        #: What the thread that asks just now will find.
        self._asked: Future[Any] | None = None

    def load_credentials(self) -> "LateCredentials":
        """See botocore's CredentialResolver."""
        return self

    def get_frozen_credentials(self) -> Any:
        """See botocore's Credentials; None when there are none.

        :raises CredentialRetrievalError: it takes too long, or went wrong. And what else ``look`` raises.
        """
        with self._lock:
            asked = self._ask() if self._found is None or _end_within(self._found, None) else None
            if asked is None or (self._found is not None and not _end_within(self._found, LAST)):
                return self._frozen
        wait([asked], self._patience)
        if not asked.done():
            text = f"they have not come within {self._patience:g} s; no others are looked for meanwhile"
            raise CredentialRetrievalError(provider="boto3's chain", error_msg=text)
        return asked.result()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """See botocore's Credentials."""
        return lambda: getattr(self.get_frozen_credentials(), name, None)

    def forget(self) -> None:
        """They are looked for again."""
        with self._lock:
            self._found = self._frozen = None

    def _ask(self) -> "Future[Any]":
        """Has them looked for, or renewed, unless that goes on already. For who has the lock."""
        if self._asked is None:
            asked: Future[Any] = Future()
            thread = Thread(target=self._find, args=(self._found, asked), name="credentials", daemon=True)
            try:
                thread.start()
            except RuntimeError as fault:
                text = f"the system refuses a thread ({fault}): raise TasksMax= of the systemd unit, or pids.max"
                raise CredentialRetrievalError(provider="boto3's chain", error_msg=text) from fault
            self._asked = asked
        return self._asked

    def _find(self, known: Any, asked: "Future[Any]") -> None:
        try:
            found = self._look() if known is None else known
            frozen = None if found is None else found.get_frozen_credentials()
        except BaseException as fault:  # for those who wait
            with self._lock:
                self._asked = None
            asked.set_exception(fault)
        else:
            with self._lock:
                self._found, self._frozen, self._asked = found, frozen, None
            asked.set_result(frozen)


def _end_within(credentials: Any, seconds: float | None) -> bool:
    """Not all of them say when they end. None: whether it is time for others, as botocore sees it."""
    needs_others = getattr(credentials, "refresh_needed", None)
    return needs_others is not None and bool(needs_others(seconds))
