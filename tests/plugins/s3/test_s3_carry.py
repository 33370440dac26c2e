"""Recordings arrive at a real store."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled

Make = Callable[..., Carrier]


def stored(store: Any, receipt: dict[str, Any], which: str = "key") -> bytes:
    data: bytes = store.get_object(Bucket=receipt["bucket"], Key=receipt[which])["Body"].read()
    return data


def head(store: Any, receipt: dict[str, Any], which: str = "key") -> dict[str, Any]:
    answer: dict[str, Any] = store.head_object(Bucket=receipt["bucket"], Key=receipt[which], ChecksumMode="ENABLED")
    return answer


def test_audio_and_sidecar_arrive_as_they_are(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"some audio")
    receipt = carrier().carry(recording)
    assert stored(store, receipt) == b"some audio"
    assert stored(store, receipt, "sidecar") == recording.sidecar.read_bytes()
    assert receipt["key"] == f"{DAY}/{recording.id}.wav"
    assert receipt["sidecar"] == f"{DAY}/{recording.id}.json"


def test_the_receipt_says_where_and_what(carrier: Make, seaweedfs: Any, tmp_path: Path) -> None:
    receipt = carrier().carry(spooled(tmp_path, b"some audio"))
    assert json.loads(json.dumps(receipt)) == receipt
    assert receipt["bucket"] == "recordings"
    assert receipt["endpoint_url"] == seaweedfs.endpoint
    assert receipt["bytes"] == 10
    assert receipt["sha256"] == hashlib.sha256(b"some audio").hexdigest()
    assert receipt["fallback"] is False


def test_a_recording_without_audio_is_a_sidecar(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, None)
    receipt = carrier().carry(recording)
    assert stored(store, receipt, "sidecar") == recording.sidecar.read_bytes()
    assert receipt["key"] is receipt["bytes"] is receipt["sha256"] is None


def test_the_sidecar_goes_last(carrier: Make, store: Any, proxy: Any, tmp_path: Path) -> None:
    uploader = carrier(endpoint_url=proxy.endpoint)
    uploader.carry(spooled(tmp_path / "1"))  # with the probe of the store
    proxy.log.clear()
    uploader.carry(spooled(tmp_path / "2"))
    puts = [seen.path for seen in proxy.log if seen.method == "PUT"]
    assert [path.rpartition(".")[2] for path in puts] == ["wav", "json"]
    ways = [(seen.method, seen.path.rpartition(".")[2]) for seen in proxy.log]
    assert ways == [("PUT", "wav"), ("HEAD", "wav"), ("PUT", "json"), ("HEAD", "json")]


@pytest.mark.parametrize(
    ("checksum", "member"), [("sha256", "SHA256"), ("crc32", "CRC32"), ("crc64nvme", "CRC64NVME")]
)
@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_all_checksums_at_once_and_in_parts(
    checksum: str, member: str, size: int, carrier: Make, store: Any, tmp_path: Path
) -> None:
    audio = bytes(range(250)) * (size // 250)
    receipt = carrier(checksum=checksum, multipart_threshold=6 << 20, part_size=5 << 20).carry(
        spooled(tmp_path, audio)
    )
    about = head(store, receipt)
    assert stored(store, receipt) == audio
    assert about[f"Checksum{member}"]
    assert ("-3" in about["ETag"]) == (size > 6 * MIB)
    assert about["Metadata"]["audiohookd-sha256"] == hashlib.sha256(audio).hexdigest()
