"""Outages of a store, of the network and of credentials: everything waits, then continues."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from audiohookd.interfaces import Unavailable
from audiohookd.spool.catalog import Recording
from audiohookd_plugins.s3.object_upload import PROBE
from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Cut, Fault, Hang, Reset
from tests.stores.ports import free_ports
from tests.stores.seaweedfs import SeaweedFS

Make = Callable[..., Carrier]
#: More attempts than one request makes.
OFTEN = 4
#: Seconds to wait for a missing response, enough for credentials on a busy machine.
PATIENCE = 1.0


def refusal(carrier: Carrier, recording: Recording) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        carrier.carry(recording)
    assert SeaweedFS.secret_key not in str(caught.value)
    assert SeaweedFS.access_key not in str(caught.value)
    return caught.value


def arrives(carrier: Carrier, recording: Recording, store: Any) -> bool:
    receipt = carrier.carry(recording)
    data: bytes = store.get_object(Bucket=receipt["bucket"], Key=receipt["key"])["Body"].read()
    return data == recording.audio.read_bytes()


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Answer(503, "SlowDown"), "SlowDown"),
        (Answer(400, "ExpiredToken"), "check the credentials"),
        (Reset(), "Connection was closed"),
        (Cut(100_000), "Connection"),
    ],
    ids=str,
)
def test_a_fault_that_passes(
    fault: Fault, text: str, carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path
) -> None:
    passes(fault, text, carrier(endpoint_url=proxy.endpoint), proxy, store, tmp_path)


def test_a_hang_times_out(carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    passes(Hang(), "Read timeout", carrier(endpoint_url=proxy.endpoint, timeout=PATIENCE), proxy, store, tmp_path)


def passes(fault: Fault, text: str, uploader: Carrier, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    """The error is reported, nothing is left in the store, and the recording arrives after the outage."""
    recording = spooled(tmp_path, b"a" * MIB)
    proxy.fault(fault, times=OFTEN, method="PUT")
    assert text in str(refusal(uploader, recording))
    assert "Contents" not in store.list_objects_v2(Bucket="recordings", Prefix=f"{DAY}/{recording.id}")
    proxy.heal()
    assert arrives(uploader, recording, store)


@pytest.mark.parametrize("status", [400, 403])
def test_a_head_tells_no_reason(status: int, carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    uploader = carrier(endpoint_url=proxy.endpoint)
    proxy.fault(Answer(status, "SlowDown"), times=OFTEN, method="HEAD")
    assert f"HeadObject: {status}" in str(refusal(uploader, recording))
    proxy.heal()
    assert arrives(uploader, recording, store)


@pytest.mark.parametrize("fault", [Answer(503, "SlowDown"), Reset(), Cut(1000)], ids=str)
def test_a_single_fault_is_not_logged(
    fault: Fault, carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path
) -> None:
    proxy.fault(fault, times=1, method="PUT")
    assert arrives(carrier(endpoint_url=proxy.endpoint), spooled(tmp_path, b"a" * MIB), store)
    assert len(proxy.log) - proxy.count(path=PROBE) == 5


def test_a_refused_connection_makes_it_wait(carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    uploader = carrier(endpoint_url=proxy.endpoint)
    proxy.refuse()
    assert "Could not connect" in str(refusal(uploader, recording))
    proxy.accept()
    assert arrives(uploader, recording, store)


def test_an_unknown_host_makes_it_wait(carrier: Make, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    uploader = carrier(endpoint_url=f"http://store.invalid:{port}")
    assert "Could not connect to the endpoint URL" in str(refusal(uploader, spooled(tmp_path)))


def test_the_bucket_is_gone_and_back(carrier: Make, seaweedfs: SeaweedFS, store: Any, tmp_path: Path) -> None:
    name = f"late-{uuid4()}"
    recording = spooled(tmp_path)
    uploader = carrier(bucket=name)
    assert f"bucket {name}: PutObject: NoSuchBucket" in str(refusal(uploader, recording))
    seaweedfs.create_bucket(name)
    assert arrives(uploader, recording, store)


def test_cut_in_the_middle_of_a_part(carrier: Make, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, b"ab" * 3 * MIB)
    uploader = carrier(endpoint_url=proxy.endpoint, multipart_threshold=5 << 20, part_size=5 << 20)
    proxy.fault(Cut(500_000), times=2, method="PUT", path="partNumber=2")
    refusal(uploader, recording)
    assert arrives(uploader, recording, store)


class TestCredentials:
    """boto3's chain is queried again each time that the credentials are rejected."""

    @pytest.fixture
    def file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        file = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        return file

    def write(self, file: Path, access_key: str, secret_key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n")

    def test_credentials_may_be_missing_at_first(self, file: Path, carrier: Make, store: Any, tmp_path: Path) -> None:
        recording = spooled(tmp_path)
        uploader = carrier()
        assert "Unable to locate credentials" in str(refusal(uploader, recording))
        self.write(file, SeaweedFS.access_key, SeaweedFS.secret_key)
        assert arrives(uploader, recording, store)

    @pytest.mark.parametrize(
        ("keys", "way", "text"),
        [
            (("taken-back", SeaweedFS.secret_key), "if-none-match", "PutObject: InvalidAccessKeyId"),
            ((SeaweedFS.access_key, "changed"), "if-none-match", "PutObject: SignatureDoesNotMatch"),
            ((SeaweedFS.access_key, "changed"), "head", "HeadObject: 403"),
        ],
        ids=["taken back", "changed", "head"],
    )
    def test_credentials_may_change_in_their_file(
        self, keys: tuple[str, str], way: str, text: str, file: Path, carrier: Make, store: Any
    ) -> None:
        self.write(file, *keys)
        recording = spooled(file.parent)
        uploader = carrier(overwrite_protection=way)
        told = str(refusal(uploader, recording))
        assert text in told
        assert "taken-back" not in told
        assert "changed" not in told
        self.write(file, SeaweedFS.access_key, SeaweedFS.secret_key)
        assert arrives(uploader, recording, store)
