"""Uploads one file to one object, unless the store has it, and has the store confirm it in either case."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from audiohookd.interfaces import Undeliverable
from audiohookd_plugins.s3 import multipart, probe, read_back
from audiohookd_plugins.s3.capabilities import ChecksumSupport
from audiohookd_plugins.s3.checksum import Algorithm, Sent, Sum, algorithm, encoded, is_md5_etag, md5
from audiohookd_plugins.s3.errors import CORRUPT, EXISTS, code_of, describe, rejects_checksums, status_of
from audiohookd_plugins.s3.object_upload import Item, ObjectUpload
from audiohookd_plugins.s3.verify_object import Expected, Finding, by_checksum, by_size, noted_sha256

#: Statuses of a store that does not return objects. Then an ETag that the store computes must confirm the bytes.
_NO_GET = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


class Unconfirmed(Exception):
    """The store accepted the object, but does not have it as it was sent. The upload is retried."""


class Sums(NamedTuple):
    """Checksums of a file, in base64.

    :param own: of the algorithm that is sent to the store.
    """

    own: Sum
    md5: str


def store(target: ObjectUpload) -> Mapping[str, Any]:
    """Uploads the file if needed, and returns the response to a HEAD of the object.

    :raises Undeliverable: the file does not match its sidecar, or another object has its key.
    :raises Unconfirmed: the object differs from the data sent.
    :raises OSError: the file cannot be read.
    """
    _check_size(target.item)
    sent = _send(target)
    head, different = _confirm(target, sent)
    if different and sent is None and _is_damaged_copy(target, head):
        sent = _send(target.replacing())
        head, different = _confirm(target, sent)
    if different and sent is not None:
        raise Unconfirmed(f"{target} was stored, but {different}")
    if different:
        raise Undeliverable(f"another object is at {target}: {different}")
    return head


def find(target: ObjectUpload) -> Mapping[str, Any] | None:
    """The response to a HEAD of the object, if the store has it; needs no file.

    :raises Undeliverable: another object has its key.
    """
    head = target.head()
    different = _difference(target, head, None) if head is not None else None
    if different:
        raise Undeliverable(f"another object is at {target}: {different}")
    return head


# ---- sending -------------------------------------------------------------------------------------


def _send(target: ObjectUpload) -> Sent | None:
    """The checksums that it was sent with; None when an object exists already."""
    is_large = target.item.size >= target.settings.threshold
    looks = (is_large or target.settings.looks_first) and not target.replaces
    if looks and _is_there(target):
        return None
    sums = target.settings.store.algorithm
    try:
        return multipart.send(target, sums) if is_large else _send_whole(target, sums)
    except ClientError as error:
        if code_of(error) in EXISTS:
            return None
        if code_of(error) in CORRUPT:
            _read(target, sums)  # raises if the file is damaged; else the data was damaged in transit
        if not sums.name or not rejects_checksums(error):
            raise
        target.settings.store.rejected_checksums(describe(error))
    return _send(target)


def _is_there(target: ObjectUpload) -> bool:
    try:
        return target.head(asks_for_checksum=False) is not None
    except ClientError as error:
        # Without s3:ListBucket, S3 does not say that there is no object. Then the condition protects it.
        if code_of(error) == "403" and not target.settings.looks_first:
            return False
        raise


def _send_whole(target: ObjectUpload, sums: Algorithm) -> Sent:
    file = _read(target, sums)
    arguments = target.arguments() | target.condition | sums.request_members(file.own)
    answer = target.send("put_object", 0, target.item.size, ContentMD5=file.md5, **arguments)
    return Sent(file.own, is_md5_etag(answer, file.md5))


def _read(target: ObjectUpload, sums: Algorithm) -> Sums:
    """The checksums of the file.

    :raises Undeliverable: the file does not match its sidecar.
    """
    sha256, own, md5_sum = algorithm("sha256").start(), sums.start(), md5()
    with target.window(0, target.item.size) as window:
        for block in window.blocks():
            for running in (sha256, own, md5_sum):
                running.update(block)
    target.item.check_sha256(sha256.digest())
    return Sums(Sum(encoded(own.digest())), encoded(md5_sum.digest()))


def _check_size(item: Item) -> None:
    size = item.path.stat().st_size
    if size != item.size:
        raise Undeliverable(f"{item.path.name} has {size} bytes; its sidecar says {item.size}")


# ---- confirming ----------------------------------------------------------------------------------


def _confirm(target: ObjectUpload, sent: Sent | None) -> tuple[Mapping[str, Any], str | None]:
    """The response to a HEAD of the object, and how the object differs from the file; None if it does not."""
    head = target.head()
    if head is None:
        raise Unconfirmed(f"{target} was stored, but is not there")
    return head, _difference(target, head, sent)


def _difference(target: ObjectUpload, head: Mapping[str, Any], sent: Sent | None) -> str | None:
    """How the object differs from the item; None if it does not."""
    finding = _compare(target, head, sent)
    if finding.difference is not None or _is_proof(target, finding, sent):
        return finding.difference
    try:
        return read_back.difference(target)
    except ClientError as error:
        is_own = sent is not None or noted_sha256(head) == target.item.sha256
        if status_of(error) not in _NO_GET or not is_own:
            raise
        return None if _has_arrived(target, sent) else f"it cannot be read back ({describe(error)})"


def _compare(target: ObjectUpload, head: Mapping[str, Any], sent: Sent | None) -> Finding:
    settings, item = target.settings, target.item
    expected = Expected(item.size, item.sha256, sent)
    if settings.confirm == "checksum":
        return by_checksum(head, expected, settings.store.algorithm)
    return by_size(head, expected)


def _is_proof(target: ObjectUpload, finding: Finding, sent: Sent | None) -> bool:
    """Whether a HEAD that shows no difference confirms the object."""
    if target.settings.confirm == "read":
        return False
    if finding.missing is None:
        return _verdict(target).verifies
    if sent is not None:  # otherwise the cause may be the object, not the store
        target.settings.store.lacks(finding.missing)
    return False


def _has_arrived(target: ObjectUpload, sent: Sent | None) -> bool:
    """Whether the response to the upload proves that the store has the right bytes."""
    if sent is None:
        return False
    verdict = _verdict(target)
    return verdict.verifies or (sent.has_md5_etag and verdict.computes_etags)


def _verdict(target: ObjectUpload) -> ChecksumSupport:
    return target.settings.store.verdict(partial(probe.after_upload, target))


def _is_damaged_copy(target: ObjectUpload, head: Mapping[str, Any]) -> bool:
    """Whether it comes from an earlier attempt, damaged on the way to a store that does not verify checksums."""
    return noted_sha256(head) == target.item.sha256 and not _verdict(target).verifies
