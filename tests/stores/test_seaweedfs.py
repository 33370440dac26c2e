"""The store that other tests rely on is as strict as they assume."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.stores.seaweedfs import SeaweedFS


def refusal(act: Any, **arguments: Any) -> str:
    """The code of the error that ``act`` must raise."""
    with pytest.raises(ClientError) as caught:
        act(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_it_rejects_what_s3_rejects(seaweedfs: SeaweedFS) -> None:
    seaweedfs.create_bucket("strict")
    client = seaweedfs.client()
    client.put_object(Bucket="strict", Key="one", Body=b"once", IfNoneMatch="*")
    put = client.put_object
    assert refusal(put, Bucket="strict", Key="one", Body=b"twice", IfNoneMatch="*") == "PreconditionFailed"
    assert refusal(put, Bucket="strict", Key="two", Body=b"x", ChecksumSHA256="A" * 43 + "=") == "BadDigest"
    assert refusal(put, Bucket="nowhere", Key="one", Body=b"x") == "NoSuchBucket"
    assert client.get_object(Bucket="strict", Key="one")["Body"].read() == b"once"


def test_it_keeps_objects_over_a_restart(tmp_path: Any) -> None:
    with SeaweedFS(tmp_path) as store:
        store.create_bucket("kept")
        client = store.client()
        client.put_object(Bucket="kept", Key="one", Body=b"x" * 100_000)
        store.stop()
        store.start()
        assert client.get_object(Bucket="kept", Key="one")["Body"].read() == b"x" * 100_000
