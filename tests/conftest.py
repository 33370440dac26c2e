"""What tests of all rooms share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from twisted.logger import LogEvent, globalLogPublisher

from tests.stores.seaweedfs import SeaweedFS

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A real S3 store, one for all tests: each makes a bucket of its own."""
    with SeaweedFS(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """What is logged meanwhile."""
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)
