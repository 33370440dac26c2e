"""One file, its object, and the requests about it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3.capabilities import Capabilities
from audiohookd_plugins.s3.checksum import algorithm
from audiohookd_plugins.s3.config import Fallback, S3Config
from audiohookd_plugins.s3.errors import ABSENT, code_of
from audiohookd_plugins.s3.file_slice import FileSlice
from audiohookd_plugins.s3.verify_object import NOTED

#: Bytes. Bodies up to this size are read into memory before they are sent.
SMALL = 256 << 10
#: The name of the probe, after the text before the first field of ``key``: see :mod:`audiohookd_plugins.s3.probe`.
PROBE = "audiohookd-probe"
#: Multipart uploads to list at most, so that the response stays within its bounds.
MOST_UPLOADS = 100


class Item(NamedTuple):
    """A file and its object."""

    path: Path
    key: str
    size: int
    #: Hexadecimal.
    sha256: str
    content_type: str
    #: URL-encoded.
    tagging: str
    #: Without the SHA-256.
    metadata: Mapping[str, str]

    def check_sha256(self, digest: bytes) -> None:
        """:raises Undeliverable: the file is not what its sidecar says."""
        if digest.hex() != self.sha256:
            raise Undeliverable(f"{self.path.name} has the SHA-256 {digest.hex()}; its sidecar says {self.sha256}")


class UploadSettings:
    """The settings that all objects of a bucket share.

    :param check: called repeatedly while files are read; an exception from it ends the upload.
    :param now: monotonic, in seconds.
    """

    def __init__(
        self, place: S3Config | Fallback, config: S3Config, check: Callable[[], None], now: Callable[[], float]
    ) -> None:
        self.bucket = place.bucket
        self.check = check
        self.store = Capabilities(place.bucket, algorithm(config.checksum), now)
        self.confirm = config.confirm
        self.probe_key = config.key.partition("{")[0] + PROBE
        self.looks_first = config.overwrite_protection == "head"
        self.condition = {} if self.looks_first else {"IfNoneMatch": "*"}
        self.threshold = config.multipart_threshold
        self.part_size = config.part_size
        extras = {
            "ServerSideEncryption": config.sse,
            "SSEKMSKeyId": place.kms_key_id,
            "StorageClass": config.storage_class,
        }
        self.extras = {name: value for name, value in extras.items() if value}


class ObjectUpload:
    """An item in its bucket. For a worker thread; failed requests raise botocore's exceptions.

    :param replaces: the existing object is a damaged copy of the same file, and is to be replaced.
    """

    def __init__(self, client: Any, settings: UploadSettings, item: Item, replaces: bool = False) -> None:
        self._client = client
        self.settings = settings
        self.item = item
        self.replaces = replaces

    @property
    def condition(self) -> dict[str, str]:
        """Members of the request that creates the object."""
        return {} if self.replaces else self.settings.condition

    def replacing(self) -> "ObjectUpload":
        """The same upload, but replacing the existing object."""
        return ObjectUpload(self._client, self.settings, self.item, replaces=True)

    def probe(self) -> "ObjectUpload":
        """The upload of a probe with the same attributes, under another key."""
        return ObjectUpload(self._client, self.settings, self.item._replace(key=self.settings.probe_key))

    def __str__(self) -> str:
        return f"s3://{self.settings.bucket}/{self.item.key}"

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Sends a request about the object."""
        return getattr(self._client, operation)(Bucket=self.settings.bucket, Key=self.item.key, **arguments)

    def send(self, operation: str, start: int, size: int, **arguments: Any) -> Any:
        """Sends a request with a part of the file as its body.

        :raises OSError: the file cannot be read.
        """
        with self.window(start, size) as body:
            try:
                # For a file botocore waits for "100 Continue": a round trip, or 1 s where the store never sends it.
                # It makes a file of bytes, too, but not of a bytearray.
                return self.ask(operation, Body=body if size > SMALL else bytearray(body.whole()), **arguments)
            except Exception:
                if body.error is not None:  # botocore reports it as a connection failure
                    raise body.error from None
                raise

    def need(self, operation: str, member: str, **arguments: Any) -> Any:
        """A member of the response to a request about the object.

        :raises Unavailable: the response lacks it.
        """
        return self.member(operation, member, self.ask(operation, **arguments))

    def member(self, operation: str, name: str, answer: Mapping[str, Any]) -> Any:
        """A member of a response.

        :raises Unavailable: the response lacks it.
        """
        if answer.get(name) is None:
            text = f"bucket {self.settings.bucket}: the answer to {operation} has no {name}"
            raise Unavailable(f"{text}: is it an S3 store that answers at endpoint_url?")
        return answer[name]

    def head(self, asks_for_checksum: bool = True) -> Mapping[str, Any] | None:
        """The response to a HEAD; None if there is no such object."""
        has_checksum = self.settings.confirm == "checksum" and self.settings.store.algorithm.name
        mode = {"ChecksumMode": "ENABLED"} if asks_for_checksum and has_checksum else {}
        try:
            head: Mapping[str, Any] = self.ask("head_object", **mode)
        except ClientError as error:
            if code_of(error) in ABSENT:
                return None
            raise
        return head

    def uploads(self) -> list[str]:
        """Ids of unfinished multipart uploads of this object, up to a limit."""
        answer = self._client.list_multipart_uploads(
            Bucket=self.settings.bucket, Prefix=self.item.key, MaxUploads=MOST_UPLOADS
        )
        listed = answer.get("Uploads", ())
        return [entry["UploadId"] for entry in listed if entry.get("Key") == self.item.key and "UploadId" in entry]

    def window(self, start: int, size: int) -> FileSlice:
        """A part of the file."""
        return FileSlice(self.item.path, start, size, self.settings.check)

    def arguments(self) -> dict[str, Any]:
        """Members of the request that creates the object."""
        tagging = {"Tagging": self.item.tagging} if self.item.tagging else {}
        metadata = {**self.item.metadata, NOTED: self.item.sha256}
        return {"ContentType": self.item.content_type, "Metadata": metadata, **tagging, **self.settings.extras}
