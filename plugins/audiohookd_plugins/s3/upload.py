"""One file to one object: sent, or found to be there already, and in either case confirmed by the store."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3 import multipart
from audiohookd_plugins.s3.checksum import Sum, algorithm, encoded, of_hex
from audiohookd_plugins.s3.confirm import difference, noted_sha256, other_checksum, tells_checksum
from audiohookd_plugins.s3.faults import CORRUPT, EXISTS, code_of
from audiohookd_plugins.s3.target import Item, Target


class Unconfirmed(Exception):
    """The store took the object, and does not have it as it was sent. To be tried again."""


def store(target: Target) -> Mapping[str, Any]:
    """What the store says of the object, once it has it.

    :raises Undeliverable: the file is not what its sidecar says, or another object has its name.
    :raises Unconfirmed: the store has something else than what was sent.
    :raises OSError: the file cannot be read.
    """
    _check_size(target.item)
    own = _send(target)
    head = target.look()
    if head is None:
        raise Unconfirmed(f"{target} was stored, but is not there")
    different = _compare(target, head, own)
    if different and own is not None:
        raise Unconfirmed(f"{target} was stored, but {different}")
    if different:
        raise Undeliverable(f"another object is at {target}: {different}")
    return head


def find(target: Target) -> Mapping[str, Any] | None:
    """What the store says of the object, when it has it; no file is needed.

    :raises Undeliverable: another object has its name.
    """
    head = target.look()
    different = _compare(target, head, None) if head is not None else None
    if different:
        raise Undeliverable(f"another object is at {target}: {different}")
    return head


def _send(target: Target) -> Sum | None:
    """The checksum that it was sent with; None when something is there already."""
    is_large = target.item.size >= target.rules.threshold
    if (is_large or target.rules.looks_first) and _is_there(target):
        return None
    try:
        return multipart.send(target) if is_large else _send_whole(target)
    except ClientError as fault:
        if code_of(fault) in EXISTS:
            return None
        if code_of(fault) in CORRUPT:
            _read(target)  # it is the file, or it happened on the way
        raise


def _is_there(target: Target) -> bool:
    try:
        return target.look() is not None
    except ClientError as fault:
        # Without s3:ListBucket, S3 does not tell that there is nothing. Then the condition has to.
        if code_of(fault) == "403" and not target.rules.looks_first:
            return False
        raise


def _send_whole(target: Target) -> Sum:
    sums = target.rules.algorithm
    own = of_hex(target.item.sha256) if sums.name == "SHA256" else _read(target)
    arguments = target.arguments() | target.rules.condition | sums.told(own)
    target.send("put_object", 0, target.item.size, **arguments)
    return own


def _read(target: Target) -> Sum:
    """The checksum of the file.

    :raises Undeliverable: the file is not what its sidecar says.
    """
    whole, own = algorithm("sha256").start(), target.rules.algorithm.start()
    with target.window(0, target.item.size) as window:
        for block in window.blocks():
            whole.update(block)
            own.update(block)
    target.item.check_sha256(whole.digest())
    return Sum(encoded(own.digest()))


def _check_size(item: Item) -> None:
    size = item.path.stat().st_size
    if size != item.size:
        raise Undeliverable(f"{item.path.name} has {size} bytes; its sidecar says {item.size}")


def _compare(target: Target, head: Mapping[str, Any], own: Sum | None) -> str | None:
    """What is not as it should be; None when all is."""
    rules, item = target.rules, target.item
    found = difference(head, item.size, item.sha256)
    if found or not rules.asks_for_checksum:
        return found
    if tells_checksum(head):
        return other_checksum(head, rules.algorithm, own, item.sha256)
    if own is None and noted_sha256(head) is None:
        return "it has no checksum"  # nor is it ours, and it says nothing of the store
    raise Unavailable(
        f"bucket {rules.bucket}: the store tells no checksum of what it has; if it cannot, set confirm = \"size\""
    )
