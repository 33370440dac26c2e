"""A recording counts as stored when the store says that it has it as it should be; and what else stores say."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3 import upload
from audiohookd_plugins.s3.checksum import Sum, algorithm, encoded
from audiohookd_plugins.s3.config import MIB, S3Config
from audiohookd_plugins.s3.confirm import difference, other_checksum
from audiohookd_plugins.s3.connection import Connection
from audiohookd_plugins.s3.target import Item, Rules, Target
from audiohookd_plugins.s3.upload import Unconfirmed

AUDIO = b"some audio"
SHA256 = hashlib.sha256(AUDIO).hexdigest()
OURS = encoded(hashlib.sha256(AUDIO).digest())
OTHERS = encoded(hashlib.sha256(b"other").digest())
NOTED = {"Metadata": {"audiohookd-sha256": SHA256}}


def refused(status: int, code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


class ScriptedStore:
    """Takes everything but what ``refuses`` names, and tells the answers of ``heads`` one after the other."""

    def __init__(self, *heads: dict[str, Any] | ClientError, **refuses: ClientError) -> None:
        self.heads = list(heads)
        self.refuses = refuses
        self.asked: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> dict[str, Any]:
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
    settings = S3Config(bucket="recordings", multipart_threshold=5, part_size=5, **config)
    return upload.store(Target(client, Rules(settings, settings, lambda: None), item))


class TestAStoreThatSaysStrangeThings:
    def test_it_does_not_have_what_it_took(self, tmp_path: Path) -> None:
        with pytest.raises(Unconfirmed, match=r"s3://recordings/a\.wav was stored, but is not there"):
            store(ScriptedStore(refused(404, "404")), tmp_path)

    @pytest.mark.parametrize(
        ("head", "text"),
        [
            ({"ContentLength": 9, "ChecksumSHA256": OURS}, "it has 9 bytes instead of 10"),
            ({"ContentLength": 10, "ChecksumSHA256": OTHERS}, f"its SHA256 is {OTHERS}"),
            ({"ContentLength": 10, "ChecksumCRC32": "AAAAAA=="}, "its SHA-256 is noted as None"),
        ],
    )
    def test_it_has_something_else_than_it_took(self, head: dict[str, Any], text: str, tmp_path: Path) -> None:
        with pytest.raises(Unconfirmed, match=text):
            store(ScriptedStore(head), tmp_path)

    def test_it_knows_no_checksums(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match='tells no checksum of what it has; if it cannot, set confirm = "size"'):
            store(ScriptedStore({"ContentLength": 10, **NOTED}), tmp_path)

    def test_nor_is_a_second_look_any_better(self, tmp_path: Path) -> None:
        there = ScriptedStore({"ContentLength": 10, **NOTED}, put_object=refused(412, "PreconditionFailed"))
        with pytest.raises(Unavailable, match="tells no checksum"):
            store(there, tmp_path)

    def test_an_object_of_somebody_else_says_nothing_of_the_store(self, tmp_path: Path) -> None:
        there = ScriptedStore({"ContentLength": 10}, put_object=refused(412, "PreconditionFailed"))
        with pytest.raises(Undeliverable, match=r"another object is at .*: it has no checksum"):
            store(there, tmp_path)

    def test_then_its_size_has_to_do(self, tmp_path: Path) -> None:
        assert store(ScriptedStore({"ContentLength": 10}), tmp_path, confirm="size")["ContentLength"] == 10
        with pytest.raises(Unconfirmed, match="it has 9 bytes"):
            store(ScriptedStore({"ContentLength": 9}), tmp_path, confirm="size")

    def test_and_what_stands_in_its_metadata(self, tmp_path: Path) -> None:
        other = {"ContentLength": 10, "Metadata": {"AudioHookd-SHA256": "ab"}}
        exists = ScriptedStore(other, put_object=refused(412, "PreconditionFailed"))
        with pytest.raises(Undeliverable, match="its SHA-256 is noted as ab"):
            store(exists, tmp_path, confirm="size")

    def test_who_may_not_list_is_not_told_that_there_is_nothing(self, tmp_path: Path) -> None:
        """A look before many parts may fail; where the look is what protects the object, it may not."""
        there = {"ContentLength": 5 * MIB, "ChecksumSHA256": "x", "Metadata": {}}
        denied = refused(403, "403")
        client = ScriptedStore(denied, there, list_multipart_uploads=refused(403, "AccessDenied"))
        with pytest.raises(Unconfirmed):
            store(client, tmp_path, 5 * MIB)
        assert client.asked[-2:] == ["complete_multipart_upload", "head_object"]
        with pytest.raises(ClientError):
            store(ScriptedStore(denied), tmp_path, never_overwrite="head")

    def test_what_cannot_be_aborted_is_left(self, tmp_path: Path) -> None:
        refuses = {"upload_part": refused(409, "Conflict"), "abort_multipart_upload": refused(403, "AccessDenied")}
        client = ScriptedStore(refused(404, "404"), **refuses)
        with pytest.raises(ClientError, match="Conflict"):
            store(client, tmp_path, 5 * MIB)
        assert client.asked[-1] == "abort_multipart_upload"


class TestComparing:
    def test_size_and_note(self) -> None:
        assert difference({"ContentLength": 10}, 10, SHA256) is None
        assert difference({"ContentLength": 10, **NOTED}, 10, SHA256) is None
        assert difference({"ContentLength": 10, **NOTED}, 11, SHA256) == "it has 10 bytes instead of 11"
        assert difference({"ContentLength": 10, **NOTED}, 10, "ab") == f"its SHA-256 is noted as {SHA256}"

    @pytest.mark.parametrize(
        ("head", "same"),
        [
            ({"ChecksumSHA256": OURS}, True),
            ({"ChecksumSHA256": OURS, "ChecksumType": "FULL_OBJECT"}, True),
            ({"ChecksumSHA256": OTHERS, **NOTED}, False),
            # of parts: only the note tells
            ({"ChecksumSHA256": f"{OTHERS}-3", **NOTED}, True),
            ({"ChecksumSHA256": OTHERS, "ChecksumType": "COMPOSITE", **NOTED}, True),
            ({"ChecksumSHA256": f"{OURS}-1"}, False),
            ({"ChecksumCRC32": "AAAAAA==", **NOTED}, True),
            ({"ChecksumCRC32": "AAAAAA=="}, False),
        ],
    )
    def test_what_is_there_already(self, head: dict[str, Any], same: bool) -> None:
        assert (other_checksum(head, algorithm("sha256"), None, SHA256) is None) == same

    @pytest.mark.parametrize(
        ("head", "same"),
        [
            ({"ChecksumSHA256": f"{OTHERS}-3"}, True),
            ({"ChecksumSHA256": OTHERS, "ChecksumType": "COMPOSITE"}, True),
            ({"ChecksumSHA256": f"{OURS}-3", **NOTED}, False),
            ({"ChecksumSHA256": OURS}, True),
            ({"ChecksumSHA256": OTHERS}, False),
        ],
    )
    def test_what_was_sent_in_parts(self, head: dict[str, Any], same: bool) -> None:
        own = Sum(OTHERS, is_composite=True)
        assert (other_checksum(head, algorithm("sha256"), own, SHA256) is None) == same


@pytest.mark.parametrize(("name", "check"), [("crc32", "y/Q5Jg=="), ("crc64nvme", "rosUhgp5mIg=")])
def test_checksums_of_the_digits(name: str, check: str) -> None:
    """The published check value of each: that of 123456789."""
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
