"""A file that does not match its sidecar is not stored."""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from audiohookd.interfaces import Undeliverable
from audiohookd_plugins.s3 import S3Config
from audiohookd_plugins.s3.bucket import Bucket
from audiohookd_plugins.s3.errors import UploadRejected
from audiohookd_plugins.s3.naming import Naming
from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Corrupt
from tests.stores.seaweedfs import SeaweedFS

Make = Callable[..., Carrier]
LARGE = {"multipart_threshold": 5 << 20, "part_size": 5 << 20}
LARGE_SIZE = 5 * MIB + 1000


def keys(store: Any, prefix: str) -> list[str]:
    return [entry["Key"] for entry in store.list_objects_v2(Bucket="recordings", Prefix=prefix).get("Contents", [])]


@pytest.mark.parametrize("checksum", ["sha256", "crc32"])
@pytest.mark.parametrize("size", [1000, LARGE_SIZE])
def test_a_damaged_file(checksum: str, size: int, carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"a" * size)
    damaged = b"a" * (size - 1) + b"b"
    recording.audio.write_bytes(damaged)
    with pytest.raises(Undeliverable) as caught:
        carrier(checksum=checksum, **LARGE).carry(recording)
    assert hashlib.sha256(damaged).hexdigest() in str(caught.value)
    assert hashlib.sha256(b"a" * size).hexdigest() in str(caught.value)
    assert keys(store, f"{DAY}/{recording.id}") == []


def test_a_file_of_another_size(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"a" * 100)
    recording.audio.write_bytes(b"a" * 99)
    with pytest.raises(Undeliverable, match="has 99 bytes; its sidecar says 100"):
        carrier().carry(recording)
    assert keys(store, f"{DAY}/{recording.id}") == []


@pytest.mark.parametrize("size", [1000, LARGE_SIZE])
def test_damage_on_the_way_is_tried_again(
    size: int, carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path
) -> None:
    recording = spooled(tmp_path, b"a" * size)
    proxy.fault(Corrupt(500), method="PUT")
    uploader = carrier(endpoint_url=proxy.endpoint, **LARGE)
    with pytest.raises(UploadRejected):
        uploader.carry(recording)
    assert keys(store, f"{DAY}/{recording.id}") == []
    receipt = uploader.carry(recording)
    assert store.get_object(Bucket="recordings", Key=receipt["key"])["Body"].read() == b"a" * size


@pytest.mark.parametrize(
    "text", ["", "{", '{"recording": 7}', '{"recording": {"startedAt": "2026-01-31T12:00:00Z"}}', "\xff"]
)
def test_an_invalid_sidecar_is_undeliverable(text: str, carrier: Make, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    recording.sidecar.write_text(text, "latin-1")
    with pytest.raises(Undeliverable, match="is no sidecar"):
        carrier().carry(recording)


def test_a_sidecar_that_cannot_be_read_is_tried_again(carrier: Make, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    recording.sidecar.unlink()
    with pytest.raises(FileNotFoundError):
        carrier().carry(recording)


def test_a_disk_that_fails_is_not_the_stores_fault(
    seaweedfs: SeaweedFS, store: Any, loader: Loader, tmp_path: Path
) -> None:
    """botocore reports any error while it sends as a connection failure."""
    reads = iter(range(1000))

    def fail_late() -> None:
        if next(reads) >= 1:
            raise OSError(errno.EIO, "Input/output error")

    config = S3Config(bucket="recordings", endpoint_url=seaweedfs.endpoint, path_style=True)
    recording = spooled(tmp_path, b"a" * 4 * MIB)
    bucket = Bucket(config, config, Naming(config), fail_late, lambda: 0.0, loader)
    with pytest.raises(OSError, match="Input/output error"):
        bucket.carry(recording)
    bucket.close()
    assert keys(store, f"{DAY}/{recording.id}") == []
