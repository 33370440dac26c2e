"""Whether an object is what it should be, by what the store says of it (pure)."""

from collections.abc import Mapping
from typing import Any

from audiohookd_plugins.s3.checksum import Algorithm, Sum, of_hex

#: Where the SHA-256 of an object's bytes stands in its metadata.
NOTED = "audiohookd-sha256"


def difference(head: Mapping[str, Any], size: int, sha256: str) -> str | None:
    """What is not as it should be, as far as size and our own note in the metadata go; None when all is.

    :param head: the answer to a HEAD.
    :param sha256: in hexadecimal.
    """
    if head["ContentLength"] != size:
        return f"it has {head['ContentLength']} bytes instead of {size}"
    noted = noted_sha256(head)
    return None if noted in (None, sha256) else f"its SHA-256 is noted as {noted}"


def other_checksum(head: Mapping[str, Any], algorithm: Algorithm, own: Sum | None, sha256: str) -> str | None:
    """How the checksum that the store tells differs; None when it does not.

    An object that was stored with another algorithm, or in other parts, cannot be compared so. Then it is the same
    when its metadata say so: the store had checked it when it was sent.

    :param own: the checksum as it was sent, if it was.
    """
    theirs = algorithm.told_by(head)
    wanted = [] if own is None else [own]
    if algorithm.name == "SHA256":
        wanted.append(of_hex(sha256))
    if theirs is not None and theirs.is_composite in [one.is_composite for one in wanted]:
        return None if theirs in wanted else f"its {algorithm.name} is {theirs.value}"
    noted = noted_sha256(head)
    return None if noted == sha256 else f"its SHA-256 is noted as {noted}"


def tells_checksum(head: Mapping[str, Any]) -> bool:
    """Whether the store tells any."""
    return any(name.startswith("Checksum") and name != "ChecksumType" for name in head)


def noted_sha256(head: Mapping[str, Any]) -> str | None:
    """What our own metadata say. Some stores change the case of the names."""
    return {name.lower(): value for name, value in head.get("Metadata", {}).items()}.get(NOTED)
