"""The installed daemon uploads recordings to a real S3 store over an unreliable connection."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.place import Place
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Corrupt, Cut, Fault, Hang, Lose, Reset
from tests.stores.memory_store import Trait, memory_store
from tests.stores.seaweedfs import SeaweedFS

#: Seconds to wait for an upload with its retries.
PATIENCE = 30.0
AUDIO = bytes(range(256)) * 100
#: Credentials for a store that does not check signatures.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "eu-central-1"}


class Bucket:
    """An empty bucket, and a proxy that breaks connections to it on demand."""

    def __init__(self, store: SeaweedFS, proxy: FaultProxy) -> None:
        self.name = f"functional-{uuid4()}"
        self.store, self.line = store, proxy
        self._client = store.client()

    def keys(self, count: int) -> list[str]:
        """Waits for ``count`` keys, and returns them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            keys = [entry["Key"] for entry in self._client.list_objects_v2(Bucket=self.name).get("Contents", ())]
            if len(keys) >= count or time.monotonic() > deadline:
                return sorted(keys)
            time.sleep(0.02)

    def content(self, key: str) -> bytes:
        """The content of an object."""
        body: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> Iterator[Bucket]:
    with FaultProxy(seaweedfs.port) as proxy:
        there = Bucket(seaweedfs, proxy)
        seaweedfs.create_bucket(there.name)
        yield there


@pytest.fixture
def carrying(place: Callable[..., Place], bucket: Bucket) -> Iterator[Place]:
    """A place with a running daemon that uploads to the bucket."""
    s3 = {"bucket": bucket.name, "endpoint_url": bucket.line.endpoint, "path_style": True, "timeout": 1.0}
    delivery = {"retry_initial_delay": "50 ms", "retry_max_delay": "200 ms"}
    there = place(**{"delivery": delivery, "plugins.s3": s3})
    with Daemon(there.bin, there.config, bucket.store.credentials()):
        yield there


def record(there: Place) -> str:
    """Makes a call with :data:`AUDIO`, and returns its session id."""
    with Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        caller.audio(AUDIO)
        assert caller.close()["type"] == "closed"
        return caller.session


def wait_for(has_come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not has_come():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_empty(there: Place) -> None:
    wait_for(lambda: not list(there.spool.glob("ready/*/*")))


def verify(there: Place, bucket: Bucket) -> subprocess.CompletedProcess[str]:
    command: list[Any] = [there.bin / "audiohookctl", "verify", f"s3://{bucket.name}", "--path-style"]
    command += ["--endpoint-url", bucket.store.endpoint]
    environment = os.environ | bucket.store.credentials()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_recording_is_uploaded_and_deleted_locally(carrying: Place, bucket: Bucket) -> None:
    session = record(carrying)
    sidecar_key, audio_key = bucket.keys(2)
    assert audio_key == sidecar_key.removesuffix("json") + "wav"
    about: dict[str, Any] = json.loads(bucket.content(sidecar_key))["recording"]
    assert (about["session"], about["samples"]) == (session, len(AUDIO) // 2)
    assert bucket.content(audio_key).endswith(AUDIO)
    assert audio_key == f"{about['startedAt'][:10]}/{about['audio']['file']}"
    wait_until_empty(carrying)
    done = verify(carrying, bucket)
    assert done.returncode == 0, done.stdout + done.stderr


FAULTS: list[Any] = [
    Answer(503, "SlowDown"),
    Answer(500, "InternalError"),
    Answer(400, "ExpiredToken"),
    Answer(400, "BadDigest"),
    Hang(),
    Reset(),
    Cut(10_000),
    Corrupt(5_000),
    Lose(),
]


def test_every_failed_upload_is_retried(carrying: Place, bucket: Bucket) -> None:
    sessions = set()
    for number, fault in enumerate(FAULTS, 1):
        bucket.line.fault(fault, method="PUT", path=r"\.wav")
        sessions.add(record(carrying))
        assert len(bucket.keys(2 * number)) == 2 * number, fault
    wait_until_empty(carrying)
    contents = {key: bucket.content(key) for key in bucket.keys(2 * len(FAULTS))}
    assert len(contents) == 2 * len(FAULTS)
    assert all(content.endswith(AUDIO) for key, content in contents.items() if key.endswith(".wav"))
    sidecars = [json.loads(content) for key, content in contents.items() if key.endswith(".json")]
    assert {sidecar["recording"]["session"] for sidecar in sidecars} == sessions
    assert verify(carrying, bucket).returncode == 0


def test_no_sidecar_is_uploaded_before_its_audio(carrying: Place, bucket: Bucket) -> None:
    faults: list[tuple[str, Fault]] = [("PUT", Answer(503, "SlowDown")), ("HEAD", Reset()), ("PUT", Lose())]
    for number, (method, fault) in enumerate(faults):
        tried, sidecars = bucket.line.count(method, r"\.wav"), bucket.line.count(path=r"\.json")
        bucket.line.fault(fault, times=None, method=method, path=r"\.wav")
        record(carrying)
        wait_for(lambda method=method, tried=tried: bucket.line.count(method, r"\.wav") >= tried + 3)  # type: ignore[misc]
        assert bucket.line.count(path=r"\.json") == sidecars
        bucket.line.heal()
        wait_until_empty(carrying)
        assert len(bucket.keys(0)) == 2 * number + 2


def test_a_bucket_created_later_gets_the_recordings(place: Callable[..., Place], seaweedfs: SeaweedFS) -> None:
    with FaultProxy(seaweedfs.port) as proxy:
        bucket = Bucket(seaweedfs, proxy)
        s3 = {"bucket": bucket.name, "endpoint_url": proxy.endpoint, "path_style": True}
        there = place(**{"delivery": {"retry_initial_delay": "50 ms", "retry_max_delay": "200 ms"}, "plugins.s3": s3})
        with Daemon(there.bin, there.config, seaweedfs.credentials()):
            record(there)
            wait_for(lambda: proxy.count("PUT", status=404) > 0)
            assert not list(there.spool.glob("dead/*/*"))
            seaweedfs.create_bucket(bucket.name)
            (there.spool / "wake").touch()
            assert len(bucket.keys(2)) == 2


def test_recordings_ready_before_the_start_are_uploaded(place: Callable[..., Place], bucket: Bucket) -> None:
    there = place()
    with there.daemon():
        record(there)
        there.sidecars(1)
    there.write(**{"plugins.s3": {"bucket": bucket.name, "endpoint_url": bucket.line.endpoint, "path_style": True}})
    with Daemon(there.bin, there.config, bucket.store.credentials()):
        assert len(bucket.keys(2)) == 2
        wait_until_empty(there)


class TestTheStart:
    """Start and stop, without a call."""

    def test_the_log_warns_of_a_store_that_does_not_verify_checksums(self, place: Callable[..., Place]) -> None:
        with memory_store(Trait.VERIFIES_NOTHING) as store:
            s3 = {"bucket": "recordings", "endpoint_url": store.url, "path_style": True}
            there = place(**{"plugins.s3": s3})
            with Daemon(there.bin, there.config, CREDENTIALS) as daemon:
                wait_for(lambda: "the store does not verify checksums" in daemon.log())
            assert (store.count("POST"), store.objects, store.uploads) == (1, {}, {})

    def test_neither_start_nor_stop_wait_for_a_store_that_does_not_answer(self, place: Callable[..., Place]) -> None:
        with memory_store(Trait.HANGS_PROBE) as store:
            s3 = {"bucket": "recordings", "endpoint_url": store.url, "path_style": True}
            there = place(**{"plugins.s3": s3})
            with Daemon(there.bin, there.config, CREDENTIALS) as daemon:
                wait_for(store.probed.is_set)
                before = time.monotonic()
                daemon.stop()
                assert time.monotonic() - before < 20.0, "a request may take 60 s"
            store.release.set()
