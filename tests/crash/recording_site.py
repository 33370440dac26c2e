"""A daemon that records to a bucket, with its configuration and spool. It can be killed and restarted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.stores.ports import free_ports
from tests.stores.seaweedfs import SeaweedFS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: Seconds after which a wait counts as failed.
PATIENCE = 60.0
#: Seconds until a new recording has its first file: a spool may look empty just before.
YOUNG = 1.0


class Site:
    """A directory with a configuration, and at most one daemon that runs from it, with this Python's programs.

    The context manager kills the daemon at its end.

    :param endpoint: the URL of the store.
    :param tables: tables of the configuration, which extend or replace the default ones.
    """

    def __init__(
        self, directory: Path, store: SeaweedFS, bucket: str, endpoint: str, **tables: dict[str, Any]
    ) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.store, self.bucket = store, bucket
        self.log = directory / "log"
        self.port, self._admin_port = free_ports(2)
        #: Environment variables for the daemon only.
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "etc/keys.sample.json", directory / "keys.json")
        (directory / "keys.json").chmod(0o600)
        self._write(endpoint, tables)

    def __enter__(self) -> "Site":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.kill()

    def start(self) -> None:
        """Starts the daemon with a new log, without waiting for it."""
        command = [str(BIN / "twistd"), "--nodaemon", "--pidfile=", "audiohookd", "--config"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, str(self.directory / "audiohookd.toml")],
                env=os.environ | self.store.credentials() | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> float:
        """Kills the daemon with SIGKILL. Returns the instant of ``time.monotonic`` right before."""
        assert self.process is not None
        instant = time.monotonic()
        self.process.kill()
        self.process.wait()
        self.process = None
        return instant

    def freeze(self) -> float:
        """Stops the daemon with SIGSTOP. Returns the instant of ``time.monotonic`` right before."""
        assert self.process is not None
        instant = time.monotonic()
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        return instant

    def stop(self) -> None:
        """Shuts the daemon down with SIGTERM, as an operator does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process = None

    @property
    def is_running(self) -> bool:
        """Whether the daemon runs, that is, has not ended by itself."""
        return self.process is not None and self.process.poll() is None

    def resident(self) -> int:
        """Resident memory of the daemon, in bytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def files(self, *places: str) -> list[Path]:
        """All files of recordings in the given directories of the spool, or in the whole spool."""
        roots = [self.spool / place for place in places] or [self.spool]
        found = (path for root in roots for path in root.rglob("*") if not path.is_dir())
        others = {self.spool / name for name in ("lock", "wake", "reserve")}
        return sorted(path for path in found if path not in others)

    def wait_until_empty(self, patience: float = PATIENCE) -> bool:
        """Waits until no recording in the spool is due. False after a timeout."""
        deadline = time.monotonic() + patience
        full_at = time.monotonic()
        while (now := time.monotonic()) < full_at + YOUNG:
            if self.files("draft", "ready"):
                full_at = now
            if not self.is_running or now > deadline:
                return False
            time.sleep(0.05)
        return True

    def _write(self, endpoint: str, tables: dict[str, dict[str, Any]]) -> None:
        content: dict[str, dict[str, Any]] = {
            "listen": {"endpoint": f"tcp:{self.port}:interface=127.0.0.1"},
            "admin": {"endpoint": f"tcp:{self._admin_port}:interface=127.0.0.1"},
            "auth": {"keys_file": "keys.json"},
            "spool": {"directory": "spool", "min_free": "0 B"},
            "delivery": {"retry_initial_delay": "200 ms", "retry_max_delay": "2 s"},
            "plugins.recorder": {},
            "plugins.s3": {"bucket": self.bucket, "endpoint_url": endpoint, "path_style": True},
        }
        lines = []
        for name in content | tables:
            keys = content.get(name, {}) | tables.get(name, {})
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        (self.directory / "audiohookd.toml").write_text("\n".join(lines) + "\n")
