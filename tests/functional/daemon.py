"""The installed daemon as a subprocess, as a user runs it."""

import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

#: Seconds that a start or a stop may take before something is plainly wrong (a slow, shared machine included).
PATIENCE = 30.0


class DaemonDied(Exception):
    """The daemon ended before it was ready; what it said is the text."""


class Daemon:
    """``twistd --nodaemon audiohookd --config CONFIG`` from the environment whose programs are in ``bin``.

    As a context manager it is ready inside the block, and ended with SIGTERM after it.
    """

    def __init__(self, bin: Path, config: Path, environment: dict[str, str] | None = None) -> None:  # noqa: A002
        self._command = [str(bin / "twistd"), "--nodaemon", "--pidfile=", "audiohookd", "--config", str(config)]
        self._environment = os.environ | (environment or {})
        self._directory = tempfile.TemporaryDirectory(prefix="audiohookd-")
        self.states: list[str] = []

    def start(self) -> None:
        """Starts it and waits until it says READY=1, as systemd does.

        :raises DaemonDied: it does not.
        """
        address = str(Path(self._directory.name) / "notify")
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(address)
        self._log = (Path(self._directory.name) / "log").open("w+b")
        self.process = subprocess.Popen(
            self._command,
            env=self._environment | {"NOTIFY_SOCKET": address},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.wait_for("READY=1")

    def wait_for(self, state: str, patience: float = PATIENCE) -> None:
        """Waits for a line of one of its notices.

        :raises DaemonDied: it ended, or said nothing of the kind in time.
        """
        self._notices.settimeout(0.1)
        for _ in range(int(patience * 10)):
            if state in self.states:
                return
            try:
                self.states += self._notices.recv(4096).decode().splitlines()
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        if state not in self.states:
            raise DaemonDied(f"status {self.process.poll()}\n{self.log()}")

    def log(self, encoding: str = "utf-8") -> str:
        """All that it has written so far."""
        return Path(self._log.name).read_text(encoding, "replace")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits; returns the status (negative for a signal's own)."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._notices.close()
        self._log.close()
        self._directory.cleanup()

    def __enter__(self) -> "Daemon":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.close()
