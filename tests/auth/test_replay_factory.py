"""From [auth.replay] to a store; and each mistake in it, in one line without a secret."""

import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from audiohookd.auth.replay.factory import MAX_WAITING, replay_protection
from audiohookd.auth.replay.failover import FailoverReplayStore
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.config.errors import ConfigError
from audiohookd.config.load import load
from audiohookd.runtime.workers import Workers

PASSWORD = "Tr0ub4dor"
CALLS = 300


class Place:
    """A configuration with these keys in [auth.replay]."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "audiohookd.toml"
        self.counted: list[tuple[str, ...]] = []

    def store(self, text: str) -> tuple[list[Workers], Any]:
        self.file.write_text(f"[auth.replay]\n{text}\n")
        replay = load(self.file).auth.replay
        where = f"{self.file}: auth.replay"
        made = replay_protection(replay, where, 16.0, CALLS, Clock(), lambda *what: self.counted.append(what))
        assert len(made.loops) == len(made.pools)
        return made.pools, made.store

    def mistake(self, text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            self.store(text)
        line = str(caught.value)
        assert len(line.splitlines()) == 1
        assert PASSWORD not in line
        return line.removeprefix(f"{self.file}: ")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_default_store_is_in_memory(place: Place) -> None:
    pools, store = place.store("")
    assert pools == []
    assert isinstance(store, MemoryReplayStore)
    assert store.window == 16.0


def test_off_has_no_store(place: Place) -> None:
    assert place.store('store = "off"') == ([], None)


@pytest.mark.parametrize(
    "text",
    [
        'store = "sqlite"\npath = "replay.sqlite"',
        'store = "redis"\nurl = "redis://127.0.0.1:1"',
        'store = "redis"\nurl = "unix:///run/redis.sock"\nfail = "open"\ntimeout = 0.1',
    ],
)
def test_shared_stores_have_a_pool_and_failover(place: Place, text: str) -> None:
    pools, store = place.store(text)
    assert [pool.name for pool in pools] == ["replay"]
    assert isinstance(store, FailoverReplayStore)
    assert store.window == 16.0


def test_all_calls_may_look_up_at_once(place: Place) -> None:
    (pool,), _ = place.store('store = "sqlite"\npath = "replay.sqlite"')
    assert pool._limit > MAX_WAITING + CALLS


def test_before_its_pool_runs_a_store_is_down_and_nothing_else(place: Place) -> None:
    _, store = place.store('store = "redis"\nurl = "redis://127.0.0.1:1"\nfail = "open"')
    answers: list[bool] = []
    store.first_use("key", "nonce", 0.0).addCallback(answers.append)
    assert answers == [True]
    assert place.counted == [("replay_store_failures", "let-in")]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_a_url_with_a_password_comes_from_a_file(place: Place, mode: int) -> None:
    url = place.file.with_name("redis.url")
    url.write_text(f"rediss://calls:{PASSWORD}@redis.example.com/2\n")
    url.chmod(mode)
    _, store = place.store('store = "redis"\nurl_file = "redis.url"')
    assert PASSWORD not in repr(vars(store))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('store = "disk"', "auth.replay.store: must be one of: 'memory', 'off', 'redis', 'sqlite'"),
        ('fail = "maybe"', "auth.replay.fail: must be one of: 'closed', 'open'"),
        ("timeout = 0", "auth.replay.timeout: must be more than 0 s"),
        ("timeout = 0.5", "auth.replay.timeout: must be at most 400 ms"),
        ('store = "redis"', "auth.replay: store = 'redis' needs url_file, or url"),
        (
            'url = "redis://a"\nurl_file = "redis.url"',
            "auth.replay.url_file: goes without url: remove one of the two",
        ),
    ],
)
def test_a_mistake_is_one_line(place: Place, text: str, line: str) -> None:
    assert place.mistake(text) == line


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@redis.example.com",
        f"redis://calls:{PASSWORD}@redis.example.com:6379/1",
        f"redis://:{PASSWORD}/x@redis.example.com",
        f"redis://:{PASSWORD}#x@redis.example.com",
        f"redis://redis.example.com?password={PASSWORD}",
        f"rediss://redis.example.com?ssl_password={PASSWORD}",
        f"unix://:{PASSWORD}@/run/redis.sock",
    ],
)
@pytest.mark.parametrize("store", ["redis", "memory"])
def test_a_password_in_the_configuration_is_refused(place: Place, url: str, store: str) -> None:
    line = place.mistake(f'store = "{store}"\nurl = "{url}"')
    assert line == "auth.replay.url: has a password, which would be in this file: write the URL to url_file"


def test_an_unsafe_or_missing_url_file_is_an_error(place: Place) -> None:
    text = 'store = "redis"\nurl_file = "redis.url"'
    url = place.file.with_name("redis.url")
    assert (
        place.mistake(text)
        == f"auth.replay.url_file: '{url}': cannot be read (No such file or directory): correct path or permissions"
    )
    url.write_text(f"redis://:{PASSWORD}@redis.example.com")
    url.chmod(0o644)
    expected = f"auth.replay.url_file: '{url}': is accessible to all users (mode 0644): chmod o= it"
    assert place.mistake(text).startswith(expected)


def test_a_file_with_something_else_in_it(place: Place) -> None:
    url = place.file.with_name("redis.url")
    url.write_text(f"password = {PASSWORD}")
    url.chmod(0o600)
    assert place.mistake('store = "redis"\nurl_file = "redis.url"').startswith(
        "auth.replay.url_file: must be redis://"
    )


def test_redis_without_redis_py(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "audiohookd.auth.replay.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    line = place.mistake('store = "redis"\nurl = "redis://127.0.0.1"')
    assert line == "auth.replay.store: 'redis' needs redis-py: pip install 'audiohookd[redis]'"


def test_a_directory_that_is_not_there(place: Place) -> None:
    line = place.mistake('store = "sqlite"\npath = "nowhere/replay.sqlite"')
    nowhere = place.file.with_name("nowhere")
    assert line == f"auth.replay.path: {nowhere} must be a directory that the daemon may write to"


def test_a_file_that_is_no_database_is_found_out_later(place: Place) -> None:
    place.file.with_name("replay.sqlite").write_text("nonsense")
    pools, _ = place.store('store = "sqlite"\npath = "replay.sqlite"')
    assert len(pools) == 1
