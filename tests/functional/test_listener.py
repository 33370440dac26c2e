"""Client addresses, allow list, handshake limits and TLS, with the real daemon over real sockets."""

import contextlib
import json
import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.certificates import write_certificate
from tests.functional.caller import API_KEY, Caller, SecureCaller, signed_head
from tests.functional.daemon import Daemon
from tests.functional.front_proxies import HAPROXY, Proxy
from tests.functional.listener_rig import MakePlace, configured, counted, wait
from tests.functional.place import Place
from tests.proxy_headers import LOCAL, UNSPECIFIED, v1, v2, v2_of
from tests.stores.ports import free_ports

CLIENT, OTHER = ip_address("203.0.113.7"), ip_address("203.0.113.8")
V1 = v1(CLIENT)
TLS = {"tls_certificate": "tls.pem", "tls_key": "tls.key"}


def call_through(there: Place, preamble: bytes) -> str:
    """Makes a call over a connection that begins with ``preamble``. Returns the client address in its recording."""
    with Caller(there.port) as caller:
        caller.socket.sendall(preamble)
        assert caller.open()["type"] == "opened"
        caller.audio(bytes(1600))
        assert caller.close()["type"] == "closed"
    (sidecar,) = there.sidecars(1)
    (asked,) = {entry["peer"] for entry in peers(sidecar)}
    return asked


def peers(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a sidecar that have a ``peer``."""
    if isinstance(value, dict):
        if "peer" in value:
            yield value
        for member in value.values():
            yield from peers(member)
    elif isinstance(value, list):
        for item in value:
            yield from peers(item)


class TestProxyProtocol:
    @pytest.mark.parametrize(
        ("preamble", "address"),
        [
            (V1, "203.0.113.7"),
            (v1(ip_address("2001:db8::7")), "2001:db8::7"),
            (v2(OTHER), "203.0.113.8"),
            (v2(OTHER, extra=b"\x04\x00\x02ab"), "203.0.113.8"),
            (v2_of(LOCAL, UNSPECIFIED), "127.0.0.1"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "127.0.0.1"),
        ],
        ids=["v1", "v1 of IPv6", "v2", "v2 with more", "v2 LOCAL", "v1 UNKNOWN, short", "v1 UNKNOWN"],
    )
    def test_the_recording_has_the_address_of_the_client(
        self, place: MakePlace, preamble: bytes, address: str
    ) -> None:
        there = configured(place, prefix="haproxy:")
        with there.daemon():
            assert call_through(there, preamble) == address

    def test_a_missing_or_invalid_header_ends_only_that_connection(self, place: MakePlace) -> None:
        there = configured(place, prefix="haproxy:")
        nonsense = [b"", b"PROXY", b"PROXY TCP9 a b c d\r\n", b"\x00" * 40, V1[:-2] * 9, b"PROXY TCP4 a b c d\r\n"]
        with there.daemon() as daemon:
            for preamble in nonsense:
                with Caller(there.port) as caller:
                    caller.socket.sendall(preamble)
                    with contextlib.suppress(ConnectionError):
                        caller.socket.sendall(signed_head(there.port, str(uuid4())))
                        assert caller.hears_nothing_more()
            assert call_through(there, V1) == "203.0.113.7"
            assert "listening on" in daemon.log()
            assert "Traceback" not in daemon.log()
            assert counted(there, 'rejections_total{reason="dropped"}') == len(nonsense)

    def test_limits_and_the_log_are_about_the_client(self, place: MakePlace) -> None:
        there = configured(place, {"allowed_networks": ["203.0.113.0/29"]}, prefix="haproxy:")
        with there.daemon() as daemon:
            assert call_through(there, V1) == "203.0.113.7"
            with Caller(there.port) as client:
                assert is_dropped(client, v2(OTHER) + client._head)
            wait(lambda: "203.0.113.8 dropped: not in listen.allowed_networks" in daemon.log())
            assert counted(there, 'limit_hits_total{limit="allowed_networks"}') == 1

    def test_a_client_outside_the_allow_list_is_dropped_before_tls(self, place: MakePlace) -> None:
        there = configured(place, {"allowed_networks": ["203.0.113.7"], **TLS}, prefix="haproxy:")
        certificate, _ = write_certificate(there.directory)
        with there.daemon() as daemon:
            with Caller(there.port) as client:
                assert is_dropped(client, v2(OTHER) + hello())
            wait(lambda: "203.0.113.8 dropped: not in listen.allowed_networks" in daemon.log())
            with SecureCaller(there.port, certificate, v2(CLIENT)) as caller:
                assert caller.open()["type"] == "opened"
            assert counted(there, 'limit_hits_total{limit="allowed_networks"}') == 1

    def test_a_flood_is_dropped_before_tls_and_other_clients_call(self, place: MakePlace) -> None:
        listen = {**TLS, "max_sessions": 10}  # as many handshakes at once are always allowed
        there = configured(place, listen, prefix="haproxy:", limits={"handshakes_per_second": 1})
        certificate, _ = write_certificate(there.directory)
        with there.daemon(), contextlib.ExitStack() as stack:
            storm = [stack.enter_context(Caller(there.port)) for _ in range(40)]
            dropped = [is_dropped(client, v2(OTHER) + hello()) for client in storm]
            assert dropped[:10] == [False] * 10
            assert 20 < sum(dropped) == counted(there, 'limit_hits_total{limit="handshakes-per-address"}')
            with SecureCaller(there.port, certificate, v2(CLIENT)) as caller:
                assert caller.open()["type"] == "opened"

    @pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
    def test_haproxy_sends_it_with_calls_and_health_checks(self, place: MakePlace, version: str) -> None:
        there = configured(place, TLS, prefix="haproxy:")
        certificate, _ = write_certificate(there.directory)
        (front,) = free_ports(1)
        program = HAPROXY._replace(config=PASSING_ON.replace("VERSION", version))
        with there.daemon() as daemon, Proxy(program, there.directory / "haproxy", front, there.port):
            time.sleep(0.5)
            with SecureCaller(front, certificate, source="127.0.0.9") as caller:
                assert caller.open()["type"] == "opened"
                assert caller.close()["type"] == "closed"
            (sidecar,) = there.sidecars(1)
            assert {entry["peer"] for entry in peers(sidecar)} == {"127.0.0.9"}
            assert not re.search("dropped|refused|Traceback", daemon.log())


#: HAProxy in TCP mode, with a health check of the daemon every 0.1 s.
PASSING_ON = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend calls
    bind 127.0.0.1:{front}
    default_backend daemon
backend daemon
    server daemon 127.0.0.1:{back} VERSION check check-send-proxy inter 100
"""


def hello() -> bytes:
    """The first bytes of a TLS client."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="calls.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def is_dropped(client: Caller, said: bytes) -> bool:
    """Sends ``said``, and returns whether the daemon closes the connection without a response."""
    try:
        client.socket.sendall(said)
        return client.socket.recv(1) == b""
    except ConnectionError:
        return True


class TestForwarded:
    @pytest.mark.parametrize(
        ("forwarded", "address"), [("6.6.6.6, 203.0.113.9", "203.0.113.9"), ("", "127.0.0.1"), ("who", "127.0.0.1")]
    )
    def test_the_nearest_proxy_is_believed(self, place: MakePlace, forwarded: str, address: str) -> None:
        there = configured(place, {"trusted_hops": 1})
        with there.daemon():
            head = signed_head(there.port, str(uuid4()), x_forwarded_for=forwarded)
            session = re.search(rb"audiohook-session-id: (\S+)", head)
            with Caller(there.port, head) as caller:
                assert session is not None
                caller.session = session[1].decode()
                assert caller.open()["type"] == "opened"
                assert caller.close()["type"] == "closed"
            (sidecar,) = there.sidecars(1)
            assert {entry["peer"] for entry in peers(sidecar)} == {address}
            assert counted(there, 'protocol_anomalies_total{kind="forwarded-for"}') == (address == "127.0.0.1")


def test_the_authority_may_differ_from_the_host(place: MakePlace) -> None:
    there = configured(place)
    there.write(listen={"endpoint": f"tcp:{there.port}:interface=127.0.0.1", "authority": f"127.0.0.1:{there.port}"})
    with there.daemon(), Caller(there.port, signed_head(there.port, str(uuid4()), host="backend")) as caller:
        assert caller.upgrade() == 101


def test_a_changed_allow_file_is_reloaded(place: MakePlace) -> None:
    there = configured(place, {"allowed_networks_file": "allow"})
    allow = there.directory / "allow"
    allow.write_text("127.0.0.0/8\n")
    with there.daemon() as daemon:
        with Caller(there.port) as caller:
            assert caller.open()["type"] == "opened"
            allow.write_text("203.0.113.0/24 # elsewhere\n")
            daemon.process.send_signal(signal.SIGHUP)
            wait(lambda: "allowed_networks_file reloaded: 1 networks" in daemon.log())
            caller.say("ping")
            assert caller.hear()["type"] == "pong"
            with contextlib.suppress(ConnectionError), Caller(there.port) as client:
                assert client.hears_nothing_more()
            allow.write_text("nonsense\n")
            wait(
                lambda: (
                    "reload of allowed_networks_file failed, the previous version stays in use: line 1: 'nonsense' is"
                    in daemon.log()
                )
            )
            assert caller.close()["type"] == "closed"
        allow.write_text("127.0.0.1\n")
        wait(lambda: daemon.log().count("allowed_networks_file reloaded") == 2)
        with Caller(there.port) as caller:
            assert caller.upgrade() == 101
        assert counted(there, 'reload_failures_total{file="allowed_networks_file"}') == 1


class TestTLS:
    @pytest.fixture
    def there(self, place: MakePlace) -> Place:
        there = configured(place, TLS)
        write_certificate(there.directory)
        return there

    def test_a_renewed_certificate_is_served_while_a_call_lives_on(self, there: Place) -> None:
        certificate = there.directory / "tls.pem"
        with there.daemon() as daemon, SecureCaller(there.port, certificate) as old:
            assert old.open()["type"] == "opened"
            write_certificate(there.directory)
            with pytest.raises(ssl.SSLCertVerificationError):
                SecureCaller(there.port, certificate)
            wait(lambda: "tls_certificate reloaded: a certificate that expires on" in daemon.log())
            with SecureCaller(there.port, certificate) as new:
                assert new.open()["type"] == "opened"
                old.audio(bytes(1600))
                old.say("ping")
                assert old.hear()["type"] == "pong"
                assert [caller.close()["type"] for caller in (old, new)] == ["closed"] * 2
            there.sidecars(2)
            assert "Traceback" not in daemon.log()

    def test_an_invalid_certificate_changes_nothing(self, there: Place) -> None:
        certificate, key = there.directory / "tls.pem", there.directory / "tls.key"
        with there.daemon() as daemon:
            good = key.read_bytes()
            key.write_bytes(b"nothing")
            daemon.process.send_signal(signal.SIGHUP)
            wait(lambda: "reload of tls_certificate failed, the previous version stays in use: " in daemon.log())
            key.write_bytes(good)
            with SecureCaller(there.port, certificate) as caller:
                assert caller.open()["type"] == "opened"

    def test_a_client_without_tls_is_logged_in_one_line(self, there: Place) -> None:
        with there.daemon() as daemon:
            with Caller(there.port) as plain, contextlib.suppress(ConnectionError):
                plain.socket.sendall(plain._head)
                while plain.socket.recv(4096):
                    pass
            wait(lambda: "127.0.0.1 dropped: TLS failed (http request)" in daemon.log())
            assert "SSL" not in daemon.log()

    def test_tls_works_behind_the_proxy_protocol(self, place: MakePlace) -> None:
        there = configured(place, TLS, prefix="haproxy:")
        certificate, _ = write_certificate(there.directory)
        with there.daemon(), SecureCaller(there.port, certificate, V1) as caller:
            assert caller.open()["type"] == "opened"
            assert caller.close()["type"] == "closed"
            (sidecar,) = there.sidecars(1)
            assert {entry["peer"] for entry in peers(sidecar)} == {"203.0.113.7"}


def resident(daemon: Daemon) -> int:
    """The resident memory of the daemon in bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


class TestUnauthenticatedClients:
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    def test_a_thousand_that_are_half_open_have_less_than_64_kib_each(self, place: MakePlace, secure: bool) -> None:
        """Each connection sends 15 KiB of an endless head at once. The daemon still accepts calls."""
        tls = TLS if secure else {}
        limits = {"handshakes_per_second": 0, "handshakes_per_second_total": 0, "handshake_timeout": "1 min"}
        there = configured(place, tls, limits=limits)
        certificate, _ = write_certificate(there.directory)
        context = ssl.create_default_context(cafile=str(certificate))
        half = b"GET / HTTP/1.1\r\nX: " + b"x" * 15_000
        with there.daemon() as daemon, contextlib.ExitStack() as clients:
            before = resident(daemon)
            for _ in range(1000):
                client = socket.create_connection(("127.0.0.1", there.port), 20)
                if secure:
                    client = context.wrap_socket(client, server_hostname="calls.example.com")
                clients.enter_context(client).sendall(half)
            with SecureCaller(there.port, certificate) if secure else Caller(there.port) as caller:
                assert caller.open()["type"] == "opened"
            each = (resident(daemon) - before) / 1000
            assert 15_000 < each < 65_536

    def test_a_slow_request_head_times_out(self, place: MakePlace) -> None:
        there = configured(place, limits={"handshake_timeout": "1 s"})
        with there.daemon(), Caller(there.port) as slow:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for octet in slow._head[:200]:
                    slow.socket.sendall(bytes([octet]))
                    time.sleep(0.1)
            assert 0.9 < time.monotonic() - began < 5.0
            assert counted(there, 'limit_hits_total{limit="handshake-timeout"}') == 1

    def test_a_client_that_bypasses_the_proxies_cannot_spoof_its_address(self, place: MakePlace) -> None:
        listen = {"trusted_hops": 1, "trusted_proxies": ["192.0.2.0/24"], "allowed_networks": ["203.0.113.0/24"]}
        there = configured(place, listen)
        with there.daemon() as daemon:
            with Caller(there.port, signed_head(there.port, str(uuid4()), x_forwarded_for="203.0.113.9")) as client:
                assert client.upgrade() == 403
            assert counted(there, 'protocol_anomalies_total{kind="untrusted-proxy"}') == 1
            assert "127.0.0.1 rejected: 403" in daemon.log()

    def test_connections_above_the_limit_are_rejected_and_calls_are_accepted(self, place: MakePlace) -> None:
        there = configured(place, {"trusted_hops": 1, "max_sessions": 10}, limits={"handshakes_per_second": 1})
        with there.daemon() as daemon:
            heads = [signed_head(there.port, str(uuid4()), x_api_key="bm9ib2R5", x_forwarded_for="203.0.113.9")] * 30
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(Caller(there.port, head)) for head in heads]
                for client in clients:
                    client.socket.sendall(client._head)
                statuses = [int(client.socket.recv(4096).split()[1]) for client in clients]
            assert set(statuses) == {401, 429}
            assert statuses.count(401) < 20
            with Caller(there.port, signed_head(there.port, str(uuid4()), x_forwarded_for="203.0.113.10")) as caller:
                assert caller.upgrade() == 101
            assert 1 <= daemon.log().count("203.0.113.9 rejected: 429 ") <= 20

    @pytest.mark.parametrize(
        ("limit", "same"),
        [("sessions_per_organization", True), ("sessions_per_key", True), ("sessions_per_key", False)],
    )
    def test_a_session_above_the_limit_is_asked_to_retry(self, place: MakePlace, limit: str, same: bool) -> None:
        there = configured(place, limits={limit: 1})
        (there.directory / "keys.json").write_text(json.dumps({API_KEY: None}))
        with there.daemon(), unsigned(there) as first:
            assert first.open()["type"] == "opened"
            with unsigned(there, first.organization.upper() if same else str(uuid4())) as second:
                answer = second.open()
                assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
                assert second.close()["type"] == "closed"
            assert first.close()["type"] == "closed"
            assert counted(there, f'limit_hits_total{{limit="{limit.replace("_", "-")}"}}') == 1
            first.socket.close()

            def finds_a_place() -> bool:
                """Tries again, because the recorder may still be busy with the first session."""
                with unsigned(there, first.organization) as third:
                    return third.open()["type"] == "opened"

            wait(finds_a_place)

    def test_another_organization_has_its_own_limit(self, place: MakePlace) -> None:
        there = configured(place, limits={"sessions_per_organization": 1})
        with there.daemon(), Caller(there.port) as first, Caller(there.port) as second:
            assert [caller.open()["type"] for caller in (first, second)] == ["opened"] * 2


def unsigned(there: Place, organization: str | None = None) -> Caller:
    """An unsigned call, which may name any organization."""
    chosen = organization or str(uuid4())
    session = str(uuid4())
    caller = Caller(there.port, signed_head(there.port, session, secret=None, audiohook_organization_id=chosen))
    caller.session = session
    return caller
