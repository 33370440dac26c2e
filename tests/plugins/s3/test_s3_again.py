"""A recording is uploaded again, after a crash or a lost response, and is stored once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiohookd.interfaces import Unavailable, Undeliverable
from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Lose, Reset

Make = Callable[..., Carrier]
LARGE = {"multipart_threshold": 5 << 20, "part_size": 5 << 20}
LARGE_AUDIO = b"0123456789abcdef" * (5 * MIB // 16 + 99)


def put(store: Any, key: str, body: bytes, **options: Any) -> None:
    store.put_object(Bucket="recordings", Key=key, Body=body, **options)


def get(store: Any, key: str) -> bytes:
    data: bytes = store.get_object(Bucket="recordings", Key=key)["Body"].read()
    return data


def unfinished(store: Any, prefix: str) -> list[str]:
    answer = store.list_multipart_uploads(Bucket="recordings", Prefix=prefix)
    return [entry["Key"] for entry in answer.get("Uploads", [])]


@pytest.mark.parametrize("way", ["if-none-match", "head"])
@pytest.mark.parametrize("audio", [b"small", LARGE_AUDIO], ids=["small", "large"])
def test_it_counts_as_stored(way: str, audio: bytes, carrier: Make, proxy: FaultProxy, tmp_path: Path) -> None:
    recording = spooled(tmp_path, audio)
    first = carrier(**LARGE).carry(recording)
    again = carrier(overwrite_protection=way, endpoint_url=proxy.endpoint, **LARGE).carry(recording)
    assert again == first | {"endpoint_url": proxy.endpoint}
    assert proxy.count("PUT", r"\.(wav|json)", 200) == proxy.count("POST", r"\.wav", status=200) == 0
    assert proxy.received < 10_000


@pytest.mark.parametrize("way", ["if-none-match", "head"])
@pytest.mark.parametrize("audio", [b"small", LARGE_AUDIO], ids=["small", "large"])
def test_another_object_is_not_overwritten(way: str, audio: bytes, carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, audio)
    put(store, f"{DAY}/{recording.id}.wav", b"other")
    with pytest.raises(Undeliverable, match="another object is at s3://recordings/"):
        carrier(overwrite_protection=way, **LARGE).carry(recording)
    assert get(store, f"{DAY}/{recording.id}.wav") == b"other"
    assert "Contents" not in store.list_objects_v2(Bucket="recordings", Prefix=f"{DAY}/{recording.id}.json")


def test_one_of_the_same_size_is_another(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"mine!")
    put(store, f"{DAY}/{recording.id}.wav", b"other", ChecksumAlgorithm="SHA256")
    with pytest.raises(Undeliverable, match=r"another object is at .* has the SHA-256"):
        carrier().carry(recording)


def test_another_sidecar_is_not_overwritten(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    put(store, f"{DAY}/{recording.id}.json", b"{}")
    with pytest.raises(Undeliverable, match=r"\.json: it has 2 bytes"):
        carrier().carry(recording)


def test_the_same_bytes_from_elsewhere_count(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"mine!")
    put(store, f"{DAY}/{recording.id}.wav", b"mine!", ChecksumAlgorithm="SHA256")
    assert carrier().carry(recording)["bytes"] == 5


def test_an_object_without_our_metadata_is_read_back(carrier: Make, store: Any, tmp_path: Path) -> None:
    same, other = spooled(tmp_path / "1", b"mine!"), spooled(tmp_path / "2", b"mine!")
    put(store, f"{DAY}/{same.id}.wav", b"mine!", ChecksumAlgorithm="CRC32")
    put(store, f"{DAY}/{other.id}.wav", b"other", ChecksumAlgorithm="CRC32")
    assert carrier().carry(same)["bytes"] == 5
    with pytest.raises(Undeliverable, match="read back, it has the SHA-256"):
        carrier().carry(other)


def test_an_end_between_audio_and_sidecar(carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    proxy.fault(Reset(), times=None, method="PUT", path=r"\.json")
    uploader = carrier(endpoint_url=proxy.endpoint)
    with pytest.raises(Unavailable):
        uploader.carry(recording)
    before = store.head_object(Bucket="recordings", Key=f"{DAY}/{recording.id}.wav")
    proxy.heal()
    uploader.carry(recording)
    after = store.head_object(Bucket="recordings", Key=f"{DAY}/{recording.id}.wav")
    assert get(store, f"{DAY}/{recording.id}.json") == recording.sidecar.read_bytes()
    assert after["LastModified"] == before["LastModified"]


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_a_lost_answer(method: str, carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    proxy.fault(Lose(), method=method)
    receipt = carrier(endpoint_url=proxy.endpoint).carry(spooled(tmp_path, b"once"))
    assert proxy.count(status="lose") == 1
    assert get(store, receipt["key"]) == b"once"


@pytest.mark.parametrize("other", [{"part_size": 6 << 20}, {"checksum": "crc32"}, {"multipart_threshold": 60 << 20}])
def test_other_settings_than_before(other: dict[str, Any], carrier: Make, tmp_path: Path) -> None:
    recording = spooled(tmp_path, LARGE_AUDIO)
    first = carrier(**LARGE).carry(recording)
    assert carrier(**(LARGE | other)).carry(recording) == first


def test_an_upload_left_by_a_crash_is_aborted(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, LARGE_AUDIO)
    key = f"{DAY}/{recording.id}.wav"
    for upload_key in (key, f"{key}.other"):
        store.create_multipart_upload(Bucket="recordings", Key=upload_key)
    carrier(**LARGE).carry(recording)
    assert unfinished(store, key) == [f"{key}.other"]


def test_a_failed_upload_is_aborted(carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, LARGE_AUDIO)
    proxy.fault(Reset(), times=2, method="PUT", path="partNumber=2")
    with pytest.raises(Unavailable):
        carrier(endpoint_url=proxy.endpoint, **LARGE).carry(recording)
    assert proxy.count("PUT", "partNumber=1", 200) == 1
    assert unfinished(store, f"{DAY}/{recording.id}") == []


def test_audio_that_only_the_bucket_has_is_confirmed(carrier: Make, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    first = carrier().carry(recording)
    recording.audio.unlink()
    assert carrier().carry(recording) == first


def test_missing_audio_is_undeliverable(carrier: Make, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    recording.audio.unlink()
    with pytest.raises(Undeliverable, match=f"{recording.id}.wav is neither in the spool nor at s3://"):
        carrier().carry(recording)
    assert "Contents" not in store.list_objects_v2(Bucket="recordings", Prefix=f"{DAY}/{recording.id}")
