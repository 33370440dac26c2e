"""The proxy injects the configured faults, and passes other requests unchanged."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.stores.fault_proxy import FaultProxy
from tests.stores.faults import Answer, Corrupt, Cut, Fault, Hang, Lose, Reset, Seen
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "proxied"
BODY = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    seaweedfs.create_bucket(BUCKET)
    return BUCKET


@pytest.fixture
def proxy(seaweedfs: SeaweedFS, bucket: str) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.port) as proxy:
        yield proxy


@pytest.fixture
def put(proxy: FaultProxy, seaweedfs: SeaweedFS) -> Callable[[str], Any]:
    """Uploads :data:`BODY` through the proxy."""
    client = seaweedfs.client(proxy.endpoint, connect_timeout=5, read_timeout=1)
    return lambda key: client.put_object(Bucket=BUCKET, Key=key, Body=BODY)


def stored(store: SeaweedFS, key: str) -> bytes | None:
    """The stored object, read without the proxy."""
    client = store.client()
    if not client.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"]:
        return None
    body: bytes = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def test_requests_pass_unchanged_and_are_logged(
    proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS
) -> None:
    put("passed")
    client = seaweedfs.client(proxy.endpoint)
    assert client.get_object(Bucket=BUCKET, Key="passed")["Body"].read() == BODY
    assert client.head_object(Bucket=BUCKET, Key="passed")["ContentLength"] == len(BODY)
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="passed")["KeyCount"] == 1
    assert [seen.status for seen in proxy.log] == [200, 200, 200, 200]
    assert [seen.method for seen in proxy.log] == ["PUT", "GET", "HEAD", "GET"]
    assert proxy.log[0].path == "/proxied/passed"
    assert proxy.received == len(BODY)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (400, "ExpiredToken")])
def test_answers_that_the_store_never_gave(
    proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS, status: int, code: str
) -> None:
    key = code.lower()
    proxy.fault(Answer(status, code, retry_after=7), method="PUT", path=key)
    with pytest.raises(ClientError) as caught:
        put(key)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    assert stored(seaweedfs, key) is None
    put(key)
    assert stored(seaweedfs, key) == BODY
    assert [seen.status for seen in proxy.log] == [status, 200]


@pytest.mark.parametrize("fault", [Hang(), Reset(), Cut(50_000)], ids=str)
def test_requests_that_never_end_well(
    proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS, fault: Fault
) -> None:
    key = type(fault).__name__
    proxy.fault(fault, times=2)
    for _ in range(2):
        with pytest.raises(BotoCoreError):
            put(key)
    assert stored(seaweedfs, key) is None
    put(key)
    assert stored(seaweedfs, key) == BODY
    proxy.refuse()  # ends requests that hang
    assert proxy.count(status=key.lower()) == 2


def test_an_answer_that_is_lost(proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS) -> None:
    proxy.fault(Lose())
    with pytest.raises(BotoCoreError):
        put("unheard")
    assert stored(seaweedfs, "unheard") == BODY


def test_a_spoilt_byte_is_seen_by_the_store(
    proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS
) -> None:
    proxy.fault(Corrupt(60_000))
    with pytest.raises(ClientError) as caught:
        put("spoilt")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert stored(seaweedfs, "spoilt") is None


@pytest.mark.parametrize("way", ["refuse", "reset"])
def test_an_outage_begins_and_ends(
    proxy: FaultProxy, put: Callable[[str], Any], seaweedfs: SeaweedFS, way: str
) -> None:
    put("before")
    if way == "refuse":
        proxy.refuse()
    else:
        proxy.refuse()
        proxy.accept()
        proxy.resets = True
    with pytest.raises(BotoCoreError):
        put("meanwhile")
    proxy.heal()
    put(f"after-{way}")
    assert stored(seaweedfs, "meanwhile") is None
    assert stored(seaweedfs, f"after-{way}") == BODY
    assert proxy.log[-1] == Seen("PUT", f"/{BUCKET}/after-{way}", 200)


def test_a_slow_line_is_shared(proxy: FaultProxy, put: Callable[[str], Any]) -> None:
    proxy.rate = 2 * len(BODY)
    begun = time.monotonic()
    put("slow")
    assert 0.45 < time.monotonic() - begun < 5
