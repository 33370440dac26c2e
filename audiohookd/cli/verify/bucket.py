"""Recordings in an S3 bucket: pairs of objects with the same key, except for ``.wav`` and ``.json``. Needs boto3."""

import base64
import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify.checking import Seen
from audiohookd.cli.verify.sidecar import Stream

_AUDIO = ".wav"
_SIDECAR = ".json"
#: The metadata with the SHA-256 of an object. The store may compute another kind of checksum.
_NOTED = "audiohookd-sha256"
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})


@contextmanager
def open_client(endpoint_url: str | None, region: str | None, profile: str | None, path_style: bool) -> Iterator[Any]:
    """Opens an S3 client for the block. boto3 finds every setting that is None.

    :raises UsageError: the profile does not exist, or a setting is invalid.
    """
    style = {"addressing_style": "path"} if path_style else {}
    config = Config(s3=style, retries={"mode": "standard", "total_max_attempts": 5})
    try:
        session = boto3.session.Session(profile_name=profile, region_name=region)
        client = session.client("s3", endpoint_url=endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"verify: {error}") from None
    client.meta.events.register("before-call.s3.HeadBucket", _redirect_once)
    with closing(client):
        yield client


class Objects:
    """The recording with the objects ``key + suffix``. See :class:`~audiohookd.cli.verify.checking.Item`.

    :param is_listed_alone: the listing has the audio, and no sidecar before it.
    """

    def __init__(self, client: Any, bucket: str, key: str, is_listed_alone: bool) -> None:
        self.where = f"s3://{bucket}/{key}"
        self._client = client
        self._bucket = bucket
        self._key = key
        self._is_listed_alone = is_listed_alone

    def sidecar(self) -> AbstractContextManager[Stream] | None:
        """See Item."""
        return None if self._is_listed_alone else self._open(_SIDECAR)

    def audio(self) -> AbstractContextManager[Stream] | None:
        """See Item."""
        return self._open(_AUDIO)

    def seen(self) -> Seen | None:
        """See Item. The checksum is from the store, or else from the metadata that the upload wrote."""
        with _store_faults():
            head = self._absent_or(
                self._client.head_object, Bucket=self._bucket, Key=self._key + _AUDIO, ChecksumMode="ENABLED"
            )
        if head is None:
            return None
        if head.get("ContentLength") is None:
            raise OSError(errno.EIO, "the response to HEAD has no Content-Length: verify without --quick")
        return Seen(head["ContentLength"], sha256=_computed(head) or _noted(head))

    def is_stored(self) -> bool:
        """See Item. Always False: the bucket is where the audio is stored."""
        return False

    def is_moving(self) -> bool:
        """See Item. True if the sidecar exists but was not listed with the audio: it is checked in its own turn."""
        opened = self._open(_SIDECAR) if self._is_listed_alone else None
        if opened is None:
            return False
        with opened:
            return True

    def _open(self, suffix: str) -> AbstractContextManager[Stream] | None:
        with _store_faults():
            answer = self._get(suffix)
        return None if answer is None else closing(_Body(answer["Body"]))

    def _get(self, suffix: str) -> Any:
        return self._absent_or(self._client.get_object, Bucket=self._bucket, Key=self._key + suffix)

    def _absent_or(self, request: Any, **parameters: Any) -> Any:
        try:
            return request(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise


def find(client: Any, target: str) -> Iterator[Objects]:
    """Finds the recordings at ``s3://bucket/prefix``, in the order of the listing. Holds one page of it in memory.

    :raises UsageError: the bucket cannot be listed.
    """
    bucket, prefix = split(target)
    only = next((prefix.removesuffix(end) for end in (_AUDIO, _SIDECAR) if prefix.endswith(end)), None)
    for key, is_alone in pairs(_keys(client, bucket, prefix if only is None else only)):
        if only is None or key == only:
            yield Objects(client, bucket, key, is_alone)


def _redirect_once(params: Any, **_: Any) -> None:
    """Stops botocore's search for the region of a bucket after one redirected HEAD.

    Otherwise botocore sends one HEAD after the other until Python's stack overflows.
    """
    params["context"].get("s3_redirect", {})["redirected"] = True


def split(target: str) -> tuple[str, str]:
    """Splits ``s3://bucket/prefix`` into bucket and prefix.

    :raises UsageError: the URL has no bucket, or has a query.
    """
    parts = urlsplit(target, allow_fragments=False)
    if not parts.netloc or parts.query:
        raise UsageError(f"verify: {target} is not a URL such as s3://bucket/prefix")
    return parts.netloc, parts.path.removeprefix("/")


def pairs(keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yields each key without its suffix, and whether its audio was listed without a sidecar.

    In a sorted listing a sidecar is listed before its audio. Other keys may lie between the two.

    :param keys: sorted. In an unsorted listing a pair may be yielded twice, once as audio without a sidecar.
    """
    waiting: list[str] = []
    for key in keys:
        while waiting and waiting[0] + _AUDIO < key:
            yield waiting.pop(0), False
        if key.endswith(_SIDECAR):
            waiting.append(key.removesuffix(_SIDECAR))
        elif key.endswith(_AUDIO):
            stem = key.removesuffix(_AUDIO)
            yield stem, stem not in waiting
            if stem in waiting:
                waiting.remove(stem)
    for stem in waiting:
        yield stem, False


def _keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    try:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))
    except (ClientError, BotoCoreError) as error:
        raise UsageError(f"verify: cannot list s3://{bucket}/{prefix}: {error}") from None


def _computed(head: Mapping[str, Any]) -> str | None:
    """The store's SHA-256 in hexadecimal. None if there is none, or if it is composed of checksums of parts."""
    value = head.get("ChecksumSHA256", "")
    if not value or "-" in value or "-" in head.get("ETag", "") or head.get("ChecksumType") == "COMPOSITE":
        return None
    try:
        return base64.b64decode(value, validate=True).hex()
    except ValueError:
        return None


def _noted(head: Mapping[str, Any]) -> str | None:
    """The SHA-256 in the metadata. Some stores change the case of its name."""
    return {name.lower(): value for name, value in head.get("Metadata", {}).items()}.get(_NOTED)


class _Body:
    """The body of a response. Errors of boto3 are raised as OSError."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, count: int) -> bytes:
        with _store_faults():
            return bytes(self._body.read(count))

    def close(self) -> None:
        self._body.close()


@contextmanager
def _store_faults() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise OSError(errno.EIO, str(error)) from error
