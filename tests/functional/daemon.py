"""Runs the installed daemon as a subprocess."""

import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

#: Seconds to wait for a start or stop before the test fails, also on a slow, shared machine.
PATIENCE = 30.0


class DaemonDied(Exception):
    """The daemon ended before it was ready. The text is its output."""


class Daemon:
    """Runs ``twistd --nodaemon audiohookd --config CONFIG`` from the environment with the directory ``bin``.

    As a context manager it starts the daemon and waits until it is ready, and stops it with SIGTERM.
    """

    def __init__(self, bin: Path, config: Path, environment: dict[str, str] | None = None) -> None:  # noqa: A002
        self._command = [str(bin / "twistd"), "--nodaemon", "--pidfile=", "audiohookd", "--config", str(config)]
        self._environment = os.environ | (environment or {})
        self._directory = tempfile.TemporaryDirectory(prefix="audiohookd-")
        self.states: list[str] = []

    def start(self) -> None:
        """Starts the daemon, and waits for READY=1, as systemd does.

        :raises DaemonDied: the daemon ended, or did not become ready in time.
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

    def wait_for(self, state: str, timeout: float = PATIENCE) -> None:
        """Waits for a line in one of the daemon's notifications.

        :raises DaemonDied: the daemon ended, or did not send the line in time.
        """
        self._notices.settimeout(0.1)
        for _ in range(int(timeout * 10)):
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
        """The output of the daemon so far."""
        return Path(self._log.name).read_text(encoding, "replace")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and waits. Returns the exit status, negative if a signal ended the process."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kills the daemon if it still runs, and closes its files."""
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
