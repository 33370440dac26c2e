"""One file, the object that it is to be, and the requests about it."""

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

#: Bodies up to so many bytes are read before they are sent.
SMALL = 256 << 10
#: The name of the probe, after the text before the first field of ``key``: see :mod:`audiohookd_plugins.s3.probe`.
PROBE = "audiohookd-probe"
#: So many uploads are asked for at a time: what a store says of them has room in an answer.
MOST_UPLOADS = 100


class Item(NamedTuple):
    """A file, and the object that it is to be."""

    path: Path
    key: str
    size: int
    #: In hexadecimal.
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
    """What is the same for all objects of a bucket.

    :param check: called now and then while files are read; what it raises ends the upload.
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
    """An item at its bucket. For a worker thread; failures of requests come as botocore raises them.

    :param replaces: what is at its name is a damaged copy of the same file, and is to be replaced.
    """

    def __init__(self, client: Any, rules: UploadSettings, item: Item, replaces: bool = False) -> None:
        self._client = client
        self.rules = rules
        self.item = item
        self.replaces = replaces

    @property
    def condition(self) -> dict[str, str]:
        """Members of the request that makes the object."""
        return {} if self.replaces else self.rules.condition

    def replacing(self) -> "ObjectUpload":
        """The same, to be sent in place of what is there."""
        return ObjectUpload(self._client, self.rules, self.item, replaces=True)

    def probe(self) -> "ObjectUpload":
        """Another name in the same bucket, for an object that is made like this one."""
        return ObjectUpload(self._client, self.rules, self.item._replace(key=self.rules.probe_key))

    def __str__(self) -> str:
        return f"s3://{self.rules.bucket}/{self.item.key}"

    def ask(self, operation: str, **arguments: Any) -> Any:
        """A request about the object."""
        return getattr(self._client, operation)(Bucket=self.rules.bucket, Key=self.item.key, **arguments)

    def send(self, operation: str, start: int, size: int, **arguments: Any) -> Any:
        """A request whose body is a part of the file.

        :raises OSError: the file cannot be read.
        """
        with self.window(start, size) as body:
            try:
                # For a file botocore waits for "100 Continue": a round trip, or 1 s where the store never sends it.
                # It makes a file of bytes, too, but not of a bytearray.
                return self.ask(operation, Body=body if size > SMALL else bytearray(body.whole()), **arguments)
            except Exception:
                if body.fault is not None:  # botocore takes it for a failure of the connection
                    raise body.fault from None
                raise

    def need(self, operation: str, member: str, **arguments: Any) -> Any:
        """What a request about the object is answered with.

        :raises Unavailable: the answer does not have it.
        """
        return self.member(operation, member, self.ask(operation, **arguments))

    def member(self, operation: str, name: str, answer: Mapping[str, Any]) -> Any:
        """A part of the answer.

        :raises Unavailable: it is not there.
        """
        if answer.get(name) is None:
            said = f"bucket {self.rules.bucket}: the answer to {operation} has no {name}"
            raise Unavailable(f"{said}: is it an S3 store that answers at endpoint_url?")
        return answer[name]

    def look(self, asks_for_checksum: bool = True) -> Mapping[str, Any] | None:
        """What the store says of the object; None when there is none."""
        has_checksum = self.rules.confirm == "checksum" and self.rules.store.algorithm.name
        mode = {"ChecksumMode": "ENABLED"} if asks_for_checksum and has_checksum else {}
        try:
            head: Mapping[str, Any] = self.ask("head_object", **mode)
        except ClientError as fault:
            if code_of(fault) in ABSENT:
                return None
            raise
        return head

    def uploads(self) -> list[str]:
        """Multipart uploads of this object that nobody completed; not all of them if there are very many."""
        answer = self._client.list_multipart_uploads(
            Bucket=self.rules.bucket, Prefix=self.item.key, MaxUploads=MOST_UPLOADS
        )
        listed = answer.get("Uploads", ())
        return [one["UploadId"] for one in listed if one.get("Key") == self.item.key and "UploadId" in one]

    def window(self, start: int, size: int) -> FileSlice:
        """A part of the file."""
        return FileSlice(self.item.path, start, size, self.rules.check)

    def arguments(self) -> dict[str, Any]:
        """Of the request that makes the object."""
        tagging = {"Tagging": self.item.tagging} if self.item.tagging else {}
        metadata = {**self.item.metadata, NOTED: self.item.sha256}
        return {"ContentType": self.item.content_type, "Metadata": metadata, **tagging, **self.rules.extras}
