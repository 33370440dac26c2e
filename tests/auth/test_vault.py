"""Keys in HashiCorp Vault, as a stand-in plays it; tests/functional/test_openbao.py has a real OpenBao."""

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from audiohookd.auth.keys.model import UNSIGNED, IKeySource, Key, Keys, KeySourceError, SourceUnavailable
from audiohookd.auth.keys.sources.vault import Vault
from audiohookd.config.schema import VaultSecret
from tests.auth.vault_stand_in import ROLE, SECRET_ID, VaultStandIn, vault_stand_in
from tests.stores.ports import free_ports

OLD, NEW = "T2xkT2xkT2xk", "TmV3TmV3TmV3"
START = 1_767_225_600.0


@pytest.fixture
def server() -> Iterator[VaultStandIn]:
    with vault_stand_in() as one:
        one.versions.append(({"key": OLD}, START))
        yield one


class Reader:
    """The source, and the date."""

    def __init__(self, url: str, directory: Path, **settings: Any) -> None:
        self.now = START
        for name, text in (("token", "a-token\n"), ("secret-id", f"{SECRET_ID}\n")):
            (directory / name).touch(0o600)
            (directory / name).write_text(text)
        by = settings or {"token_file": directory / "token"}
        self.source = Vault("auth.vault", VaultSecret(url=url, **by), lambda: self.now)

    def secrets(self, api_key: str = "key") -> tuple[bytes, ...]:
        """Loads again, and returns the valid secrets; none if the key has expired."""
        key = self.source.load().lookup(api_key)
        if key is None or (key.not_after is not None and self.now >= key.not_after):
            return ()
        return key.secrets_at(self.now)

    def failure(self) -> KeySourceError:
        with pytest.raises(KeySourceError) as caught:
            self.source.load()
        shown = "".join(traceback.format_exception(caught.value))
        for secret in (OLD, NEW, "a-token", SECRET_ID):
            assert secret not in shown
        assert len(str(caught.value).splitlines()) == 1
        return caught.value


@pytest.fixture
def reader(server: VaultStandIn, tmp_path: Path) -> Reader:
    return Reader(server.url, tmp_path)


@pytest.fixture
def role(server: VaultStandIn, tmp_path: Path) -> Reader:
    """One that logs in by AppRole."""
    return Reader(server.url, tmp_path, role_id=ROLE, secret_id_file=tmp_path / "secret-id")


class TestSecret:
    def test_secret_is_a_key_source(self, reader: Reader) -> None:
        verifyObject(IKeySource, reader.source)
        assert (reader.source.interval, reader.source.changed()) == (300.0, True)

    def test_secret_is_the_json_object(self, reader: Reader, server: VaultStandIn) -> None:
        server.versions[0] = ({"key": {"secret": OLD, "routes": ["/a"]}, "open": None}, START)
        wanted = {"key": Key((b"OldOldOld",), routes=frozenset({"/a"})), "open": Key((UNSIGNED,))}
        assert reader.source.load() == Keys(wanted)

    def test_secret_is_read_with_the_current_token(
        self, reader: Reader, server: VaultStandIn, tmp_path: Path
    ) -> None:
        reader.secrets()
        server.tokens = {"renewed"}
        (tmp_path / "token").write_text("renewed")
        assert reader.secrets() == (b"OldOldOld",)

    def test_first_version_has_no_previous(self, reader: Reader, server: VaultStandIn) -> None:
        assert reader.secrets() == (b"OldOldOld",)
        assert server.asked == ["GET /v1/secret/data/audiohookd 0"]


class TestAppRole:
    def test_source_logs_in_once(self, role: Reader, server: VaultStandIn) -> None:
        for _ in range(3):
            assert role.secrets() == (b"OldOldOld",)
        assert server.logins == 1

    def test_source_logs_in_again_after_the_token_expired(self, role: Reader, server: VaultStandIn) -> None:
        role.secrets()
        server.tokens.clear()
        assert role.secrets() == (b"OldOldOld",)
        assert server.logins == 2

    def test_rejected_login_says_what_to_check(self, role: Reader, tmp_path: Path) -> None:
        (tmp_path / "secret-id").write_text("another")
        assert "request rejected: check the mount (KV version 2), role_id and secret_id" in str(role.failure())


class TestRotation:
    def test_both_versions_are_valid_for_the_overlap(self, reader: Reader, server: VaultStandIn) -> None:
        reader.secrets()
        reader.now += 5000
        server.versions.append(({"key": NEW}, reader.now - 10))
        assert reader.secrets() == (b"NewNewNew", b"OldOldOld")
        reader.now += 3599
        assert reader.secrets() == (b"NewNewNew", b"OldOldOld")
        reader.now += 1
        assert reader.secrets() == (b"NewNewNew",)

    def test_overlap_starts_with_the_version_after_a_restart(self, reader: Reader, server: VaultStandIn) -> None:
        server.versions.append(({"key": NEW}, START + 100))
        reader.now = START + 3699
        assert reader.secrets() == (b"NewNewNew", b"OldOldOld")
        reader.now = START + 3700
        assert reader.secrets() == (b"NewNewNew",)

    @pytest.mark.parametrize("before", [None, {"key": "&"}, {"other": {}}])
    def test_invalid_previous_version_is_ignored(self, reader: Reader, server: VaultStandIn, before: object) -> None:
        server.versions = [(before, START), ({"key": NEW}, START)]
        assert reader.secrets() == (b"NewNewNew",)


class TestFailure:
    def test_invalid_token_is_reported(self, reader: Reader, server: VaultStandIn) -> None:
        server.tokens.clear()
        fault = reader.failure()
        assert type(fault) is KeySourceError
        where = f"secret/audiohookd of {server.url}"
        assert str(fault) == f"{where}: permission denied: check the token or role, and its policy"

    def test_unknown_path_is_reported(self, server: VaultStandIn, tmp_path: Path) -> None:
        reader = Reader(server.url, tmp_path, path="absent", token_file=tmp_path / "token")
        assert "the secret does not exist" in str(reader.failure())

    def test_deleted_secret_is_reported(self, reader: Reader, server: VaultStandIn) -> None:
        server.versions.append((None, START))
        assert "its current version is deleted" in str(reader.failure())

    def test_invalid_content_is_reported(self, reader: Reader, server: VaultStandIn) -> None:
        server.versions[0] = ({"key": f"{OLD}&"}, START)
        assert str(reader.failure()).endswith("copy it again from the integration (current version)")

    def test_server_error_is_temporary(self, reader: Reader, server: VaultStandIn) -> None:
        for status, name in [(500, "InternalServerError"), (503, "VaultDown"), (429, "RateLimitExceeded")]:
            server.status = status
            fault = reader.failure()
            assert type(fault) is SourceUnavailable
            assert f"cannot be fetched ({name})" in str(fault)

    def test_connection_error_is_reported(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        fault = Reader(f"http://127.0.0.1:{port}", tmp_path).failure()
        assert type(fault) is SourceUnavailable
        assert str(fault).endswith("cannot be fetched (ConnectionError)")

    def test_missing_ca_file_is_reported(self, server: VaultStandIn, tmp_path: Path) -> None:
        by = {"token_file": tmp_path / "token", "ca_file": tmp_path / "absent.pem"}
        fault = Reader(server.url.replace("http:", "https:"), tmp_path, **by).failure()
        assert str(fault) == f"ca_file '{tmp_path}/absent.pem': no such file: correct the path"

    @pytest.mark.parametrize(("content", "says"), [("", "one line"), ("a\nb", "one line"), (None, "cannot be read")])
    def test_invalid_token_file_is_reported(
        self, reader: Reader, tmp_path: Path, content: str | None, says: str
    ) -> None:
        if content is None:
            (tmp_path / "token").unlink()
        else:
            (tmp_path / "token").write_text(content)
        assert f"{tmp_path}/token" in str(reader.failure())
        assert says in str(reader.failure())

    @pytest.mark.parametrize(("name", "by"), [("token", {}), ("secret-id", {"role_id": "a-role"})])
    def test_a_credential_for_all_users_is_rejected(
        self, server: VaultStandIn, tmp_path: Path, name: str, by: dict[str, Any]
    ) -> None:
        reader = Reader(server.url, tmp_path, **(by and by | {"secret_id_file": tmp_path / "secret-id"}))
        (tmp_path / name).chmod(0o644)
        assert f"{name}': is accessible to all users (mode 0644): chmod o= it" in str(reader.failure())

    def test_missing_hvac_is_reported(self, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "hvac", None)
        assert str(reader.failure()).endswith("hvac is not installed: pip install 'audiohookd[vault]'")
