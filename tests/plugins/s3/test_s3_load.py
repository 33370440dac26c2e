"""Many uploads at a time, large files, and shutdown during an upload."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from audiohookd_plugins.s3 import Interrupted, S3Config
from audiohookd_plugins.s3.bucket import Bucket
from audiohookd_plugins.s3.multipart import PARTS, part_size
from audiohookd_plugins.s3.naming import Naming
from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled
from tests.stores.seaweedfs import SeaweedFS

Make = Callable[..., Carrier]


@pytest.mark.parametrize("size", [200 * MIB, 63 * MIB], ids=["parts", "whole"])
def test_memory_does_not_grow_with_the_file(size: int, carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, bytes(size))
    uploader = carrier()
    uploader.carry(spooled(tmp_path))  # allocates everything that is allocated once
    tracemalloc.start()
    try:
        receipt = uploader.carry(recording)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert receipt["bytes"] == size
    assert peak < 8 * MIB
    store.delete_object(Bucket="recordings", Key=receipt["key"])
    recording.audio.unlink()


def test_many_threads_share_one_client(seaweedfs: SeaweedFS, store: Any, loader: Loader, tmp_path: Path) -> None:
    config = S3Config(
        bucket="recordings", endpoint_url=seaweedfs.endpoint, path_style=True, concurrency=8, key="many/{recording}"
    )
    bucket = Bucket(config, config, Naming(config), lambda: None, lambda: 0.0, loader)
    recordings = [spooled(tmp_path, f"call {number}".encode()) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(bucket.carry, recordings))
    bucket.close()
    found = {entry["Key"] for entry in store.list_objects_v2(Bucket="recordings", Prefix="many/")["Contents"]}
    assert found == {receipt[which] for receipt in receipts for which in ("key", "sidecar")}
    assert len(found) == 80
    last = store.get_object(Bucket="recordings", Key=receipts[-1]["key"])
    assert last["Body"].read() == b"call 39"


def test_the_end_of_the_daemon_ends_uploads(carrier: Make, store: Any, tmp_path: Path) -> None:
    uploader = carrier(multipart_threshold=5 << 20, part_size=5 << 20)
    uploader.plugin.startService()
    recording = spooled(tmp_path, bytes(6 * MIB))
    uploader.plugin.stopService()
    with pytest.raises(Interrupted):
        uploader.carry(recording)
    prefix = f"{DAY}/{recording.id}"
    assert "Contents" not in store.list_objects_v2(Bucket="recordings", Prefix=prefix)
    assert "Uploads" not in store.list_multipart_uploads(Bucket="recordings", Prefix=prefix)


@pytest.mark.parametrize(
    ("size", "wanted", "part"),
    [
        (1, 5 * MIB, 5 * MIB),
        (PARTS * 5 * MIB, 5 * MIB, 5 * MIB),
        (PARTS * 5 * MIB + 1, 5 * MIB, 6 * MIB),
        (5 << 40, 5 * MIB, 525 * MIB),
    ],
)
def test_there_are_never_too_many_parts(size: int, wanted: int, part: int) -> None:
    assert part_size(size, wanted) == part
    assert -(-size // part) <= PARTS
