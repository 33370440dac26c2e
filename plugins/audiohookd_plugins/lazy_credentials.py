"""AWS credentials that are looked up on first use, with a bounded wait."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Any

from botocore.exceptions import CredentialRetrievalError

#: Seconds before the credentials expire from which requests wait for new ones. Before that, a thread renews them
#: while requests use the old ones.
REFRESH_MARGIN = 60.0


class LateCredentials:
    """Credentials that are looked up when the first request needs them; a botocore credential provider.

    A lookup or renewal may use a network or run a program, for an unknown time. So one thread does it, and no second
    thread is started beside it. Requests wait for it up to ``timeout``; a later result serves the next request. A
    lookup that never ends leaves no credentials.

    :param fetch: looks up credentials; None when there are none.
    :param timeout: seconds to wait.
    """

    def __init__(self, fetch: Callable[[], Any], timeout: float) -> None:
        self._fetch = fetch
        self._timeout = timeout
        self._lock = Lock()  # held only briefly
        self._found: Any = None
        self._frozen: Any = None
        #: The result of the running lookup.
        self._pending: Future[Any] | None = None

    def load_credentials(self) -> "LateCredentials":
        """See botocore's CredentialResolver."""
        return self

    def get_frozen_credentials(self) -> Any:
        """See botocore's Credentials; None when there are none.

        :raises CredentialRetrievalError: the lookup timed out or failed. Other exceptions of ``fetch`` are raised as
            well.
        """
        with self._lock:
            pending = self._start_fetch() if self._found is None or _expires_within(self._found, None) else None
            if pending is None or (self._found is not None and not _expires_within(self._found, REFRESH_MARGIN)):
                return self._frozen
        wait([pending], self._timeout)
        if not pending.done():
            text = f"timed out after {self._timeout:g} s; the lookup is still running and serves later requests"
            raise CredentialRetrievalError(provider="boto3's chain", error_msg=text)
        return pending.result()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """See botocore's Credentials."""
        return lambda: getattr(self.get_frozen_credentials(), name, None)

    def forget(self) -> None:
        """Drops the credentials; the next request looks them up again."""
        with self._lock:
            self._found = self._frozen = None

    def _start_fetch(self) -> "Future[Any]":
        """Starts a lookup or renewal, unless one is running. The caller holds the lock."""
        if self._pending is None:
            pending: Future[Any] = Future()
            thread = Thread(target=self._find, args=(self._found, pending), name="credentials", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                text = f"the system refuses a thread ({error}): raise TasksMax= of the systemd unit, or pids.max"
                raise CredentialRetrievalError(provider="boto3's chain", error_msg=text) from error
            self._pending = pending
        return self._pending

    def _find(self, known: Any, pending: "Future[Any]") -> None:
        try:
            found = self._fetch() if known is None else known
            frozen = None if found is None else found.get_frozen_credentials()
        except BaseException as error:  # for the waiting threads
            with self._lock:
                self._pending = None
            pending.set_exception(error)
        else:
            with self._lock:
                self._found, self._frozen, self._pending = found, frozen, None
            pending.set_result(frozen)


def _expires_within(credentials: Any, seconds: float | None) -> bool:
    """Whether the credentials expire within ``seconds``; False if they have no expiry time.

    :param seconds: None for botocore's own margin of advisory refresh.
    """
    needs_others = getattr(credentials, "refresh_needed", None)
    return needs_others is not None and bool(needs_others(seconds))
