"""Probes whether a store verifies checksums, by a part of an upload that is altered after it was signed.

Some stores keep the checksum that a request names, and return it in a HEAD, without comparing it to the data; then a
HEAD confirms nothing. Seen with rclone 1.75, which verifies only Content-MD5, and moto 5.2, which verifies nothing.

Part 1 is sent unaltered. A store that rejects it (some reject x-amz-checksum headers) would say nothing about
checksums by rejecting part 2, the altered one.

The upload is never completed: no object appears or has to be deleted, and it needs only the permissions of a large
recording. moto, rclone and SeaweedFS verify a part as they verify an object.
"""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

from botocore.exceptions import ClientError

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3.capabilities import ChecksumSupport
from audiohookd_plugins.s3.checksum import Algorithm, Sum, encoded, is_md5_etag, md5
from audiohookd_plugins.s3.errors import (
    BUSY,
    FAILURES,
    STALE,
    Failure,
    code_of,
    describe,
    rejects_checksums,
    status_of,
)
from audiohookd_plugins.s3.object_upload import ObjectUpload

#: Seconds between a failed probe and the next: a store that answers it with 5xx may still accept uploads.
PAUSE = 60.0

_UNALTERED = b"audiohookd asks whether the store verifies checksums: go"
_SIGNED = b"audiohookd asks whether the store verifies checksums: no"
_SENT = b"audiohookd asks whether the store verifies checksums: 0!"

VERIFIES = ChecksumSupport(verifies=True)


def alter(request: Any, **_: Any) -> None:
    """Alters the body of the probe, as a faulty network would; for botocore's ``before-send.s3.UploadPart``."""
    if isinstance(request.body, BytesIO) and request.body.getvalue() == _SIGNED:
        request.body = _SENT


def at_start(target: ObjectUpload) -> ChecksumSupport:
    """Sends the probe before any upload.

    The cause of a failure may be the bucket, the credentials or the policy, which the operator can correct while the
    daemon runs. So the first upload sends another probe.
    """
    return _run(target, lambda _: 0.0)


def after_upload(target: ObjectUpload) -> ChecksumSupport:
    """Sends the probe with the attributes of a recording that the store has just accepted."""
    return _run(target, lambda error: None if _is_permanent(error) else PAUSE)


def _run(target: ObjectUpload, retry_after: Callable[[Failure | Unavailable], float | None]) -> ChecksumSupport:
    try:
        return _ask(target.probe())
    except (*FAILURES, Unavailable) as error:
        store = target.settings.store
        if store.algorithm.name and isinstance(error, ClientError) and rejects_checksums(error):
            store.rejected_checksums(describe(error))
            return _run(target, retry_after)
        reason = str(error) if isinstance(error, Unavailable) else describe(error)
        where = f"a multipart upload of {target.probe()}"
        warning = f"it is unknown whether the store verifies checksums ({where}: {reason})"
        return ChecksumSupport(verifies=False, warning=warning, retry_after=retry_after(error))


def _ask(probe: ObjectUpload) -> ChecksumSupport:
    """Sends the probe and evaluates the response to the altered part.

    :raises Failure: the store rejects such uploads, even unaltered ones.
    :raises Unavailable: the response has no UploadId.
    """
    sums = probe.settings.store.algorithm
    probe.settings.check()
    upload_id = probe.need("create_multipart_upload", "UploadId", **probe.arguments(), **sums.announced())
    try:
        _send_part(probe, sums, upload_id, 1, _UNALTERED)
        return _send_altered_part(probe, sums, upload_id)
    finally:
        with suppress(*FAILURES):
            probe.ask("abort_multipart_upload", UploadId=upload_id)


def _send_altered_part(probe: ObjectUpload, sums: Algorithm, upload_id: str) -> ChecksumSupport:
    try:
        answer = _send_part(probe, sums, upload_id, 2, _SIGNED)
    except FAILURES as error:
        if _is_rejection(error):
            return VERIFIES
        raise
    warning = f"the store does not verify checksums: it accepted a part of {probe} that did not match them"
    return ChecksumSupport(verifies=False, warning=warning, computes_etags=is_md5_etag(answer, encoded(_md5(_SENT))))


def _send_part(probe: ObjectUpload, sums: Algorithm, upload_id: str, number: int, data: bytes) -> Any:
    probe.settings.check()
    own = sums.start()
    own.update(data)
    checksums = {"ContentMD5": encoded(_md5(data)), **sums.request_members(Sum(encoded(own.digest())))}
    return probe.ask("upload_part", UploadId=upload_id, PartNumber=number, Body=data, **checksums)


def _md5(data: bytes) -> bytes:
    running = md5()
    running.update(data)
    return running.digest()


def _is_rejection(error: Failure) -> bool:
    """Whether the store rejected the altered part. Stores have many codes for it; the unaltered part was just
    accepted.
    """
    code = code_of(error)
    is_bad_request = status_of(error) == HTTPStatus.BAD_REQUEST
    return code == "SignatureDoesNotMatch" or (is_bad_request and code not in STALE | BUSY)


def _is_permanent(error: Failure | Unavailable) -> bool:
    """Whether another probe would fail, too, even if the store is less busy and credentials are renewed."""
    if isinstance(error, Unavailable):
        return True  # the response has no UploadId
    is_rejected = HTTPStatus.BAD_REQUEST <= status_of(error) < HTTPStatus.INTERNAL_SERVER_ERROR
    is_rejected = is_rejected or status_of(error) == HTTPStatus.NOT_IMPLEMENTED
    return is_rejected and code_of(error) not in STALE | BUSY
