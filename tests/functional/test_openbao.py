"""Keys in a real OpenBao, which has the API of HashiCorp Vault."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import hvac
import pytest

from tests.functional.caller import API_KEY, Caller, signed_head
from tests.functional.daemon import PATIENCE
from tests.functional.place import Place
from tests.stores.ports import free_ports

OLD, NEW = "T2xkT2xkT2xk", "TmV3TmV3TmV3"
POLICY = 'path "secret/data/audiohookd" { capabilities = ["read"] }'


@contextmanager
def openbao(directory: Path) -> Iterator[Any]:
    """A client with all rights, for a server that keeps everything in memory."""
    (port,) = free_ports(1, spare=1)  # it also uses the next port
    command = [str(Path(sys.executable).parent / "bao"), "server", "-dev", "-dev-root-token-id=root"]
    command += ["-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    with (directory / "bao.log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | {"HOME": str(directory)}, stdout=log, stderr=log)
    try:
        client = hvac.Client(f"http://127.0.0.1:{port}", token="root")
        deadline = time.monotonic() + PATIENCE
        while not is_there(client):
            assert server.poll() is None, (directory / "bao.log").read_text()
            assert time.monotonic() < deadline, (directory / "bao.log").read_text()
            time.sleep(0.1)
        yield client
    finally:
        server.terminate()
        server.wait(PATIENCE)


def is_there(client: Any) -> bool:
    try:
        return bool(client.sys.is_initialized())
    except (hvac.exceptions.VaultError, OSError):
        return False


def approle(client: Any, directory: Path) -> dict[str, str]:
    """A role that may read one secret, with tokens that expire after a second."""
    client.sys.enable_auth_method("approle")
    client.sys.create_or_update_policy("audiohookd", POLICY)
    client.auth.approle.create_or_update_approle("audiohookd", token_policies=["audiohookd"], token_ttl="1s")
    secret_id = client.auth.approle.generate_secret_id("audiohookd")["data"]["secret_id"]
    (directory / "secret-id").write_text(secret_id)
    (directory / "secret-id").chmod(0o600)
    role_id: str = client.auth.approle.read_role_id("audiohookd")["data"]["role_id"]
    return {"role_id": role_id, "secret_id_file": "secret-id"}


def answered(there: Place, secret: str) -> int:
    with Caller(there.port, signed_head(there.port, str(uuid4()), base64.b64decode(secret))) as caller:
        return caller.upgrade()


@pytest.mark.parametrize("by", ["token", "approle"])
def test_a_rotation_reloads_the_keys_of_a_running_daemon(
    place: Callable[..., Place], tmp_path: Path, by: str
) -> None:
    there = place()
    with openbao(tmp_path) as client:
        (tmp_path / "token").write_text("root")
        (tmp_path / "token").chmod(0o600)
        access = approle(client, tmp_path) if by == "approle" else {"token_file": "token"}
        there.write(
            **{"auth": {"keys_file": ""}, "auth.vault": {"url": client.url, "refresh": 10, "overlap": 3600, **access}}
        )
        write(client, {API_KEY: OLD})
        with there.daemon() as daemon:
            assert answered(there, OLD) == 101
            assert answered(there, NEW) == 401
            time.sleep(1.5)  # the token of the role expires
            write(client, {API_KEY: NEW})
            daemon.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while answered(there, NEW) != 101:
                assert time.monotonic() < deadline
            assert answered(there, OLD) == 101


def write(client: Any, keys: object) -> None:
    client.secrets.kv.v2.create_or_update_secret("audiohookd", keys)
