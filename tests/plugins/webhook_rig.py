"""A webhook receiver over real sockets on loopback, with the responses that a test wants."""

import ipaddress
import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from audiohookd.spool.catalog import Recording
from audiohookd_plugins.webhook import WebhookConfig, WebhookPlugin
from tests.plugins.notification_rig import NOW, NotifyingDaemon

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Request(NamedTuple):
    """A received request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def notice(self) -> dict[str, Any]:
        return json.loads(self.body)


class Exchange(BaseHTTPRequestHandler):
    """One connection. A test responds with a function of this."""

    protocol_version = "HTTP/1.1"
    server: "WebhookServer"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.command, self.path, headers, body))
        self.server.answer(self)

    do_CONNECT = do_GET = do_POST

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Transfer_Encoding" not in headers and "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang(self) -> None:
        """Waits until the end of the test."""
        self.server.over.wait(30)
        self.close_connection = True

    def reset(self) -> None:
        """Resets the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.detach() if isinstance(self.connection, ssl.SSLSocket) else self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Logs nothing to stderr."""


class WebhookServer(ThreadingHTTPServer):
    """Responds with 204 unless ``answer`` is something else."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.requests: list[Request] = []
        self.connections = 0
        self.over = Event()
        self.scheme = "http"
        self.answer: Callable[[Exchange], None] = lambda exchange: exchange.reply(204)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/recordings"

    def answers(self, *statuses: int, **headers: Any) -> None:
        """Responds with these in turn, then always with the last one."""
        left = list(statuses)
        self.answer = lambda exchange: exchange.reply(left.pop(0) if len(left) > 1 else left[0], **headers)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores that a client has disconnected, which some tests are about."""


@contextmanager
def serving(certificate: "Certificate | None" = None) -> Iterator[WebhookServer]:
    server = WebhookServer()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        # In the connection's own thread, so that a client without a TLS hello does not block the others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.scheme = "https"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Certificate(NamedTuple):
    """The files of a self-signed certificate and its key."""

    chain: Path
    key: Path


def certificate(directory: Path, address: str = "127.0.0.1") -> Certificate:
    """For a server at ``address``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(directory / "chain.pem", directory / "key.pem")
    files.chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def private_file(path: Path, *lines: str, mode: int = 0o640) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


class Sender:
    """The plugin in its own daemon."""

    def __init__(self, now: float = NOW, **options: Any) -> None:
        self.daemon = NotifyingDaemon(now)
        self.plugin = WebhookPlugin(WebhookConfig(**{"timeout": 5.0, **options}), self.daemon)

    def tell(self, recording: Recording) -> Exception | None:
        return self.daemon.tell(self.plugin, recording)
