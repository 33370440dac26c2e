"""One file to one object: sent, or found to be there already, and in either case confirmed by the store."""

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

#: The store gives no objects back. Then the ETag has to do: where the store computes it, it tells what arrived.
_NO_GET = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


class Unconfirmed(Exception):
    """The store took the object, and does not have it as it was sent. To be tried again."""


class Sums(NamedTuple):
    """Checksums of a file, in base64.

    :param own: that of the algorithm that the store is told.
    """

    own: Sum
    md5: str


def store(target: ObjectUpload) -> Mapping[str, Any]:
    """What the store says of the object, once it has it.

    :raises Undeliverable: the file is not what its sidecar says, or another object has its name.
    :raises Unconfirmed: the store has something else than what was sent.
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
    """What the store says of the object, when it has it; no file is needed.

    :raises Undeliverable: another object has its name.
    """
    head = target.look()
    different = _difference(target, head, None) if head is not None else None
    if different:
        raise Undeliverable(f"another object is at {target}: {different}")
    return head


# ---- sending -------------------------------------------------------------------------------------


def _send(target: ObjectUpload) -> Sent | None:
    """What it was sent with; None when an object is there already."""
    is_large = target.item.size >= target.rules.threshold
    looks = (is_large or target.rules.looks_first) and not target.replaces
    if looks and _is_there(target):
        return None
    sums = target.rules.store.algorithm
    try:
        return multipart.send(target, sums) if is_large else _send_whole(target, sums)
    except ClientError as fault:
        if code_of(fault) in EXISTS:
            return None
        if code_of(fault) in CORRUPT:
            _read(target, sums)  # it is the file, or it happened on the way
        if not sums.name or not rejects_checksums(fault):
            raise
        target.rules.store.rejected_checksums(describe(fault))
    return _send(target)


def _is_there(target: ObjectUpload) -> bool:
    try:
        return target.look(asks_for_checksum=False) is not None
    except ClientError as fault:
        # Without s3:ListBucket, S3 does not tell that there is nothing. Then the condition has to.
        if code_of(fault) == "403" and not target.rules.looks_first:
            return False
        raise


def _send_whole(target: ObjectUpload, sums: Algorithm) -> Sent:
    file = _read(target, sums)
    arguments = target.arguments() | target.condition | sums.told(file.own)
    answer = target.send("put_object", 0, target.item.size, ContentMD5=file.md5, **arguments)
    return Sent(file.own, is_md5_etag(answer, file.md5))


def _read(target: ObjectUpload, sums: Algorithm) -> Sums:
    """The checksums of the file.

    :raises Undeliverable: the file is not what its sidecar says.
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
    """What the store says of the object, and what is not as it should be; None when all is."""
    head = target.look()
    if head is None:
        raise Unconfirmed(f"{target} was stored, but is not there")
    return head, _difference(target, head, sent)


def _difference(target: ObjectUpload, head: Mapping[str, Any], sent: Sent | None) -> str | None:
    """How the object differs from the item; None when it does not."""
    finding = _compare(target, head, sent)
    if finding.difference is not None or _is_proof(target, finding, sent):
        return finding.difference
    try:
        return read_back.difference(target)
    except ClientError as fault:
        is_own = sent is not None or noted_sha256(head) == target.item.sha256
        if status_of(fault) not in _NO_GET or not is_own:
            raise
        return None if _has_arrived(target, sent) else f"it cannot be read back ({describe(fault)})"


def _compare(target: ObjectUpload, head: Mapping[str, Any], sent: Sent | None) -> Finding:
    rules, item = target.rules, target.item
    expected = Expected(item.size, item.sha256, sent)
    if rules.confirm == "checksum":
        return by_checksum(head, expected, rules.store.algorithm)
    return by_size(head, expected)


def _is_proof(target: ObjectUpload, finding: Finding, sent: Sent | None) -> bool:
    """Whether a HEAD that shows no difference confirms the object."""
    if target.rules.confirm == "read":
        return False
    if finding.missing is None:
        return _verdict(target).verifies
    if sent is not None:  # else the object may be to blame, not the store
        target.rules.store.lacks(finding.missing)
    return False


def _has_arrived(target: ObjectUpload, sent: Sent | None) -> bool:
    """Whether the answer to the upload proves that the store has the right bytes."""
    if sent is None:
        return False
    verdict = _verdict(target)
    return verdict.verifies or (sent.has_md5_etag and verdict.computes_etags)


def _verdict(target: ObjectUpload) -> ChecksumSupport:
    return target.rules.store.verdict(partial(probe.after_upload, target))


def _is_damaged_copy(target: ObjectUpload, head: Mapping[str, Any]) -> bool:
    """Whether it is the work of an earlier attempt, damaged on the way to a store that does not notice."""
    return noted_sha256(head) == target.item.sha256 and not _verdict(target).verifies
