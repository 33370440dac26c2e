"""``audiohookctl verify s3://...``, against a real store."""

import base64
import hashlib
import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify.bucket import Objects, pairs, split
from audiohookd.cli.verify.checking import Seen
from tests.cli.kept_spool import DAY, KeptSpool, Said, audiohookctl, id_of
from tests.cli.test_verify_files import large
from tests.stores.rude_server import Visit, rude_server
from tests.stores.seaweedfs import SeaweedFS


class Bucket:
    """A bucket with the recordings 1 and 2, and the command that verifies it."""

    def __init__(self, endpoint: str, client: Any, name: str) -> None:
        self.endpoint = endpoint
        self.client = client
        self.name = name

    def put(self, key: str, content: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content, **more)

    def fill(self, directory: Path, **more: Any) -> None:
        for path in sorted(directory.iterdir()):
            self.put(f"{DAY}/{path.name}", path.read_bytes(), **more)

    def key(self, number: int, suffix: str = "") -> str:
        return f"{DAY}/{id_of(number)}{suffix}"

    def url(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def verify(self, *arguments: str, key: str = "") -> Said:
        store = ("--endpoint-url", self.endpoint, "--path-style", "--region", "us-east-1")
        return audiohookctl("verify", *store, *arguments, self.url(key))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    spool = KeptSpool(tmp_path / "spool")
    spool.ready(1)
    spool.ready(2)
    spool.stop()
    return spool.layout.ready / DAY


@pytest.fixture
def bucket(seaweedfs: SeaweedFS, shop: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for variable, value in seaweedfs.credentials().items():
        monkeypatch.setenv(variable, value)
    name = f"verify-{hashlib.sha256(str(shop).encode()).hexdigest()[:20]}"
    seaweedfs.create_bucket(name)
    bucket = Bucket(seaweedfs.endpoint, seaweedfs.client(), name)
    bucket.fill(shop)
    return bucket


def test_correct_recordings_are_ok(bucket: Bucket) -> None:
    said = bucket.verify()
    assert (said.code, said.err) == (0, "")
    assert said.lines == [
        f"{bucket.url(bucket.key(1))}: ok",
        f"{bucket.url(bucket.key(2))}: ok",
        "2 recordings: 2 ok, 0 wrong; 31.4 KiB of audio read",
    ]


def test_a_store_that_redirects_is_asked_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def redirect(visit: Visit) -> None:
        visit.say(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")

    with rude_server() as server:
        server.answer = redirect
        store = ("--endpoint-url", server.url, "--path-style", "--region", "us-east-1")
        said = audiohookctl("verify", *store, "s3://recordings/")
    assert "cannot list" in said.err
    assert len(server.heads) <= 3


def test_a_prefix_selects_recordings(bucket: Bucket) -> None:
    bucket.put("elsewhere/x.wav", b"")
    assert bucket.verify(key=DAY).code == 0
    assert bucket.verify(key="elsewhere/").lines[0].endswith("x: there is no sidecar")


def test_a_prefix_without_anything_is_a_mistake(bucket: Bucket) -> None:
    """Otherwise a nightly job with a wrong prefix would always succeed."""
    said = bucket.verify(key="nothing")
    wanted = f"audiohookctl: verify: {bucket.url('nothing')}: no recordings found at this prefix\n"
    assert (said.code, said.err) == (2, wanted)


@pytest.mark.parametrize("suffix", [".wav", ".json"])
def test_a_single_object_names_its_recording(bucket: Bucket, suffix: str) -> None:
    bucket.put(bucket.key(1, "-more.wav"), b"")
    assert bucket.verify(key=bucket.key(1, suffix)).lines[:-1] == [f"{bucket.url(bucket.key(1))}: ok"]


def test_halves_and_changed_bytes_are_reported(bucket: Bucket, shop: Path) -> None:
    audio = bytearray((shop / f"{id_of(1)}.wav").read_bytes())
    audio[-1] ^= 1
    bucket.put(bucket.key(1, ".wav"), bytes(audio))
    bucket.put(bucket.key(3, ".wav"), bytes(audio))
    bucket.client.delete_object(Bucket=bucket.name, Key=bucket.key(2, ".wav"))
    first, second, third, summary = bucket.verify("--quiet").lines
    assert "the audio's SHA-256 is " in first
    assert second.endswith(f"{id_of(2)}: there is no audio")
    assert third.endswith(f"{id_of(3)}: there is no sidecar")
    assert summary.startswith("3 recordings: 0 ok, 3 wrong")


def test_quick_compares_what_the_store_knows(bucket: Bucket, shop: Path) -> None:
    audio = (shop / f"{id_of(1)}.wav").read_bytes()
    said = bucket.verify("--quick")
    assert (said.code, said.lines[-1]) == (0, "2 recordings: 2 ok, 0 wrong")
    bucket.put(bucket.key(1, ".wav"), audio[:-1])
    assert "the audio has 16093 bytes" in bucket.verify("--quick").lines[0]
    bucket.put(bucket.key(1, ".wav"), audio, ChecksumAlgorithm="SHA256")
    assert bucket.verify("--quick").code == 0
    bucket.put(bucket.key(1, ".wav"), b"!" + audio[1:], ChecksumAlgorithm="SHA256")
    assert "the audio's SHA-256 is" in bucket.verify("--quick").lines[0]
    bucket.put(bucket.key(1, ".wav"), audio, Metadata={"audiohookd-sha256": "0" * 64})
    assert "the audio's SHA-256 is" in bucket.verify("--quick").lines[0]
    bucket.client.delete_object(Bucket=bucket.name, Key=bucket.key(1, ".wav"))
    assert bucket.verify("--quick").lines[0].endswith("there is no audio")


def test_a_pair_on_two_pages_is_found(bucket: Bucket, shop: Path) -> None:
    """A page has at most 1,000 keys. Here it ends between sidecar and audio of a recording."""
    sidecar = (shop / f"{id_of(2)}.json").read_bytes()
    for number in range(3):
        bucket.put(f"{DAY}/a{number}.json", sidecar)
        bucket.put(f"{DAY}/a{number}.wav", (shop / f"{id_of(2)}.wav").read_bytes())
    original = bucket.client.get_paginator("list_objects_v2")
    keys = [
        entry["Key"]
        for page in original.paginate(Bucket=bucket.name, PaginationConfig={"PageSize": 3})
        for entry in page["Contents"]
    ]
    assert [stem for stem, _ in pairs(keys)] == [*(bucket.key(n) for n in (1, 2)), *(f"{DAY}/a{n}" for n in range(3))]
    assert bucket.verify().lines[-1].startswith("5 recordings: 5 ok")


class TestMistakes:
    def test_a_missing_bucket_is_a_mistake(self, bucket: Bucket) -> None:
        bucket.name = "no-such-bucket"
        said = bucket.verify()
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("audiohookctl: verify: cannot list s3://no-such-bucket/: ")
        assert said.err.count("\n") == 1

    def test_missing_credentials_are_a_mistake(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "absent"))
        said = bucket.verify()
        assert said.code == 2
        assert "Unable to locate credentials" in said.err

    def test_an_unknown_profile_is_a_mistake(self, bucket: Bucket) -> None:
        said = bucket.verify("--profile", "nobody")
        assert said.code == 2
        assert "The config profile (nobody) could not be found" in said.err

    @pytest.mark.parametrize("target", ["s3://", "s3:///key", "s3://bucket/key?version=1"])
    def test_an_invalid_url_is_a_mistake(self, target: str) -> None:
        with pytest.raises(UsageError, match="s3://bucket/prefix"):
            split(target)


class Broken:
    """A store that responds, then fails during the body."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def get_object(self, **_: Any) -> Any:
        return {"Body": self}

    def read(self, *_: int) -> bytes:
        raise self.fault

    def close(self) -> None:
        """See StreamingBody."""


def test_a_connection_that_breaks_while_reading_is_an_os_error() -> None:
    from botocore.exceptions import ResponseStreamingError  # noqa: PLC0415

    objects = Objects(Broken(ResponseStreamingError(error="cut")), "calls", "key", is_listed_alone=False)
    audio = objects.audio()
    assert audio is not None
    with pytest.raises(OSError, match="cut"), audio as stream:
        stream.read(10)
    sidecar = objects.sidecar()
    assert sidecar is not None
    with pytest.raises(OSError, match="cut"), sidecar as stream:
        stream.read(10)


class HeadStore:
    """A store that responds to every HEAD with ``head``."""

    def __init__(self, **head: Any) -> None:
        self.head = head

    def head_object(self, **_: Any) -> Any:
        return self.head


SHA256 = "ab" * 32


@pytest.mark.parametrize(
    "head",
    [
        {"Metadata": {"Audiohookd-Sha256": SHA256}},
        {"Metadata": {"audiohookd-sha256": SHA256}, "ChecksumSHA256": "AAAA-2"},
        {"Metadata": {"audiohookd-sha256": SHA256}, "ChecksumSHA256": "no base64", "ETag": '"x"'},
        {"Metadata": {"audiohookd-sha256": SHA256}, "ChecksumSHA256": "AAAA", "ChecksumType": "COMPOSITE"},
        {"ChecksumSHA256": base64.b64encode(bytes.fromhex(SHA256)).decode()},
    ],
)
def test_quick_takes_what_a_head_has(head: dict[str, Any]) -> None:
    objects = Objects(HeadStore(ContentLength=9, **head), "calls", "key", is_listed_alone=False)
    assert objects.seen() == Seen(9, sha256=SHA256)


def test_quick_names_what_a_head_lacks() -> None:
    with pytest.raises(OSError, match="no Content-Length: verify without --quick"):
        Objects(HeadStore(ETag='"x"'), "calls", "key", is_listed_alone=False).seen()


stems = st.text("ab./-", min_size=1, max_size=4)


@given(st.dictionaries(stems, st.sampled_from([(".json",), (".wav",), (".json", ".wav")])))
def test_a_sorted_listing_makes_pairs(found: dict[str, tuple[str, ...]]) -> None:
    keys = sorted((stem + suffix for stem, suffixes in found.items() for suffix in suffixes), key=str.encode)
    assert sorted(pairs(keys)) == sorted((stem, suffixes == (".wav",)) for stem, suffixes in found.items())


@given(st.sets(stems), st.randoms(use_true_random=False))
def test_an_unsorted_listing_misses_none(found: set[str], rng: Any) -> None:
    """Each recording is yielded once with its sidecar; a second time only as audio without a sidecar."""
    keys = [stem + suffix for stem in found for suffix in (".json", ".wav")]
    rng.shuffle(keys)
    assert sorted(stem for stem, is_alone in pairs(keys) if not is_alone) == sorted(found)


def test_audio_listed_before_its_sidecar_is_skipped(bucket: Bucket) -> None:
    assert Objects(bucket.client, bucket.name, bucket.key(1), is_listed_alone=True).is_moving()
    assert not Objects(bucket.client, bucket.name, bucket.key(9), is_listed_alone=True).is_moving()


def test_a_checksum_of_parts_says_nothing(bucket: Bucket, shop: Path) -> None:
    upload = bucket.client.create_multipart_upload(
        Bucket=bucket.name, Key=bucket.key(1, ".wav"), ChecksumAlgorithm="SHA256"
    )
    where = {"Bucket": bucket.name, "Key": bucket.key(1, ".wav"), "UploadId": upload["UploadId"]}
    audio = (shop / f"{id_of(1)}.wav").read_bytes()
    part = bucket.client.upload_part(**where, PartNumber=1, Body=io.BytesIO(audio), ChecksumAlgorithm="SHA256")
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    bucket.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert bucket.verify("--quick").code == 0
    seen = Objects(bucket.client, bucket.name, bucket.key(1), is_listed_alone=False).seen()
    assert seen == Seen(len(audio))


def test_memory_does_not_grow_with_the_object(bucket: Bucket, shop: Path) -> None:
    size = large(shop, 32)
    for suffix in (".wav", ".json"):
        bucket.client.upload_file(str(shop / f"{id_of(1)}{suffix}"), bucket.name, f"large{suffix}")
    tracemalloc.start()
    try:
        said = bucket.verify(key="large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said.code == 0
    assert said.lines[-1].startswith("1 recording: 1 ok, 0 wrong; 32.0 MiB")
    assert peak < 16 << 20 < size
