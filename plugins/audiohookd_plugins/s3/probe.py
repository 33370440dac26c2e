"""Whether a store notices data that changed on the way: a part of an upload, altered after it has been signed.

Some stores keep the checksum that a request names, and give it back in a HEAD, without comparing it to the data:
there a HEAD confirms anything. Seen with rclone 1.75, which verifies Content-MD5 only, and moto 5.2, which verifies
nothing.

The upload is never completed: no object appears, none has to be deleted, and no right is needed beyond those of a
large recording. moto, rclone and SeaweedFS check a part as they check an object.
"""

from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any

from audiohookd.interfaces import Unavailable
from audiohookd_plugins.s3.capabilities import Verdict
from audiohookd_plugins.s3.checksum import Sum, encoded, is_md5_etag, md5
from audiohookd_plugins.s3.faults import BUSY, FAILURES, STALE, Failure, code_of, describe, status_of
from audiohookd_plugins.s3.target import Target

_SIGNED = b"audiohookd asks whether the store verifies checksums: no"
_SENT = b"audiohookd asks whether the store verifies checksums: 0!"

VERIFIES = Verdict(verifies=True, warning=None, is_final=True)


def alter(request: Any, **_: Any) -> None:
    """For botocore's event ``before-send.s3.UploadPart``: changes the body of the probe, as a bad line would."""
    if isinstance(request.body, BytesIO) and request.body.getvalue() == _SIGNED:
        request.body = _SENT


def run(target: Target) -> Verdict:
    """Sends the probe, with what goes with each recording."""
    probe = target.probe()
    sums = target.rules.store.algorithm
    try:
        upload_id = probe.need("create_multipart_upload", "UploadId", **probe.arguments(), **sums.announced())
    except FAILURES as fault:
        return _unknown(probe, describe(fault), is_final=_is_for_good(fault))
    except Unavailable as fault:
        return _unknown(probe, str(fault), is_final=True)
    try:
        answer = probe.ask("upload_part", UploadId=upload_id, PartNumber=1, Body=_SIGNED, **_checksums(target))
    except FAILURES as fault:
        return VERIFIES if _is_rejection(fault) else _unknown(probe, describe(fault), is_final=_is_for_good(fault))
    finally:
        with suppress(*FAILURES):
            probe.ask("abort_multipart_upload", UploadId=upload_id)
    warning = f"the store does not verify checksums: it accepted a part of {probe} that did not match them"
    etag = is_md5_etag(answer, encoded(_md5(_SENT)))
    return Verdict(verifies=False, warning=warning, is_final=True, computes_etags=etag)


def _unknown(probe: Target, reason: str, is_final: bool) -> Verdict:
    warning = f"it is unknown whether the store verifies checksums (a multipart upload of {probe}: {reason})"
    return Verdict(verifies=False, warning=warning, is_final=is_final)


def _checksums(target: Target) -> dict[str, str]:
    algorithm = target.rules.store.algorithm
    own = algorithm.start()
    own.update(_SIGNED)
    return {"ContentMD5": encoded(_md5(_SIGNED)), **algorithm.told(Sum(encoded(own.digest())))}


def _md5(data: bytes) -> bytes:
    running = md5()
    running.update(data)
    return running.digest()


def _is_rejection(fault: Failure) -> bool:
    """Stores have many codes for it; an upload that was not altered has just succeeded."""
    code = code_of(fault)
    return code == "SignatureDoesNotMatch" or (status_of(fault) == HTTPStatus.BAD_REQUEST and code not in STALE)


def _is_for_good(fault: Failure) -> bool:
    """Not because of the hour, nor of credentials that are renewed."""
    is_refused = HTTPStatus.BAD_REQUEST <= status_of(fault) < HTTPStatus.INTERNAL_SERVER_ERROR
    is_refused = is_refused or status_of(fault) == HTTPStatus.NOT_IMPLEMENTED
    return is_refused and code_of(fault) not in STALE | BUSY
