"""Two daemons with a shared replay store: each rejects a request that the other has accepted."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest

from tests.functional.caller import Caller, signed_head
from tests.functional.place import Place
from tests.stores.redis_server import RedisServer

MakePlaces = Callable[..., list[Place]]


@pytest.fixture
def places(bin: Path, tmp_path: Path) -> MakePlaces:  # noqa: A002
    """Makes two places, with the same [auth.replay]."""

    def make(**replay: Any) -> list[Place]:
        directories = [tmp_path / "one", tmp_path / "other"]
        for directory in directories:
            directory.mkdir()
        return [Place(bin, directory, **{"auth.replay": replay}) for directory in directories]

    return make


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def url_file(directory: Path, redis: RedisServer) -> str:
    file = directory / "redis.url"
    file.write_text(redis.url)
    file.chmod(0o600)
    return str(file)


def upgraded(there: Place, head: bytes) -> int:
    """The status of the daemon's response to this request."""
    with Caller(there.port, head) as caller:
        return caller.upgrade()


def failures(there: Place, done: str) -> int:
    """The number of failures of the replay store with this outcome, from the metrics."""
    with urlopen(f"http://127.0.0.1:{there.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    wanted = f'audiohookd_replay_store_failures_total{{done="{done}"}} '
    return sum(int(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def assert_accepted_once(left: Place, right: Place) -> None:
    """Asserts that two daemons together accept a request once, whichever gets it first."""
    with left.daemon(), right.daemon():
        for first, second in ((left, right), (right, left), (left, left)):
            head = signed_head(first.port, str(uuid4()))
            assert upgraded(first, head) == 101
            assert upgraded(second, head) == 401
            assert upgraded(first, head) == 401


def test_without_a_shared_store_each_daemon_accepts_a_request_once(places: MakePlaces) -> None:
    """This shows why a shared store is needed."""
    left, right = places()
    with left.daemon(), right.daemon():
        head = signed_head(left.port, str(uuid4()))
        assert [upgraded(left, head), upgraded(right, head), upgraded(right, head)] == [101, 101, 401]


def test_daemons_on_one_host_share_sqlite(places: MakePlaces, tmp_path: Path) -> None:
    assert_accepted_once(*places(store="sqlite", path=str(tmp_path / "replay.sqlite")))


def test_daemons_on_several_hosts_share_redis(places: MakePlaces, tmp_path: Path, redis: RedisServer) -> None:
    assert_accepted_once(*places(store="redis", url_file=url_file(tmp_path, redis)))


def test_a_restart_forgets_nothing_in_sqlite(places: MakePlaces, tmp_path: Path) -> None:
    there, _ = places(store="sqlite", path=str(tmp_path / "replay.sqlite"))
    with there.daemon():
        head = signed_head(there.port, str(uuid4()))
        assert upgraded(there, head) == 101
    with there.daemon():
        assert upgraded(there, head) == 401


@pytest.mark.parametrize(("fail", "done"), [("closed", "refused"), ("open", "let-in")])
def test_without_its_store_a_daemon_follows_its_configuration(
    places: MakePlaces, tmp_path: Path, redis: RedisServer, fail: str, done: str
) -> None:
    """A rejected client gets its WebSocket, and a disconnect that asks it to retry."""
    there, _ = places(store="redis", url_file=url_file(tmp_path, redis), fail=fail)
    with there.daemon() as daemon:
        assert upgraded(there, signed_head(there.port, str(uuid4()))) == 101
        redis.hang()
        began = time.monotonic()
        assert upgraded(there, signed_head(there.port, str(uuid4()))) == 101
        assert 0.4 <= time.monotonic() - began < 5
        redis.resume()
        assert upgraded(there, signed_head(there.port, str(uuid4()))) == 101
        redis.stop()
        assert upgraded(there, signed_head(there.port, str(uuid4()))) == 101
        redis.start()
        assert upgraded(there, signed_head(there.port, str(uuid4()))) == 101
        assert failures(there, done) == 2
        assert daemon.log().count("rejected: replay-store-down") == (2 if fail == "closed" else 0)
        assert daemon.log().count("the replay store is down") == 1
        assert redis.password not in daemon.log()
        assert redis.encoded not in daemon.log()
