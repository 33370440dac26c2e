"""Whether a store notices data that changed on the way: a part of an upload, altered after it was signed.

Some stores keep the checksum that a request names, and give it back in a HEAD, without comparing it to the data:
there a HEAD confirms anything. Seen with rclone 1.75, which verifies Content-MD5 only, and moto 5.2, which verifies
nothing.

Part 1 goes as it is: a store that rejects it (some reject x-amz-checksum headers) says nothing of checksums by
rejecting part 2, which is altered.

The upload is never completed: no object appears, none has to be deleted, and no right is needed beyond those of a
large recording. moto, rclone and SeaweedFS check a part as they check an object.
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

#: Seconds after a probe that failed, until the next: a store that answers 5xx to it may take uploads all the same.
PAUSE = 60.0

_UNALTERED = b"audiohookd asks whether the store verifies checksums: go"
_SIGNED = b"audiohookd asks whether the store verifies checksums: no"
_SENT = b"audiohookd asks whether the store verifies checksums: 0!"

VERIFIES = ChecksumSupport(verifies=True)


def alter(request: Any, **_: Any) -> None:
    """For botocore's event ``before-send.s3.UploadPart``: changes the body of the probe, as a bad line would."""
    if isinstance(request.body, BytesIO) and request.body.getvalue() == _SIGNED:
        request.body = _SENT


def at_start(target: ObjectUpload) -> ChecksumSupport:
    """Sends the probe before any upload.

    A failure may be one of the bucket, of the credentials or of the policy, which the operator can correct while the
    daemon runs: the first upload brings another probe.
    """
    return _run(target, lambda _: 0.0)


def after_upload(target: ObjectUpload) -> ChecksumSupport:
    """Sends the probe, with the attributes of a recording that the store has just accepted."""
    return _run(target, lambda fault: None if _is_permanent(fault) else PAUSE)


def _run(target: ObjectUpload, retry_after: Callable[[Failure | Unavailable], float | None]) -> ChecksumSupport:
    try:
        return _ask(target.probe())
    except (*FAILURES, Unavailable) as fault:
        store = target.rules.store
        if store.algorithm.name and isinstance(fault, ClientError) and rejects_checksums(fault):
            store.rejected_checksums(describe(fault))
            return _run(target, retry_after)
        reason = str(fault) if isinstance(fault, Unavailable) else describe(fault)
        where = f"a multipart upload of {target.probe()}"
        warning = f"it is unknown whether the store verifies checksums ({where}: {reason})"
        return ChecksumSupport(verifies=False, warning=warning, retry_after=retry_after(fault))


def _ask(probe: ObjectUpload) -> ChecksumSupport:
    """What the store says to an altered part.

    :raises Failure: it rejects such uploads, also unaltered ones. Unavailable: its answer has no UploadId.
    """
    sums = probe.rules.store.algorithm
    probe.rules.check()
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
    except FAILURES as fault:
        if _is_rejection(fault):
            return VERIFIES
        raise
    warning = f"the store does not verify checksums: it accepted a part of {probe} that did not match them"
    return ChecksumSupport(verifies=False, warning=warning, computes_etags=is_md5_etag(answer, encoded(_md5(_SENT))))


def _send_part(probe: ObjectUpload, sums: Algorithm, upload_id: str, number: int, data: bytes) -> Any:
    probe.rules.check()
    own = sums.start()
    own.update(data)
    checksums = {"ContentMD5": encoded(_md5(data)), **sums.told(Sum(encoded(own.digest())))}
    return probe.ask("upload_part", UploadId=upload_id, PartNumber=number, Body=data, **checksums)


def _md5(data: bytes) -> bytes:
    running = md5()
    running.update(data)
    return running.digest()


def _is_rejection(fault: Failure) -> bool:
    """Stores have many codes for it; a part that was not altered has just been accepted."""
    code = code_of(fault)
    is_bad_request = status_of(fault) == HTTPStatus.BAD_REQUEST
    return code == "SignatureDoesNotMatch" or (is_bad_request and code not in STALE | BUSY)


def _is_permanent(fault: Failure | Unavailable) -> bool:
    """Whether another probe would fail, too: not with a busy store, nor with credentials that are renewed."""
    if isinstance(fault, Unavailable):
        return True  # the answer has no UploadId
    is_rejected = HTTPStatus.BAD_REQUEST <= status_of(fault) < HTTPStatus.INTERNAL_SERVER_ERROR
    is_rejected = is_rejected or status_of(fault) == HTTPStatus.NOT_IMPLEMENTED
    return is_rejected and code_of(fault) not in STALE | BUSY
