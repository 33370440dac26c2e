"""Fixtures of the s3 plugin's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader, create_loader
from moto.server import ThreadedMotoServer

from tests.plugins.s3.s3_rig import Carrier, Moto, Stores
from tests.stores.fault_proxy import FaultProxy
from tests.stores.memory_store import MemoryStore, Trait, memory_store
from tests.stores.seaweedfs import SeaweedFS

BUCKET = "recordings"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the store's credentials, without the machine's configuration."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", SeaweedFS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SeaweedFS.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", SeaweedFS.region)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))


@pytest.fixture(scope="session")
def store(seaweedfs: SeaweedFS) -> Any:
    """A client of a store with the bucket ``recordings``; the recordings of each test have ids of their own."""
    seaweedfs.create_bucket(BUCKET)
    return seaweedfs.client()


@pytest.fixture
def proxy(seaweedfs: SeaweedFS, store: Any) -> Iterator[FaultProxy]:
    """A proxy to that store that injects faults."""
    with FaultProxy(seaweedfs.port) as between:
        yield between


@pytest.fixture(scope="session")
def loader() -> Loader:
    """The loader of service descriptions, shared because it takes most of a client's creation time."""
    return create_loader()


@pytest.fixture
def carrier(seaweedfs: SeaweedFS, store: Any, loader: Loader) -> Iterator[Callable[..., Carrier]]:
    """Makes plugins that upload to that bucket by default."""
    made: list[Carrier] = []

    def make(**config: Any) -> Carrier:
        there = {"bucket": BUCKET, "endpoint_url": seaweedfs.endpoint, "path_style": True}
        made.append(Carrier(loader, **there | config))
        return made[-1]

    yield make
    for one in made:
        one.plugin.stopService()


@pytest.fixture
def stores() -> Iterator[Stores]:
    """Makes a store with these traits."""
    contexts = []

    def make(*traits: Trait) -> MemoryStore:
        contexts.append(memory_store(*traits))
        return contexts[-1].__enter__()

    yield make
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def to(loader: Loader) -> Iterator[Callable[..., Carrier]]:
    """Makes a plugin for the store at a URL."""
    made: list[Carrier] = []

    def make(url: str, **config: Any) -> Carrier:
        common = {
            "path_style": True,
            "multipart_threshold": 5 << 20,
            "part_size": 5 << 20,
            "timeout": 5.0,
        }
        made.append(Carrier(loader, bucket="recordings", endpoint_url=url, **common | config))
        return made[-1]

    yield make
    for one in made:
        one.plugin.stopService()


@pytest.fixture
def moto() -> Iterator[Moto]:
    """A server that verifies nothing, with the bucket ``recordings``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket="recordings")
    yield Moto(port, client)
    client.close()
    server.stop()
