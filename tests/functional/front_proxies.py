"""Runs the real nginx, HAProxy and Caddy in front of the daemon on loopback, with temporary configurations.

A :class:`Window` between proxy and daemon records the requests that the proxy forwards.
"""

import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.programs import program

#: Seconds to wait for a start before the test fails.
PATIENCE = 20.0


class Program(NamedTuple):
    """A proxy: its command line, and its configuration with the fields ``{front}``, ``{back}`` and ``{place}``."""

    file: str
    command: tuple[str, ...]
    config: str
    package: str


NGINX = Program(
    "nginx",
    ("-e", "stderr", "-p", "{place}", "-c", "{place}/config"),
    """
daemon off;
master_process off;
pid {place}/pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
    uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://127.0.0.1:{back};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
""",
    "nginx-light",
)
HAPROXY = Program(
    "haproxy",
    ("-db", "-f", "{place}/config"),
    """
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend calls
    bind 127.0.0.1:{front}
    default_backend daemon
backend daemon
    server daemon 127.0.0.1:{back}
""",
    "haproxy",
)
CADDY = Program(
    "caddy",
    ("run", "--adapter", "caddyfile", "--config", "{place}/config"),
    """
{{
    admin off
    auto_https off
    persist_config off
}}
http://:{front} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{back}
}}
""",
    "caddyserver",
)
PROGRAMS = {"nginx": NGINX, "HAProxy": HAPROXY, "Caddy": CADDY}


class Proxy:
    """A proxy that forwards the port ``front`` to the port ``back``. Inside the block it accepts connections."""

    def __init__(self, program: Program, place: Path, front: int, back: int) -> None:
        self._program = program
        self._place = place
        self._front = front
        self._back = back
        self.port = front

    def __enter__(self) -> "Proxy":
        given = {"place": self._place, "front": self._front, "back": self._back}
        self._place.mkdir(parents=True)
        (self._place / "config").write_text(self._program.config.format(**given))
        path = program(self._program.file, self._program.package)
        command = [path, *(word.format(**given) for word in self._program.command)]
        home = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._place), "XDG_DATA_HOME": str(self._place)}
        with (self._place / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the proxy's first process."""
        self._process.send_signal(number)

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._front)) == 0:
                    return
            said = (self._place / "log").read_text("utf-8", "replace")
            assert self._process.poll() is None, f"{self._program.file} ended: {said}"
            assert time.monotonic() < deadline, f"{self._program.file} does not answer: {said}"
            time.sleep(0.05)

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Window(socketserver.ThreadingTCPServer):
    """Forwards its port to the daemon's port, and records the text before each blank line."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, back: int) -> None:
        super().__init__(("127.0.0.1", port), _Pane)
        self.back = back
        self.seen: list[bytes] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Window":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def head_with(self, mark: str) -> bytes:
        """The head of the one request that contains ``mark``."""
        (head,) = (data for data in self.seen if mark.encode() in data)
        return head.partition(b"\r\n\r\n")[0]


class _Pane(socketserver.BaseRequestHandler):
    server: Window

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.back)) as daemon:
            backwards = threading.Thread(target=_pump, args=(daemon, self.request, []), daemon=True)
            backwards.start()
            kept: list[bytes] = []
            _pump(self.request, daemon, kept)
            self.server.seen.append(b"".join(kept))
            backwards.join(PATIENCE)


def _pump(source: socket.socket, target: socket.socket, kept: list[bytes]) -> None:
    try:
        while data := source.recv(65_536):
            kept.append(data)
            target.sendall(data)
    except OSError:
        kept.append(b"")
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        kept.append(b"")
