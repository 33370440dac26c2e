"""Nonces in a real Redis server: each is new once for all clients, and failures are reported."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.replay.redis import PREFIX, RETENTION, RedisNonces, read_url
from audiohookd.auth.replay.store import StoreUnavailable, nonce_digest
from tests.stores.ports import free_ports
from tests.stores.redis_server import RedisServer

NOW = 1_700_000_000.0
WINDOW = 15.5
PATIENCE = 0.3

ONE, OTHER = nonce_digest("key", "one"), nonce_digest("key", "other")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    """An empty Redis server."""
    with running.client() as client:
        client.flushall()
    return running


class Stores:
    """Opens stores, and closes all of them at the end."""

    def __init__(self) -> None:
        self.opened: list[RedisNonces] = []

    def open(self, url: str, patience: float = PATIENCE) -> RedisNonces:
        self.opened.append(RedisNonces(url, WINDOW, patience))
        return self.opened[-1]


@pytest.fixture
def stores() -> Iterator[Stores]:
    stores = Stores()
    yield stores
    for store in stores.opened:
        store.close()


def down(store: RedisNonces) -> str:
    """Returns the reason of the outage, one line without secrets."""
    with pytest.raises(StoreUnavailable) as caught:
        store.add(ONE, NOW)
    text = str(caught.value)
    assert "\n" not in text
    assert not any(part in text for part in ("loop", "pass@", ONE.hex()))
    assert caught.value.__cause__ is None
    return text


class TestNonces:
    def test_nonce_is_new_once_for_all_clients(self, server: RedisServer, stores: Stores) -> None:
        one, other = stores.open(server.url), stores.open(server.url)
        assert [one.add(ONE, NOW), one.add(ONE, NOW), other.add(ONE, NOW)] == [True, False, False]
        assert [other.add(OTHER, NOW), one.add(OTHER, NOW)] == [True, False]

    def test_nonce_is_stored_hashed_for_an_hour(self, server: RedisServer, stores: Stores) -> None:
        stores.open(server.url).add(nonce_digest("an-api-key", "a-nonce"), NOW)
        with server.client() as client:
            (key,) = client.keys()
            assert key == (PREFIX + nonce_digest("an-api-key", "a-nonce").hex()).encode()
            assert RETENTION - 5 < client.ttl(key) <= RETENTION
            assert client.get(key) == b"1"

    def test_a_repeat_does_not_extend_the_window(self, server: RedisServer, stores: Stores) -> None:
        store = stores.open(server.url)
        store.add(ONE, NOW)
        with server.client() as client:
            client.expire(PREFIX + ONE.hex(), 3)
            assert not store.add(ONE, NOW)
            assert client.ttl(PREFIX + ONE.hex()) <= 3

    def test_minimal_permissions_suffice(self, server: RedisServer, stores: Stores) -> None:
        """The user of ``docs/replay.rst``."""
        rights = ("~audiohookd:nonce:*", "+set", "+select")
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "calls", "on", ">loop-pass", *rights)
        store = stores.open(f"redis://calls:loop-pass@127.0.0.1:{server.port}/1")
        assert [store.add(ONE, NOW), store.add(ONE, NOW)] == [True, False]


class TestDown:
    def test_no_server_is_an_outage(self, stores: Stores) -> None:
        (port,) = free_ports(1)
        said = down(stores.open(f"redis://:loop%2Fpass@127.0.0.1:{port}"))
        assert said.startswith(f"127.0.0.1:{port}: ")
        assert "refused" in said

    @pytest.mark.parametrize("password", ["", ":loop-wrong@", "loop-user:loop-wrong@"])
    def test_a_wrong_password_is_an_outage(self, password: str, server: RedisServer, stores: Stores) -> None:
        said = down(stores.open(f"redis://{password}127.0.0.1:{server.port}"))
        assert "invalid username-password" in said or "Authentication required" in said

    def test_a_hanging_server_times_out_and_recovers(self, server: RedisServer, stores: Stores) -> None:
        store = stores.open(server.url)
        assert store.add(OTHER, NOW)
        server.hang()
        try:
            since = time.monotonic()
            assert "Timeout" in down(store)
            assert PATIENCE <= time.monotonic() - since < 10 * PATIENCE
        finally:
            server.resume()
        assert not store.add(OTHER, NOW)

    def test_a_restart_is_transparent(self, server: RedisServer, stores: Stores) -> None:
        """But for what it had in memory: that is gone."""
        store = stores.open(server.url)
        store.add(ONE, NOW)
        server.stop()
        assert "refused" in down(store)
        server.start()
        assert store.add(ONE, NOW)
        server.stop()
        server.start()
        assert store.add(ONE, NOW)
        assert not store.add(ONE, NOW)

    def test_a_full_server_is_an_outage(self, server: RedisServer, stores: Stores) -> None:
        with server.client() as client:
            client.config_set("maxmemory", "1")
            try:
                assert "used memory" in down(stores.open(server.url))
            finally:
                client.config_set("maxmemory", "0")


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6380/3",
            "rediss://user:loop%2Fpass@redis.example.com:6380/0",
            "rediss://redis.example.com?ssl_cert_reqs=required",
            "unix:///run/redis/redis.sock?db=2",
            "redis://[::1]:6379",
        ],
    )
    def test_valid_url_is_accepted(self, url: str) -> None:
        store = RedisNonces(url, WINDOW, PATIENCE)
        assert "pass" not in repr(store)
        store.close()

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "redis://",
            "redis://:loop/pass@127.0.0.1",
            "redis://:12/pass@127.0.0.1",
            "redis://:loop#pass@127.0.0.1",
            "redis://user:12#pass@127.0.0.1",
            "redis://user:12?pass@127.0.0.1",
            "redis://:loop[pass@127.0.0.1",
            "redis://127.0.0.1:port",
            "redis://127.0.0.1/db",
            "redis://127.0.0.1?socket_timeout=loop",
            "redis://127.0.0.1?loop=pass",
            "unix://redis.sock",
        ],
    )
    def test_invalid_url_is_rejected(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"must be redis://|is not a URL|redis-py") as caught:
            RedisNonces(url, WINDOW, PATIENCE)
        assert not any(part in str(caught.value) for part in ("loop", "pass@", "12"))

    @given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4))
    def test_unencoded_password_is_never_shown(self, password: str) -> None:
        """Either it is one after all, and then no part of the host, or it is refused."""
        hidden = f"S3{password}"
        try:
            store = RedisNonces(f"redis://u:{hidden}@127.0.0.1:1", WINDOW, PATIENCE)
        except ValueError as fault:
            said = str(fault)
        else:
            said = down(store)
            store.close()
        assert hidden not in said

    def test_url_is_read_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "redis.url"
        file.write_text("redis://:loop@127.0.0.1\n")
        file.chmod(0o640)
        assert read_url(file) == "redis://:loop@127.0.0.1"

    @pytest.mark.parametrize("mode", [0o644, 0o602, 0o601])
    def test_url_file_for_all_users_is_rejected(self, mode: int, tmp_path: Path) -> None:
        file = tmp_path / "redis.url"
        file.write_text("redis://:loop@127.0.0.1")
        file.chmod(mode)
        with pytest.raises(ValueError, match="is accessible to all users"):
            read_url(file)

    def test_binary_or_missing_url_file_is_rejected(self, tmp_path: Path) -> None:
        file = tmp_path / "redis.url"
        with pytest.raises(ValueError, match="No such file"):
            read_url(file)
        file.write_bytes("redis://:l\xf6\xf6p@127.0.0.1".encode())
        file.chmod(0o600)
        with pytest.raises(ValueError, match="encode") as caught:
            read_url(file)
        assert "127" not in str(caught.value).removeprefix(str(file))  # pytest numbers its directories
        assert caught.value.__cause__ is None
        file.write_bytes(b"redis://:l\xf6\xf6p@127.0.0.1")
        with pytest.raises(ValueError, match="is not text in UTF-8"):
            read_url(file)
