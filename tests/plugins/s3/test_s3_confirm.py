"""A recording counts as stored when the store's responses confirm the object; and unusual responses."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from audiohookd.interfaces import Undeliverable
from audiohookd_plugins.s3 import upload
from audiohookd_plugins.s3.checksum import Sent, Sum, algorithm, encoded
from audiohookd_plugins.s3.config import MIB, S3Config
from audiohookd_plugins.s3.connection import Connection
from audiohookd_plugins.s3.object_upload import PROBE, Item, ObjectUpload, UploadSettings
from audiohookd_plugins.s3.upload import Unconfirmed
from audiohookd_plugins.s3.verify_object import Expected, Finding, by_checksum, by_size

AUDIO = b"some audio"
SHA256 = hashlib.sha256(AUDIO).hexdigest()
OURS = encoded(hashlib.sha256(AUDIO).digest())
OTHERS = encoded(hashlib.sha256(b"other").digest())
FULL = {"ChecksumType": "FULL_OBJECT"}
NOTED = {"Metadata": {"audiohookd-sha256": SHA256}}


def refused(status: int, code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class ScriptedStore:
    """Takes everything but what ``refuses`` names, and tells the answers of ``heads`` one after the other.

    It verifies checksums. A GET returns ``content``.
    """

    def __init__(self, *heads: dict[str, Any] | ClientError, content: bytes = AUDIO, **refuses: ClientError) -> None:
        self.heads = list(heads)
        self.content = content
        self.refuses = refuses
        self.asked: list[str] = []

    def get_object(self, Range: str, **_: Any) -> dict[str, Any]:
        self.asked.append("get_object")
        first, last = (int(number) for number in Range.removeprefix("bytes=").split("-"))
        size = len(self.content)
        return {"Body": BytesIO(self.content[first : last + 1]), "ContentRange": f"bytes {first}-{last}/{size}"}

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> dict[str, Any]:
            if arguments.get("Key") == PROBE:
                if operation == "upload_part" and arguments["PartNumber"] == 2:
                    raise refused(400, "BadDigest")
                return {"UploadId": "u"}
            self.asked.append(operation)
            answer = self.heads.pop(0) if operation == "head_object" else self.refuses.get(operation, {})
            if isinstance(answer, ClientError):
                raise answer
            return {"UploadId": "u", "ETag": "e", **answer}

        return ask


def store(client: ScriptedStore, directory: Path, size: int = len(AUDIO), **config: Any) -> Any:
    audio = AUDIO if size == len(AUDIO) else bytes(size)
    (directory / "a.wav").write_bytes(audio)
    item = Item(directory / "a.wav", "a.wav", size, hashlib.sha256(audio).hexdigest(), "audio/wav", "", {})
    settings = S3Config(bucket="recordings", multipart_threshold=5 << 20, part_size=5 << 20, **config)
    return upload.store(ObjectUpload(client, UploadSettings(settings, settings, lambda: None, lambda: 0.0), item))


class TestAStoreWithUnusualResponses:
    def test_it_does_not_have_what_it_took(self, tmp_path: Path) -> None:
        with pytest.raises(Unconfirmed, match=r"s3://recordings/a\.wav was stored, but is not there"):
            store(ScriptedStore(refused(404, "404")), tmp_path)

    @pytest.mark.parametrize(
        ("head", "text"),
        [
            ({"ContentLength": 9, "ChecksumSHA256": OURS}, "it has 9 bytes instead of 10"),
            ({"ContentLength": 10, "ChecksumSHA256": OTHERS, **FULL}, f"its SHA256 is {OTHERS}"),
        ],
    )
    def test_it_has_something_else_than_it_took(self, head: dict[str, Any], text: str, tmp_path: Path) -> None:
        with pytest.raises(Unconfirmed, match=text):
            store(ScriptedStore(head), tmp_path)

    @pytest.mark.parametrize(
        "head",
        [
            {"ContentLength": 10, **NOTED},
            {"ContentLength": 10, "ChecksumCRC32": "AAAAAA=="},
            {"ChecksumCRC32": "AAAAAA==", **NOTED},
            {},
        ],
    )
    def test_an_object_is_read_back_if_a_head_says_too_little(self, head: dict[str, Any], tmp_path: Path) -> None:
        client = ScriptedStore(head)
        store(client, tmp_path)
        assert client.asked == ["put_object", "head_object", "get_object"]
        with pytest.raises(Unconfirmed, match="read back, it has the SHA-256"):
            store(ScriptedStore(head, content=b"same size!"), tmp_path)
        with pytest.raises(Unconfirmed, match="a GET says that it has 11 bytes instead of 10"):
            store(ScriptedStore(head, content=AUDIO + b"+"), tmp_path)

    def test_a_checksum_of_the_whole_needs_no_length_beside_it(self, tmp_path: Path) -> None:
        client = ScriptedStore({"ChecksumSHA256": OURS})
        store(client, tmp_path)
        assert "get_object" not in client.asked

    @pytest.mark.parametrize("head", [{"ContentLength": 10, **NOTED}, {"ContentLength": 10}, {}])
    @pytest.mark.parametrize("confirm", ["checksum", "read"])
    def test_an_object_that_was_there_is_recognised_by_its_bytes(
        self, head: dict[str, Any], confirm: str, tmp_path: Path
    ) -> None:
        exists = {"put_object": refused(412, "PreconditionFailed")}
        store(ScriptedStore(head, **exists), tmp_path, confirm=confirm)
        with pytest.raises(Undeliverable, match=r"another object is at .*: read back, it has the SHA-256"):
            store(ScriptedStore(head, content=b"same size!", **exists), tmp_path, confirm=confirm)

    def test_size_suffices_if_the_operator_says_so(self, tmp_path: Path) -> None:
        client = ScriptedStore({"ContentLength": 10})
        assert store(client, tmp_path, confirm="size")["ContentLength"] == 10
        assert "get_object" not in client.asked
        with pytest.raises(Unconfirmed, match="it has 9 bytes"):
            store(ScriptedStore({"ContentLength": 9}), tmp_path, confirm="size")

    def test_size_does_not_suffice_for_an_object_that_was_there(self, tmp_path: Path) -> None:
        exists = {"put_object": refused(412, "PreconditionFailed")}
        with pytest.raises(Undeliverable, match="another object"):
            store(ScriptedStore({"ContentLength": 10}, content=b"same size!", **exists), tmp_path, confirm="size")

    def test_metadata_of_another_object_are_not_ours(self, tmp_path: Path) -> None:
        other = {"ContentLength": 10, "Metadata": {"AudioHookd-SHA256": "ab"}}
        exists = ScriptedStore(other, put_object=refused(412, "PreconditionFailed"))
        with pytest.raises(Undeliverable, match="its SHA-256 is noted as ab"):
            store(exists, tmp_path, confirm="size")

    def test_a_forbidden_head_counts_as_no_object(self, tmp_path: Path) -> None:
        """A HEAD before many parts may fail, unless the HEAD is what protects the object."""
        there = {"ContentLength": 5 * MIB, "ChecksumSHA256": "x-1", "Metadata": {}}
        denied = refused(403, "403")
        client = ScriptedStore(denied, denied, there, list_multipart_uploads=refused(403, "AccessDenied"))
        with pytest.raises(Unconfirmed):
            store(client, tmp_path, 5 * MIB)
        assert client.asked[-2:] == ["complete_multipart_upload", "head_object"]
        with pytest.raises(ClientError):
            store(ScriptedStore(denied), tmp_path, overwrite_protection="head")

    def test_an_upload_that_cannot_be_aborted_is_left(self, tmp_path: Path) -> None:
        refuses = {"upload_part": refused(409, "Conflict"), "abort_multipart_upload": refused(403, "AccessDenied")}
        client = ScriptedStore(refused(404, "404"), **refuses)
        with pytest.raises(ClientError, match="Conflict"):
            store(client, tmp_path, 5 * MIB)
        assert client.asked[-1] == "abort_multipart_upload"


def sent(value: str, is_composite: bool = False) -> Expected:
    return Expected(10, SHA256, Sent(Sum(value, is_composite)))


FOUND = Expected(10, SHA256)


class TestComparing:
    def test_the_size_is_compared(self) -> None:
        assert by_size({"ContentLength": 10}, sent(OURS)) == Finding()
        assert by_size({"ContentLength": 10, **NOTED}, FOUND) == Finding()
        assert by_size({"ContentLength": 11, **NOTED}, FOUND) == Finding("it has 11 bytes instead of 10")
        other = {"Metadata": {"audiohookd-sha256": "ab"}}
        assert by_size({"ContentLength": 10, **other}, FOUND) == Finding("its SHA-256 is noted as ab")
        assert by_size({"ContentLength": 10}, FOUND) == Finding(missing="x-amz-meta-audiohookd-sha256")
        assert by_size({}, sent(OURS)) == Finding(missing="Content-Length")

    @pytest.mark.parametrize(
        ("head", "finding"),
        [
            ({"ChecksumSHA256": OURS}, Finding()),
            ({"ChecksumSHA256": OURS, "ChecksumType": "FULL_OBJECT"}, Finding()),
            ({"ChecksumSHA256": OTHERS, **FULL, **NOTED}, Finding(f"its SHA256 is {OTHERS}")),
            ({"ChecksumSHA256": OTHERS, **NOTED}, Finding(missing="x-amz-checksum-type")),
            # of parts: only the metadata decides
            ({"ChecksumSHA256": f"{OTHERS}-3", **NOTED}, Finding()),
            ({"ChecksumSHA256": OTHERS, "ChecksumType": "COMPOSITE", **NOTED}, Finding()),
            ({"ChecksumSHA256": f"{OURS}-1"}, Finding(missing="x-amz-meta-audiohookd-sha256")),
            ({"ChecksumCRC32": "AAAAAA==", **NOTED}, Finding()),
            ({"ChecksumCRC32": "AAAAAA=="}, Finding(missing="x-amz-meta-audiohookd-sha256")),
            ({"ChecksumType": "COMPOSITE", **NOTED}, Finding(missing="x-amz-checksum-...")),
        ],
    )
    def test_an_existing_object_is_compared(self, head: dict[str, Any], finding: Finding) -> None:
        assert by_checksum({"ContentLength": 10, **head}, FOUND, algorithm("sha256")) == finding

    @pytest.mark.parametrize(
        ("head", "finding"),
        [
            ({"ChecksumSHA256": f"{OTHERS}-3"}, Finding()),
            ({"ChecksumSHA256": OTHERS, "ChecksumType": "COMPOSITE"}, Finding()),
            ({"ChecksumSHA256": f"{OURS}-3", **NOTED}, Finding(f"its SHA256 is {OURS}")),
            ({"ChecksumSHA256": OURS}, Finding()),
            ({"ChecksumSHA256": OTHERS, **FULL}, Finding(f"its SHA256 is {OTHERS}")),
            ({"ChecksumSHA256": OTHERS}, Finding(missing="x-amz-checksum-type")),
        ],
    )
    def test_an_object_of_parts_is_compared(self, head: dict[str, Any], finding: Finding) -> None:
        assert by_checksum({"ContentLength": 10, **head}, sent(OTHERS, True), algorithm("sha256")) == finding


@pytest.mark.parametrize(("name", "check"), [("crc32", "y/Q5Jg=="), ("crc64nvme", "rosUhgp5mIg=")])
def test_checksums_of_the_digits(name: str, check: str) -> None:
    """The published check value of each algorithm, of the text 123456789."""
    running = algorithm(name).start()
    for digit in b"123456789":
        running.update(bytes([digit]))
    assert encoded(running.digest()) == check


@pytest.mark.parametrize(
    ("settings", "signs"),
    [
        ({}, False),
        ({"endpoint_url": "https://store.example", "checksum": "crc32"}, False),
        ({"endpoint_url": "http://store.example"}, False),
        ({"endpoint_url": "http://store.example", "checksum": "crc32"}, True),
        ({"confirm": "size"}, True),
    ],
)
def test_bodies_are_signed_where_their_checksum_does_not_do(
    settings: dict[str, Any], signs: bool, loader: Loader
) -> None:
    config = S3Config(bucket="recordings", **settings)
    connection = Connection(config, config, loader)
    with connection.requests() as client:
        assert client.meta.config.s3["payload_signing_enabled"] is signs
    connection.close()
