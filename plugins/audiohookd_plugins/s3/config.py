"""``[plugins.s3]``, and its checks before anything is sent."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from audiohookd.units import Duration, Size
from audiohookd_plugins.aws import check_endpoint
from audiohookd_plugins.s3.checksum import algorithm

MIB = 1 << 20

#: Also accepts bucket names that S3 itself rejects: other stores have older or looser rules.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]|arn:[!-~]+")
_REGION = re.compile(r"[a-z0-9-]+")
_STORAGE_CLASS = re.compile(r"[A-Z0-9_]+")

Seconds = Annotated[Duration, Meta(ge=0, le=7 * 24 * 3600)]


class Fallback(Struct, frozen=True, forbid_unknown_fields=True):
    """Another bucket, for when the primary one is unavailable. Other settings are the primary's."""

    bucket: str
    region: str | None = None
    endpoint_url: str | None = None
    path_style: bool = False
    kms_key_id: str | None = None


class S3Config(Struct, frozen=True, forbid_unknown_fields=True):
    """``[plugins.s3]``."""

    bucket: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    path_style: bool = False
    #: Template of the objects' keys; ".wav" and ".json" are appended.
    key: str = "{date}/{recording}"
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 2
    #: Seconds for a response, and for each further part of it.
    timeout: Annotated[Duration, Meta(gt=0, le=3600)] = 60.0
    #: Sent in addition to Content-MD5.
    checksum: Literal["sha256", "crc32", "crc64nvme", "none"] = "sha256"
    #: By a HEAD, with checksum and size (some stores return only the size), or by reading the object back.
    confirm: Literal["checksum", "size", "read"] = "checksum"
    #: By a conditional request, or by a HEAD before it where the store has no conditions.
    overwrite_protection: Literal["if-none-match", "head"] = "if-none-match"
    #: From this size on, an upload has parts of ``part_size``.
    multipart_threshold: Annotated[Size, Meta(ge=5 * MIB, le=5120 * MIB)] = 64 * MIB
    part_size: Annotated[Size, Meta(ge=5 * MIB, le=5120 * MIB)] = 16 * MIB
    sse: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}
    fallback: Fallback | None = None
    fallback_after: Seconds = 60.0

    renamed_keys: ClassVar[Mapping[str, str]] = {"never_overwrite": "overwrite_protection"}


def check(config: S3Config) -> None:
    """Checks what the types do not.

    :raises ValueError: with a line for the user.
    """
    if not config.bucket:
        raise ValueError("bucket: must be given")
    _check_place("", config)
    _check_encryption("", config.kms_key_id, config)
    if config.fallback is not None:
        _check_fallback(config.fallback, config)
    if config.storage_class is not None and not _STORAGE_CLASS.fullmatch(config.storage_class):
        raise ValueError(f"storage_class: {config.storage_class!r} is no storage class")
    try:
        algorithm(config.checksum)
    except ImportError as error:
        raise ValueError(f'checksum: "{config.checksum}" needs awscrt: pip install awscrt') from error


def _check_fallback(fallback: Fallback, config: S3Config) -> None:
    _check_place("fallback.", fallback)
    _check_encryption("fallback.", fallback.kms_key_id, config)
    if _place(fallback) == _place(config):
        raise ValueError("fallback: is the primary bucket itself")


def _place(place: "S3Config | Fallback") -> tuple[str, str | None]:
    return place.bucket, place.endpoint_url


def _check_place(where: str, place: "S3Config | Fallback") -> None:
    if not _BUCKET.fullmatch(place.bucket):
        raise ValueError(f"{where}bucket: {place.bucket!r} is no valid bucket name")
    if place.region is not None and not _REGION.fullmatch(place.region):
        raise ValueError(f"{where}region: {place.region!r} is no region")
    if place.endpoint_url is not None:
        check_endpoint(f"{where}endpoint_url", place.endpoint_url)


def _check_encryption(where: str, kms_key_id: str | None, config: S3Config) -> None:
    if kms_key_id is not None and config.sse != "aws:kms":
        raise ValueError(f'{where}kms_key_id: is valid only with sse = "aws:kms"')
