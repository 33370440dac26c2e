"""Plugins that store recordings elsewhere, or notify others of them."""

from typing import Any

from zope.interface import Attribute, Interface

from audiohookd.interfaces.recording import IRecording

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class Unavailable(Exception):
    """Raised by a carrier or a notifier when its remote service is unreachable or busy.

    The recording is not at fault. All deliveries of this plugin pause; the daemon then retries one recording at a
    time until one succeeds. The text is logged.

    :param retry_after: seconds to wait before the next retry, if the remote service named them.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Undeliverable(Exception):
    """Raised by a carrier or a notifier for a recording that no retry can deliver.

    The recording becomes a dead letter after all other plugins have had it. The text is the reason that the operator
    reads. When in doubt, raise another exception: the daemon then retries.
    """


class ICarrier(Interface):
    """Provided by a plugin that uploads the ready recordings of all routes.

    Local files are deleted only after :meth:`carry` has succeeded. The daemon retries failures without limit, with
    exponential backoff and full jitter. After a restart it begins with the recordings that were ready before. An
    :class:`Undeliverable` recording becomes a dead letter once the other carriers have stored it.
    """

    concurrency = Attribute("The maximum number of concurrent uploads, at least 1.")

    def carry(recording: IRecording) -> Any:
        """Uploads the audio and the sidecar of a recording. Called in the reactor thread.

        The upload must be idempotent. The same recording may be uploaded again, after a crash even if it succeeded
        before; this must neither store it twice nor fail. The audio file may then be missing: on a disk without room
        for the last receipt, the daemon deletes the audio before it writes that receipt, and a crash may come in
        between. The carrier must then find the answer in its store.

        The upload must limit its own time. The daemon does not know how long an upload may take, and cancels none
        before it shuts down. An upload that hangs occupies one of the ``concurrency`` places; the daemon logs it
        after ten minutes, then every hour. A cancelled upload should end soon.

        Any failure is retried, except :class:`Undeliverable`, which is final. :class:`Unavailable` also pauses the
        other uploads of this carrier. An OSError with the name of one of the recording's files, or EIO, should be
        raised unchanged: it then counts against this recording only.

        :returns: a Deferred or a coroutine. Its result is the receipt: a mapping, kept as JSON, that says where the
            recording is stored. It confirms that the store has both audio and sidecar.
        :raises Unavailable: the store is unreachable or busy.
        :raises Undeliverable: no retry can upload this recording.
        """


class INotifier(Interface):
    """Provided by a plugin that notifies other systems of the ready recordings of all routes.

    It is called for each recording after all carriers have stored it. Without a carrier it is called when the
    recording is ready.
    """

    concurrency = Attribute("The maximum number of concurrent notifications, at least 1.")

    def notify(recording: IRecording) -> Any:
        """Sends a notification of the recording, at least once: after a crash it may be sent again.

        The rules of :meth:`ICarrier.carry` apply, also that it must limit its own time.

        :returns: a Deferred or a coroutine; its result is ignored.
        :raises Unavailable: the receiver is unreachable or busy.
        :raises Undeliverable: the receiver rejects this notification for ever.
        """
