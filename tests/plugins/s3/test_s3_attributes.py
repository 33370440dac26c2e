"""Attributes of objects: encryption, storage class, tags, metadata, and custom keys."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from audiohookd.testing import CONVERSATION_ID, ORGANIZATION_ID
from audiohookd_plugins.s3.config import Fallback
from tests.plugins.s3.s3_rig import Carrier, spooled
from tests.stores.ports import free_ports

Make = Callable[..., Carrier]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Accepts any KMS key, and reports which one was used; SeaweedFS has no KMS."""
    (port,) = free_ports(1)
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str) -> Iterator[Any]:
    client = boto3.client("s3", endpoint_url=moto)
    for name in ("recordings", "elsewhere"):
        client.create_bucket(Bucket=name)
    yield client
    client.close()


def heads(client: Any, receipt: dict[str, Any]) -> list[dict[str, Any]]:
    return [client.head_object(Bucket=receipt["bucket"], Key=receipt[which]) for which in ("key", "sidecar")]


def test_objects_are_encrypted_by_kms(carrier: Make, moto: str, aws: Any, tmp_path: Path) -> None:
    receipt = carrier(endpoint_url=moto, sse="aws:kms", kms_key_id="alias/calls").carry(spooled(tmp_path))
    for head in heads(aws, receipt):
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/calls")


def test_parts_are_encrypted_by_kms(carrier: Make, moto: str, aws: Any, tmp_path: Path) -> None:
    parts = {"multipart_threshold": 5 << 20, "part_size": 5 << 20, "checksum": "crc32"}
    uploader = carrier(endpoint_url=moto, sse="aws:kms", kms_key_id="alias/calls", **parts)
    head, _ = heads(aws, uploader.carry(spooled(tmp_path, bytes(6 << 20))))
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/calls")
    assert "-2" in head["ETag"]


def test_the_fallback_has_its_own_key(carrier: Make, moto: str, aws: Any, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    uploader = carrier(
        endpoint_url=f"http://127.0.0.1:{nobody}",
        sse="aws:kms",
        kms_key_id="alias/calls",
        fallback=Fallback("elsewhere", endpoint_url=moto, path_style=True, kms_key_id="alias/second"),
        fallback_after=0.0,
    )
    receipt = uploader.carry(spooled(tmp_path))
    assert receipt["fallback"]
    assert [head["SSEKMSKeyId"] for head in heads(aws, receipt)] == ["alias/second"] * 2


def test_versions_stand_in_the_receipt(carrier: Make, moto: str, aws: Any, tmp_path: Path) -> None:
    aws.create_bucket(Bucket="versions")
    aws.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    receipt = carrier(endpoint_url=moto, bucket="versions").carry(spooled(tmp_path))
    assert [head["VersionId"] for head in heads(aws, receipt)] == [receipt["version"], receipt["sidecar_version"]]


def test_sse_s3_and_storage_class(carrier: Make, store: Any, tmp_path: Path) -> None:
    receipt = carrier(sse="AES256", storage_class="STANDARD_IA").carry(spooled(tmp_path))
    for head in heads(store, receipt):
        assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", "STANDARD_IA")


@pytest.mark.parametrize("size", [100, 6 << 20])
def test_tags_and_metadata(size: int, carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, bytes(size), language="de/é")
    uploader = carrier(
        tags={"kind": "call audio+", "language": "{language}"},
        metadata={"organization": "{organization}", "note": "made in {year}"},
        multipart_threshold=5 << 20,
        part_size=5 << 20,
    )
    receipt = uploader.carry(recording)
    for head, which in zip(heads(store, receipt), ("key", "sidecar"), strict=True):
        assert head["Metadata"].pop("audiohookd-sha256")
        assert head["Metadata"] == {
            "organization": ORGANIZATION_ID,
            "note": "made in 2026",
            "audiohookd-recording": recording.id,
        }
        tags = store.get_object_tagging(Bucket=receipt["bucket"], Key=receipt[which])["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"kind": "call audio+", "language": "de=2F=C3=A9"}


def test_names_of_objects(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, route="/a b/../c", language="")
    receipt = carrier(key="calls/{conversation}/{route}/{language}/{recording}").carry(recording)
    assert receipt["key"] == f"calls/{CONVERSATION_ID}/a=20b=2F..=2Fc/none/{recording.id}.wav"
    assert heads(store, receipt)[0]["ContentType"] == "audio/wav"
    assert heads(store, receipt)[1]["ContentType"] == "application/json"


def test_a_role_by_web_identity(
    carrier: Make, moto: str, aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Kubernetes: boto3's chain calls STS by itself."""
    (tmp_path / "token").write_text("a.web.token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/recorder")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
    assert carrier(endpoint_url=moto).carry(spooled(tmp_path))["bucket"] == "recordings"
