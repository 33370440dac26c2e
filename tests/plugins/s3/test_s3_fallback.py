"""Two buckets: when a recording is uploaded to the fallback, and when to the primary bucket again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from audiohookd.interfaces import Unavailable, Undeliverable
from audiohookd_plugins.s3 import PRIMARY_RETRY
from audiohookd_plugins.s3.config import Fallback
from audiohookd_plugins.s3.errors import UploadRejected
from tests.plugins.s3.s3_rig import Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer
from tests.stores.seaweedfs import SeaweedFS

Make = Callable[..., Carrier]
SECOND = "elsewhere"


@pytest.fixture(scope="module")
def _second(seaweedfs: SeaweedFS) -> None:
    seaweedfs.create_bucket(SECOND)


@pytest.fixture
def both(carrier: Make, proxy: FaultProxy, seaweedfs: SeaweedFS, _second: None) -> Carrier:
    """The primary bucket is behind the fault proxy."""
    fallback: dict[str, Any] = {"bucket": SECOND, "endpoint_url": seaweedfs.endpoint, "path_style": True}
    return carrier(endpoint_url=proxy.endpoint, fallback=Fallback(**fallback), fallback_after=60.0)


def go_down(carrier: Carrier, proxy: FaultProxy, tmp_path: Path, seconds: float = 60.0) -> None:
    """The primary bucket has been unavailable for so long already."""
    proxy.fault(Answer(403, "AccessDenied"), times=None)
    with pytest.raises(Unavailable):
        carrier.carry(spooled(tmp_path))
    carrier.wait(seconds)


def test_the_first_one_while_it_works(both: Carrier, tmp_path: Path) -> None:
    receipt = both.carry(spooled(tmp_path))
    assert (receipt["bucket"], receipt["fallback"]) == ("recordings", False)


def test_a_short_outage_is_waited_for(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    go_down(both, proxy, tmp_path, 59.9)
    with pytest.raises(Unavailable):
        both.carry(spooled(tmp_path))
    proxy.heal()
    assert both.carry(spooled(tmp_path))["bucket"] == "recordings"


def test_a_long_retry_after_of_the_primary_is_shortened(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    """Otherwise the retry would come too late for the fallback."""
    proxy.fault(Answer(503, "SlowDown", retry_after=3600), times=None)
    asked = []
    for seconds in (45.0, 15.0):
        with pytest.raises(Unavailable) as caught:
            both.carry(spooled(tmp_path))
        asked.append(caught.value.retry_after)
        both.wait(seconds)
    assert asked == [60.0, 15.0]
    assert both.carry(spooled(tmp_path))["bucket"] == SECOND


def test_a_shorter_retry_after_is_honoured(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault(Answer(503, "SlowDown", retry_after=7), times=None)
    with pytest.raises(Unavailable) as caught:
        both.carry(spooled(tmp_path))
    assert caught.value.retry_after == 7.0


def test_without_a_fallback_retry_after_is_honoured(carrier: Make, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault(Answer(503, "SlowDown", retry_after=3600), times=None)
    with pytest.raises(Unavailable) as caught:
        carrier(endpoint_url=proxy.endpoint).carry(spooled(tmp_path))
    assert caught.value.retry_after == 3600.0


def test_a_long_outage_uses_the_fallback(
    both: Carrier, proxy: FaultProxy, store: Any, seaweedfs: Any, tmp_path: Path
) -> None:
    go_down(both, proxy, tmp_path)
    recording = spooled(tmp_path, b"found its way")
    receipt = both.carry(recording)
    assert (receipt["bucket"], receipt["fallback"]) == (SECOND, True)
    assert receipt["endpoint_url"] == seaweedfs.endpoint
    assert store.get_object(Bucket=SECOND, Key=receipt["key"])["Body"].read() == b"found its way"
    assert store.get_object(Bucket=SECOND, Key=receipt["sidecar"])["Body"].read() == recording.sidecar.read_bytes()


def test_the_primary_bucket_rests_after_a_long_outage(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    go_down(both, proxy, tmp_path)
    both.carry(spooled(tmp_path))
    proxy.heal()
    tried = len(proxy.log)
    assert both.carry(spooled(tmp_path))["bucket"] == SECOND
    assert len(proxy.log) == tried


def test_a_rested_primary_bucket_is_used_again(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    go_down(both, proxy, tmp_path)
    both.carry(spooled(tmp_path))
    proxy.heal()
    both.wait(300.0)
    assert both.carry(spooled(tmp_path))["bucket"] == "recordings"
    assert both.carry(spooled(tmp_path))["bucket"] == "recordings"


def test_retry_after_of_the_primary_bucket_postpones_its_retry(
    both: Carrier, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.fault(Answer(503, "SlowDown", retry_after=500), times=None)
    with pytest.raises(Unavailable):
        both.carry(spooled(tmp_path))
    proxy.heal()
    both.wait(499.0)
    assert both.carry(spooled(tmp_path))["bucket"] == SECOND
    both.wait(1.0)
    assert both.carry(spooled(tmp_path))["bucket"] == "recordings"


def test_one_upload_a_minute_tests_the_primary_bucket(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    go_down(both, proxy, tmp_path)
    for expected in (1, 0, 1):
        tried = proxy.count(path="recordings")
        both.carry(spooled(tmp_path))
        assert (proxy.count(path="recordings") > tried) == bool(expected)
        both.wait(PRIMARY_RETRY / 2)


def test_both_are_down(both: Carrier, proxy: FaultProxy, carrier: Make, tmp_path: Path) -> None:
    fallback = Fallback(bucket="no-such-bucket", endpoint_url=proxy.endpoint, path_style=True)
    uploader = carrier(endpoint_url=proxy.endpoint, fallback=fallback, fallback_after=0.0)
    proxy.fault(Answer(503, "SlowDown", retry_after=90), times=None, path="recordings")
    proxy.fault(Answer(503, "SlowDown", retry_after=20), times=None, path="no-such-bucket")
    with pytest.raises(Unavailable) as caught:
        uploader.carry(spooled(tmp_path))
    assert caught.value.retry_after == 20.0
    assert "bucket recordings: " in str(caught.value)
    assert "bucket no-such-bucket: " in str(caught.value)


def test_each_of_them_is_named_with_its_own_reason(proxy: FaultProxy, carrier: Make, tmp_path: Path) -> None:
    """Also while the primary bucket rests, and within the length that the log shows."""
    fallback = Fallback(bucket="b" * 63, endpoint_url=proxy.endpoint, path_style=True)
    uploader = carrier(bucket="a" * 63, endpoint_url=proxy.endpoint, fallback=fallback, fallback_after=0.0)
    proxy.fault(Answer(403, "InvalidAccessKeyId", message="it is old " * 20), times=None, path="a" * 63)
    proxy.fault(Answer(404, "NoSuchBucket", message="it is gone " * 20), times=None, path="b" * 63)
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            uploader.carry(spooled(tmp_path))
        first, second = str(caught.value).split("; bucket ")
        assert first.startswith(f"bucket {'a' * 63}: PutObject: InvalidAccessKeyId: it is old")
        assert second.startswith(f"{'b' * 63}: PutObject: NoSuchBucket: it is gone")
        assert len(str(caught.value)) <= 300
    assert proxy.count(path="a" * 63) == 1


def test_an_unknown_error_is_retried_at_the_primary(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault(Answer(418, "Teapot"), times=None)
    with pytest.raises(UploadRejected) as caught:
        both.carry(spooled(tmp_path))
    assert str(caught.value) == "bucket recordings: PutObject: Teapot: so it is"


def test_retry_after_of_the_fallback_does_not_delay_the_primary(
    proxy: FaultProxy, carrier: Make, tmp_path: Path
) -> None:
    """It may be available again at any time, since it named no Retry-After."""
    fallback = Fallback(bucket="no-such-bucket", endpoint_url=proxy.endpoint, path_style=True)
    uploader = carrier(endpoint_url=proxy.endpoint, fallback=fallback, fallback_after=0.0)
    proxy.fault(Answer(403, "AccessDenied"), times=None, path="recordings")
    proxy.fault(Answer(503, "SlowDown", retry_after=3600), times=None, path="no-such-bucket")
    with pytest.raises(Unavailable) as caught:
        uploader.carry(spooled(tmp_path))
    assert caught.value.retry_after is None


def test_a_permanent_rejection_is_not_passed_to_the_fallback(
    both: Carrier, proxy: FaultProxy, store: Any, tmp_path: Path
) -> None:
    recording = spooled(tmp_path, b"whole")
    recording.audio.write_bytes(b"damag")
    with pytest.raises(Undeliverable):
        both.carry(recording)
    assert "Contents" not in store.list_objects_v2(Bucket=SECOND, Prefix=recording.id)


def test_audio_that_is_only_in_the_fallback(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    go_down(both, proxy, tmp_path)
    recording = spooled(tmp_path)
    receipt = both.carry(recording)
    recording.audio.unlink()
    proxy.heal()
    both.wait(300.0)
    assert both.carry(recording) == receipt


def test_audio_that_may_be_in_the_one_that_is_down(both: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    both.carry(recording)
    recording.audio.unlink()
    go_down(both, proxy, tmp_path)
    with pytest.raises(Unavailable):
        both.carry(recording)


def test_audio_that_is_in_neither(both: Carrier, tmp_path: Path) -> None:
    recording = spooled(tmp_path)
    recording.audio.unlink()
    with pytest.raises(Undeliverable, match="is neither in the spool nor at"):
        both.carry(recording)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that the plugin logs."""
    lines: list[str] = []

    def listen(event: LogEvent) -> None:
        if event["log_namespace"].startswith("audiohookd_plugins.s3"):
            lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(listen)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(listen)  # type: ignore[arg-type]


def test_it_says_once_that_there_is_neither(
    proxy: FaultProxy, carrier: Make, said: list[str], tmp_path: Path
) -> None:
    """In full, since the line about the outage is too short for it."""
    fallback = Fallback(bucket="no-such-bucket", endpoint_url=proxy.endpoint, path_style=True)
    uploader = carrier(endpoint_url=proxy.endpoint, fallback=fallback, fallback_after=0.0)
    proxy.fault(Answer(403, "AccessDenied"), times=None, path="recordings")
    for _ in range(2):
        with pytest.raises(Unavailable):
            uploader.carry(spooled(tmp_path))
    (line,) = said
    assert line.startswith(
        "the fallback bucket is unavailable, too: bucket no-such-bucket: PutObject: NoSuchBucket: "
    )
    assert line.endswith("; check name and region of the bucket")


def test_it_says_once_that_it_uses_the_fallback(
    both: Carrier, proxy: FaultProxy, said: list[str], tmp_path: Path
) -> None:
    go_down(both, proxy, tmp_path)
    for _ in range(2):
        both.carry(spooled(tmp_path))
    proxy.heal()
    both.wait(300.0)
    for _ in range(2):
        both.carry(spooled(tmp_path))
    assert [line.partition(":")[0] for line in said] == [
        "uploading recordings to the fallback bucket",
        "uploading recordings to bucket recordings again",
    ]
