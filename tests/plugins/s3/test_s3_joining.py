"""After the last part the store joins all parts, which may take many minutes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiohookd.interfaces import Unavailable
from tests.plugins.s3.s3_rig import DAY, MIB, Carrier, spooled
from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Dawdle, Fault, Hang, Lose

Make = Callable[..., Carrier]
AUDIO = b"0123456789abcdef" * (5 * MIB // 16 + 99)
#: Seconds for other responses.
TIMEOUT = 1.0
ATTEMPTS = 2


@pytest.fixture
def large(carrier: Make, proxy: FaultProxy) -> Carrier:
    return carrier(endpoint_url=proxy.endpoint, timeout=TIMEOUT, multipart_threshold=5 << 20, part_size=5 << 20)


def get(store: Any, key: str) -> bytes:
    data: bytes = store.get_object(Bucket="recordings", Key=key)["Body"].read()
    return data


def test_joining_may_take_long(large: Carrier, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    """While the store keeps sending white space."""
    proxy.fault(Dawdle(times=10, pause=TIMEOUT / 5), method="POST", path="uploadId")
    receipt = large.carry(spooled(tmp_path, AUDIO))
    assert get(store, receipt["key"]) == AUDIO
    assert (proxy.count("POST", "uploadId"), proxy.count("DELETE", r"\.wav")) == (1, 0)


def test_other_requests_may_not_take_long(large: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault(Dawdle(times=10, pause=TIMEOUT / 5), times=ATTEMPTS, method="POST", path="uploads")
    with pytest.raises(Unavailable, match="Read timeout"):
        large.carry(spooled(tmp_path, AUDIO))


@pytest.mark.parametrize("fault", [Lose(), Dawdle(times=1, pause=60.0)], ids=["lost", "silent"])
def test_joining_counts_though_its_response_is_lost(
    fault: Fault, large: Carrier, proxy: FaultProxy, store: Any, tmp_path: Path
) -> None:
    """Then nothing is aborted or sent again."""
    proxy.fault(fault, times=ATTEMPTS, method="POST", path="uploadId")
    receipt = large.carry(spooled(tmp_path, AUDIO))
    assert get(store, receipt["key"]) == AUDIO
    assert proxy.count("PUT", r"\.wav.*partNumber=1") == 1
    assert proxy.count("DELETE", r"\.wav") == 0


@pytest.mark.parametrize("fault", [Hang(), Answer(503, "SlowDown")], ids=str)
def test_joining_may_fail(fault: Fault, large: Carrier, proxy: FaultProxy, store: Any, tmp_path: Path) -> None:
    recording = spooled(tmp_path, AUDIO)
    proxy.fault(fault, times=ATTEMPTS, method="POST", path="uploadId")
    with pytest.raises(Unavailable):
        large.carry(recording)
    answer = store.list_multipart_uploads(Bucket="recordings", Prefix=f"{DAY}/{recording.id}")
    assert "Uploads" not in answer
    assert get(store, large.carry(recording)["key"]) == AUDIO


def test_a_failure_is_reported_even_if_a_head_is_forbidden(large: Carrier, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.fault(Answer(403, "AccessDenied"), times=None, method="HEAD")
    proxy.fault(Answer(503, "SlowDown"), times=ATTEMPTS, method="POST", path="uploadId")
    with pytest.raises(Unavailable, match="CompleteMultipartUpload: SlowDown"):
        large.carry(spooled(tmp_path, AUDIO))
    assert proxy.count("DELETE") == 1
