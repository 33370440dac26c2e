"""The admin port of a real daemon: which requests it answers, and how many clients delay calls."""

import json
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import Caller, signed_head
from tests.functional.place import Place
from tests.programs import program

MakePlace = Callable[..., Place]
#: Number of concurrent clients; and seconds.
CLIENTS, DURATION = 90, 4.0


def ask(address: tuple[str, int] | str, head: str) -> tuple[int, str]:
    """Sends a request with this head, and returns the status and body of the response."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(f"{head}\r\n\r\n".encode())
        data = b""
        while piece := connection.recv(65_536):
            data += piece
    top, _, body = data.decode().partition("\r\n\r\n")
    return int(top.split(" ")[1]), body


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: localhost:3001", 200),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1", 200),
        ("GET /metrics HTTP/1.1\r\nHost: metrics.example.com:3001", 200),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example:3001", 421),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://rebound.example", 403),
        ("GET /ready HTTP/1.0", 200),
        ("GET /ready HTTP/1.1", 400),
        ("GET /ready HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example", 400),
    ],
)
def test_a_request_is_answered_by_its_host(place: MakePlace, head: str, status: int) -> None:
    there = place()
    endpoint = f"tcp:{there.admin_port}:interface=127.0.0.1"
    there.write(admin={"endpoint": endpoint, "allowed_hosts": ["metrics.example.com"]})
    with there.daemon():
        found, body = ask(("127.0.0.1", there.admin_port), head)
    assert found == status
    assert ("audiohookd_connections_total" in body) == (status == 200 and "/metrics" in head)
    assert ("allowed_hosts" in body) == (status == 421)


def test_curl_asks_by_a_unix_socket(place: MakePlace) -> None:
    there = place()
    path = there.directory / "admin.sock"
    there.write(admin={"endpoint": f"unix:{path}:mode=600"})
    with there.daemon():
        command: list[Any] = [program("curl", package="curl"), "-sS", "--unix-socket", path, "http://localhost/ready"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (done.stdout.splitlines()[0], done.stderr) == ("ready", "")
        assert ask(str(path), "GET /ready HTTP/1.1\r\nHost: rebound.example")[0] == 421


@pytest.mark.parametrize("hints", ["", "host=h{n}.example&path=/p{n}"], ids=["the same", "different"])
def test_many_clients_that_ask_for_rejected_requests_hold_up_no_call(served: Place, hints: str) -> None:
    """90 clients delayed ``opened`` by 1.1 s (median), and none of them had a response within 7 s."""

    def reject(number: int) -> int:
        head = signed_head(served.port, str(uuid4()), b"a wrong secret")
        with Caller(served.port, head.replace(b" HTTP/1.1", b"?n=%d HTTP/1.1" % number)) as caller:
            return int(caller.upgrade())

    with ThreadPoolExecutor(5) as pool:  # the limit of concurrent handshakes per address
        assert set(pool.map(reject, range(50))) == {401}
    ended = threading.Event()
    statuses: list[int] = []

    def flood(client: int) -> None:
        while not ended.is_set():
            head = f"GET /refused?{hints.format(n=client)} HTTP/1.1\r\nHost: localhost"
            try:
                statuses.append(ask(("127.0.0.1", served.admin_port), head)[0])
            except OSError:
                time.sleep(0.05)

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(flood, number) for number in range(CLIENTS)]
        try:
            time.sleep(0.5)
            taken = _opened(served.port, DURATION)
        finally:
            ended.set()
        for client in clients:
            client.result(60)
    assert statistics.median(taken) < 0.3
    assert 200 in statuses
    assert set(statuses) <= {200, 503}


def _opened(port: int, duration: float) -> list[float]:
    """Makes one call after the other, and returns the seconds from ``open`` to ``opened`` of each."""
    taken: list[float] = []
    end = time.monotonic() + duration
    while time.monotonic() < end:
        with Caller(port) as caller:
            begun = time.monotonic()
            assert caller.open()["type"] == "opened"
            taken.append(time.monotonic() - begun)
            caller.close()
        time.sleep(0.05)
    return taken


def test_a_loopback_test_call_with_a_wrong_secret_has_the_secret_as_its_likeliest_cause(place: MakePlace) -> None:
    there = place()
    with there.daemon():
        with Caller(there.port, signed_head(there.port, str(uuid4()), b"a wrong secret")) as caller:
            assert caller.upgrade() == 401
        _, body = ask(("127.0.0.1", there.admin_port), "GET /refused HTTP/1.1\r\nHost: localhost")
    (one,) = json.loads(body)["refused"]
    causes = [line for line in one["explanation"] if "a guess: " in line]
    assert "the secret is not the signer's" in causes[0]
