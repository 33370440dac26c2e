"""What of HashiCorp Vault (or OpenBao) the daemon speaks to: KV version 2, and AppRole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROLE, SECRET_ID = "a-role", "a-secret-id"


class Exchange(BaseHTTPRequestHandler):
    server: "VaultStandIn"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        version = int(parse_qs(url.query).get("version", ["0"])[0])
        self.server.asked.append(f"GET {url.path} {version}")
        if self.server.status != 200:
            self._say(self.server.status, {"errors": [f"no {self.headers['X-Vault-Token']}"]})
        elif self.headers["X-Vault-Token"] not in self.server.tokens:
            self._say(403, {"errors": ["permission denied"]})
        elif url.path != "/v1/secret/data/audiohookd":
            self._say(404, {"errors": []})
        else:
            self._say_version(version or len(self.server.versions))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(f"POST {self.path}")
        if body != {"role_id": ROLE, "secret_id": SECRET_ID}:
            self._say(400, {"errors": [f"invalid role or secret ID {body}"]})
            return
        self.server.logins += 1
        token = f"token-{self.server.logins}"
        self.server.tokens.add(token)
        self._say(200, {"auth": {"client_token": token, "lease_duration": 30}})

    def _say_version(self, number: int) -> None:
        data, made = self.server.versions[number - 1]
        created = datetime.fromtimestamp(made, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
        metadata = {"version": number, "created_time": created, "deletion_time": "" if data is not None else created}
        self._say(200 if data is not None else 404, {"data": {"data": data, "metadata": metadata}})

    def _say(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class VaultStandIn(ThreadingHTTPServer):
    """``versions`` of the secret ``audiohookd``, with their dates; None is a deleted version."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.versions: list[tuple[object, float]] = []
        self.tokens = {"a-token"}
        self.logins = 0
        self.status = 200
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def vault_stand_in() -> Iterator[VaultStandIn]:
    with VaultStandIn() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
