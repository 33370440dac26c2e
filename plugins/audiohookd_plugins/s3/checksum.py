"""Checksums as S3 defines them."""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol

#: The suffix of a checksum of the checksums of so many parts.
_PARTS = re.compile(r"-\d+$")


class Sum(NamedTuple):
    """A checksum of an object, in base64: of all its bytes, or of the checksums of its parts."""

    value: str
    is_composite: bool = False


class Sent(NamedTuple):
    """The checksums with which an object was sent.

    :param own: of the algorithm that the request named.
    :param has_md5_etag: whether the store returned the MD5 of the bytes as the ETag, for each part if there are
        parts.
    """

    own: Sum
    has_md5_etag: bool = False


class Running(Protocol):
    """An incremental checksum."""

    def update(self, data: bytes, /) -> None:
        """Adds data."""

    def digest(self) -> bytes:
        """The digest of the data so far."""


class Algorithm(NamedTuple):
    """A checksum algorithm that objects can be stored with."""

    #: As in ``ChecksumAlgorithm``, and in the members ``Checksum...`` of requests and answers. Empty: none is sent.
    name: str
    #: Starts a checksum.
    start: Callable[[], Running]
    #: Whether a multipart upload has a checksum of the checksums of its parts, or else of the whole object.
    is_composite: bool

    @property
    def member(self) -> str:
        """The name of the member in requests and responses."""
        return f"Checksum{self.name}"

    @property
    def type(self) -> str:
        """The ``ChecksumType`` of a multipart upload."""
        return "COMPOSITE" if self.is_composite else "FULL_OBJECT"

    def request_members(self, value: Sum) -> dict[str, str]:
        """Request members that carry the checksum ``value``."""
        return {"ChecksumAlgorithm": self.name, self.member: value.value} if self.name else {}

    def announced(self) -> dict[str, str]:
        """Members of the request that creates a multipart upload."""
        return {"ChecksumAlgorithm": self.name, "ChecksumType": self.type} if self.name else {}

    def of_part(self, value: Sum) -> dict[str, str]:
        """Members of one part, in the list of parts that completes an upload."""
        return {self.member: value.value} if self.name else {}

    def of_whole(self, value: Sum) -> dict[str, str]:
        """Members of the request that completes a multipart upload."""
        if not self.name:
            return {}
        return {"ChecksumType": self.type} | ({} if value.is_composite else {self.member: value.value})

    def reported_in(self, head: Mapping[str, Any]) -> Sum | None:
        """The checksum that the response to a HEAD contains."""
        value = head.get(self.member)
        if value is None:
            return None
        is_composite = head.get("ChecksumType") == "COMPOSITE" or _PARTS.search(value) is not None
        return Sum(_PARTS.sub("", value), is_composite)

    def of_parts(self, digests: Iterable[bytes]) -> Sum:
        """The composite checksum of an object, from the ``digests`` of its parts."""
        running = self.start()
        for digest in digests:
            running.update(digest)
        return Sum(encoded(running.digest()), is_composite=True)


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function, self._size = function, size
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


#: For stores that reject ``x-amz-checksum-`` headers: Content-MD5 protects what is sent to them.
NONE = Algorithm("", hashlib.sha256, is_composite=False)


def algorithm(name: str) -> Algorithm:
    """The algorithm with this name in the configuration.

    :raises ImportError: it is crc64nvme, and awscrt is not installed.
    """
    if name == "sha256":
        return Algorithm("SHA256", hashlib.sha256, is_composite=True)
    if name == "none":
        return NONE
    if name == "crc32":
        return Algorithm("CRC32", lambda: _Crc(zlib.crc32, 4), is_composite=False)
    crc64nvme = import_module("awscrt.checksums").crc64nvme  # an optional dependency
    return Algorithm("CRC64NVME", lambda: _Crc(crc64nvme, 8), is_composite=False)


def md5() -> Running:
    """Starts the MD5 for the header Content-MD5, which stores without other checksums verify."""
    return hashlib.md5(usedforsecurity=False)


def encoded(digest: bytes) -> str:
    """``digest`` in base64."""
    return base64.b64encode(digest).decode()


def is_md5_etag(answer: Mapping[str, Any], content_md5: str) -> bool:
    """Whether the ETag is the MD5 of the sent bytes. With KMS encryption, for example, it is not."""
    return str(answer.get("ETag", "")).strip('"').lower() == base64.b64decode(content_md5).hex()


def of_hex(sha256: str) -> Sum:
    """The checksum for the hexadecimal SHA-256 in a sidecar."""
    return Sum(encoded(bytes.fromhex(sha256)))
