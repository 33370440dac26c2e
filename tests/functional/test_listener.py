"""Where calls come from, who may knock and how often: with the real daemon, over real sockets."""

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
from conftest import Place

from tests.certificates import write_certificate
from tests.functional.caller import API_KEY, Caller, SecureCaller, signed_head
from tests.functional.daemon import Daemon
from tests.functional.front_proxies import HAPROXY, Proxy
from tests.functional.listener_rig import MakePlace, configured, counted, wait
from tests.proxy_headers import LOCAL, UNSPECIFIED, v1, v2, v2_of
from tests.stores.ports import free_ports

CLIENT, OTHER = ip_address("203.0.113.7"), ip_address("203.0.113.8")
V1 = v1(CLIENT)
TLS = {"tls_certificate": "tls.pem", "tls_key": "tls.key"}


def call_through(there: Place, preamble: bytes) -> str:
    """A call whose connection begins with ``preamble``; the address that its recording has."""
    with Caller(there.port) as caller:
        caller.socket.sendall(preamble)
        assert caller.open()["type"] == "opened"
        caller.audio(bytes(1600))
        assert caller.close()["type"] == "closed"
    (sidecar,) = there.sidecars(1)
    (asked,) = {entry["peer"] for entry in peers(sidecar)}
    return asked


def peers(value: Any) -> Iterator[dict[str, Any]]:
    """Whatever in a sidecar has a ``peer``."""
    if isinstance(value, dict):
        if "peer" in value:
            yield value
        for one in value.values():
            yield from peers(one)
    elif isinstance(value, list):
        for one in value:
            yield from peers(one)


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

    def test_without_it_or_with_nonsense_the_connection_ends_and_the_daemon_goes_on(self, place: MakePlace) -> None:
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
            assert counted(there, 'refusals_total{reason="dropped"}') == len(nonsense)

    def test_limits_and_the_log_are_about_the_client(self, place: MakePlace) -> None:
        there = configured(place, {"allow": ["203.0.113.0/29"]}, prefix="haproxy:")
        with there.daemon() as daemon:
            assert call_through(there, V1) == "203.0.113.7"
            with Caller(there.port) as stranger:
                assert is_dropped(stranger, v2(OTHER) + stranger._head)
            wait(lambda: "203.0.113.8 dropped: not in listen.allow" in daemon.log())
            assert counted(there, 'limits_total{limit="allow"}') == 1

    def test_who_is_not_in_the_list_is_dropped_before_tls(self, place: MakePlace) -> None:
        there = configured(place, {"allow": ["203.0.113.7"], **TLS}, prefix="haproxy:")
        certificate, _ = write_certificate(there.directory)
        with there.daemon() as daemon:
            with Caller(there.port) as stranger:
                assert is_dropped(stranger, v2(OTHER) + hello())
            wait(lambda: "203.0.113.8 dropped: not in listen.allow" in daemon.log())
            with SecureCaller(there.port, certificate, v2(CLIENT)) as caller:
                assert caller.open()["type"] == "opened"
            assert counted(there, 'limits_total{limit="allow"}') == 1

    def test_a_storm_is_dropped_before_tls_and_others_call(self, place: MakePlace) -> None:
        listen = {**TLS, "max_sessions": 10}  # so many may come at once in any case
        there = configured(place, listen, prefix="haproxy:", limits={"handshakes_per_second": 1})
        certificate, _ = write_certificate(there.directory)
        with there.daemon(), contextlib.ExitStack() as stack:
            storm = [stack.enter_context(Caller(there.port)) for _ in range(40)]
            dropped = [is_dropped(stranger, v2(OTHER) + hello()) for stranger in storm]
            assert dropped[:10] == [False] * 10
            assert 20 < sum(dropped) == counted(there, 'limits_total{limit="handshakes-per-address"}')
            with SecureCaller(there.port, certificate, v2(CLIENT)) as caller:
                assert caller.open()["type"] == "opened"

    @pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
    def test_as_haproxy_speaks_it_checks_of_our_health_included(self, place: MakePlace, version: str) -> None:
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


#: TCP, as it comes, with a check of the daemon's health each tenth of a second.
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
    """What a client of TLS begins with."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="calls.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def is_dropped(stranger: Caller, said: bytes) -> bool:
    """Whether that is all the answer he gets."""
    try:
        stranger.socket.sendall(said)
        return stranger.socket.recv(1) == b""
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
            assert counted(there, 'tolerated_total{kind="forwarded-for"}') == (address == "127.0.0.1")


def test_the_authority_may_be_another_than_the_host(place: MakePlace) -> None:
    there = configured(place)
    there.write(listen={"endpoint": f"tcp:{there.port}:interface=127.0.0.1", "authority": f"127.0.0.1:{there.port}"})
    with there.daemon(), Caller(there.port, signed_head(there.port, str(uuid4()), host="backend")) as caller:
        assert caller.upgrade() == 101


def test_an_allow_file_that_changes_while_the_daemon_runs(place: MakePlace) -> None:
    there = configured(place, {"allow_file": "allow"})
    allow = there.directory / "allow"
    allow.write_text("127.0.0.0/8\n")
    with there.daemon() as daemon:
        with Caller(there.port) as caller:
            assert caller.open()["type"] == "opened"
            allow.write_text("203.0.113.0/24 # elsewhere\n")
            daemon.process.send_signal(signal.SIGHUP)
            wait(lambda: "allow_file reloaded: 1 networks" in daemon.log())
            caller.say("ping")
            assert caller.hear()["type"] == "pong"
            with contextlib.suppress(ConnectionError), Caller(there.port) as stranger:
                assert stranger.hears_nothing_more()
            allow.write_text("nonsense\n")
            wait(
                lambda: (
                    "reload of allow_file failed, the previous version stays in use: line 1: 'nonsense' is no network"
                    in daemon.log()
                )
            )
            assert caller.close()["type"] == "closed"
        allow.write_text("127.0.0.1\n")
        wait(lambda: daemon.log().count("allow_file reloaded") == 2)
        with Caller(there.port) as caller:
            assert caller.upgrade() == 101
        assert counted(there, 'bad_reloads_total{file="allow_file"}') == 1


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

    def test_a_bad_one_changes_nothing(self, there: Place) -> None:
        certificate, key = there.directory / "tls.pem", there.directory / "tls.key"
        with there.daemon() as daemon:
            good = key.read_bytes()
            key.write_bytes(b"nothing")
            daemon.process.send_signal(signal.SIGHUP)
            wait(lambda: "reload of tls_certificate failed, the previous version stays in use: " in daemon.log())
            key.write_bytes(good)
            with SecureCaller(there.port, certificate) as caller:
                assert caller.open()["type"] == "opened"

    def test_who_does_not_speak_tls_costs_a_line(self, there: Place) -> None:
        with there.daemon() as daemon:
            with Caller(there.port) as plain, contextlib.suppress(ConnectionError):
                plain.socket.sendall(plain._head)
                while plain.socket.recv(4096):
                    pass
            wait(lambda: "127.0.0.1 dropped: TLS failed (http request)" in daemon.log())
            assert "SSL" not in daemon.log()

    def test_behind_the_proxy_protocol(self, place: MakePlace) -> None:
        there = configured(place, TLS, prefix="haproxy:")
        certificate, _ = write_certificate(there.directory)
        with there.daemon(), SecureCaller(there.port, certificate, V1) as caller:
            assert caller.open()["type"] == "opened"
            assert caller.close()["type"] == "closed"
            (sidecar,) = there.sidecars(1)
            assert {entry["peer"] for entry in peers(sidecar)} == {"203.0.113.7"}


def resident(daemon: Daemon) -> int:
    """Bytes of memory."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


class TestStrangers:
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    def test_a_thousand_that_are_half_open_have_less_than_64_kib_each(self, place: MakePlace, secure: bool) -> None:
        """15 KiB of a head, which never ends; all at once. And calls are taken meanwhile."""
        tls = TLS if secure else {}
        limits = {"handshakes_per_second": 0, "handshakes_per_second_total": 0, "handshake_timeout": 60}
        there = configured(place, tls, limits=limits)
        certificate, _ = write_certificate(there.directory)
        context = ssl.create_default_context(cafile=str(certificate))
        half = b"GET / HTTP/1.1\r\nX: " + b"x" * 15_000
        with there.daemon() as daemon, contextlib.ExitStack() as strangers:
            before = resident(daemon)
            for _ in range(1000):
                stranger = socket.create_connection(("127.0.0.1", there.port), 20)
                if secure:
                    stranger = context.wrap_socket(stranger, server_hostname="calls.example.com")
                strangers.enter_context(stranger).sendall(half)
            with SecureCaller(there.port, certificate) if secure else Caller(there.port) as caller:
                assert caller.open()["type"] == "opened"
            each = (resident(daemon) - before) / 1000
            assert 15_000 < each < 65_536

    def test_a_head_that_trickles_in_has_its_time_and_no_more(self, place: MakePlace) -> None:
        there = configured(place, limits={"handshake_timeout": 1.0})
        with there.daemon(), Caller(there.port) as slow:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for octet in slow._head[:200]:
                    slow.socket.sendall(bytes([octet]))
                    time.sleep(0.1)
            assert 0.9 < time.monotonic() - began < 5.0
            assert counted(there, 'limits_total{limit="handshake-timeout"}') == 1

    def test_who_comes_around_the_proxies_is_not_who_he_says(self, place: MakePlace) -> None:
        listen = {"trusted_hops": 1, "trusted_proxies": ["192.0.2.0/24"], "allow": ["203.0.113.0/24"]}
        there = configured(place, listen)
        with there.daemon() as daemon:
            with Caller(there.port, signed_head(there.port, str(uuid4()), x_forwarded_for="203.0.113.9")) as stranger:
                assert stranger.upgrade() == 403
            assert counted(there, 'tolerated_total{kind="untrusted-proxy"}') == 1
            assert "127.0.0.1 refused: 403" in daemon.log()

    def test_too_many_of_them_are_refused_and_calls_are_not(self, place: MakePlace) -> None:
        there = configured(place, {"trusted_hops": 1, "max_sessions": 10}, limits={"handshakes_per_second": 1})
        with there.daemon() as daemon:
            heads = [signed_head(there.port, str(uuid4()), x_api_key="bm9ib2R5", x_forwarded_for="203.0.113.9")] * 30
            with contextlib.ExitStack() as stack:
                strangers = [stack.enter_context(Caller(there.port, head)) for head in heads]
                for stranger in strangers:
                    stranger.socket.sendall(stranger._head)
                statuses = [int(stranger.socket.recv(4096).split()[1]) for stranger in strangers]
            assert set(statuses) == {401, 429}
            assert statuses.count(401) < 20
            with Caller(there.port, signed_head(there.port, str(uuid4()), x_forwarded_for="203.0.113.10")) as caller:
                assert caller.upgrade() == 101
            assert 1 <= daemon.log().count("203.0.113.9 refused: 429 ") <= 20

    @pytest.mark.parametrize(
        ("limit", "same"),
        [("sessions_per_organization", True), ("sessions_per_key", True), ("sessions_per_key", False)],
    )
    def test_one_session_too_many_is_told_to_try_again(self, place: MakePlace, limit: str, same: bool) -> None:
        there = configured(place, limits={limit: 1})
        (there.directory / "keys.json").write_text(json.dumps({API_KEY: None}))
        with there.daemon(), unsigned(there) as first:
            assert first.open()["type"] == "opened"
            with unsigned(there, first.organization.upper() if same else str(uuid4())) as second:
                answer = second.open()
                assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
                assert second.close()["type"] == "closed"
            assert first.close()["type"] == "closed"
            assert counted(there, f'limits_total{{limit="{limit.replace("_", "-")}"}}') == 1
            first.socket.close()

            def finds_a_place() -> bool:
                """The recorder may still be busy with the first one."""
                with unsigned(there, first.organization) as third:
                    return third.open()["type"] == "opened"

            wait(finds_a_place)

    def test_another_organization_has_places_of_its_own(self, place: MakePlace) -> None:
        there = configured(place, limits={"sessions_per_organization": 1})
        with there.daemon(), Caller(there.port) as first, Caller(there.port) as second:
            assert [caller.open()["type"] for caller in (first, second)] == ["opened"] * 2


def unsigned(there: Place, organization: str | None = None) -> Caller:
    """Of an organization that is chosen, for nothing signs it."""
    chosen = organization or str(uuid4())
    session = str(uuid4())
    caller = Caller(there.port, signed_head(there.port, session, secret=None, audiohook_organization_id=chosen))
    caller.session = session
    return caller
