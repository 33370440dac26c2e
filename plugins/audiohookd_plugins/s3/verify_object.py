"""Compares an object with the expected one, by the store's response to a HEAD (pure)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from audiohookd_plugins.s3.checksum import Algorithm, Sent, Sum, of_hex

#: The metadata name of the SHA-256 of an object's bytes.
NOTED = "audiohookd-sha256"


class Finding(NamedTuple):
    """The result of a comparison. When both members are None, the object is as expected."""

    #: How the object differs.
    difference: str | None = None
    #: The header that the response lacks to decide it.
    missing: str | None = None


class Expected(NamedTuple):
    """The expected object.

    :param sha256: hexadecimal.
    :param sent: None when the object existed before.
    """

    size: int
    sha256: str
    sent: Sent | None = None


def by_size(head: Mapping[str, Any], expected: Expected) -> Finding:
    """Compares the size. For an object that existed before, the metadata must say that audiohookd stored it.

    :param head: the response to a HEAD.
    """
    difference = _difference(head, expected)
    if difference is not None:
        return Finding(difference)
    if head.get("ContentLength") is None:
        return Finding(missing="Content-Length")
    if expected.sent is None and noted_sha256(head) is None:
        return Finding(missing=f"x-amz-meta-{NOTED}")
    return Finding()


def by_checksum(head: Mapping[str, Any], expected: Expected, algorithm: Algorithm) -> Finding:
    """Compares the checksum.

    An object that was stored with another algorithm, or in other parts, has no comparable checksum. Then the metadata
    counts: the store verified the object when it was sent.

    :param head: the response to a HEAD.
    """
    difference = _difference(head, expected)
    if difference is not None:
        return Finding(difference)
    theirs = algorithm.reported_in(head)
    wanted = [] if expected.sent is None else [expected.sent.own]
    if algorithm.name == "SHA256":
        wanted.append(of_hex(expected.sha256))
    if theirs is not None and theirs.is_composite in [checksum.is_composite for checksum in wanted]:
        return Finding() if theirs in wanted else _other_checksum(head, theirs, algorithm)
    if not _has_checksum(head):
        return Finding(missing="x-amz-checksum-...")
    if noted_sha256(head) is None:
        return Finding(missing=f"x-amz-meta-{NOTED}")
    return by_size(head, expected)


def noted_sha256(head: Mapping[str, Any]) -> str | None:
    """The SHA-256 in the object's metadata. Some stores change the case of the names."""
    return {name.lower(): value for name, value in head.get("Metadata", {}).items()}.get(NOTED)


def _difference(head: Mapping[str, Any], expected: Expected) -> str | None:
    size = head.get("ContentLength")
    if size is not None and size != expected.size:
        return f"it has {size} bytes instead of {expected.size}"
    noted = noted_sha256(head)
    return None if noted in (None, expected.sha256) else f"its SHA-256 is noted as {noted}"


def _other_checksum(head: Mapping[str, Any], theirs: Sum, algorithm: Algorithm) -> Finding:
    """Some stores do not mark a checksum of the checksums of parts."""
    if "ChecksumType" not in head and not theirs.is_composite:
        return Finding(missing="x-amz-checksum-type")
    return Finding(f"its {algorithm.name} is {theirs.value}")


def _has_checksum(head: Mapping[str, Any]) -> bool:
    return any(name.startswith("Checksum") and name != "ChecksumType" for name in head)
