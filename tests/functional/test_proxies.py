"""The configurations in docs/proxies.rst work as written with real proxies, apart from ports, paths and addresses."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from audiohookd.config.load import load
from tests.certificates import write_certificate
from tests.functional.caller import Caller, SecureCaller, signed_head
from tests.functional.documents import blocks, snippet
from tests.functional.front_proxies import CADDY, HAPROXY, NGINX, Program, Proxy
from tests.functional.listener_rig import MakePlace
from tests.functional.place import Place
from tests.programs import program
from tests.proxy_headers import v2
from tests.stores.ports import free_ports

DOCUMENT = "docs/proxies.rst"
HOST = "audiohook.example.com"
#: A client address on loopback that the proxies do not use.
CLIENT = "127.0.0.9"


class Site:
    """A proxy in front of a daemon."""

    def __init__(self, there: Place, certificate: Path, front: int, back: int) -> None:
        self.there = there
        self.certificate = certificate
        self.front = front
        self.back = back

    def call(self) -> SecureCaller:
        """Makes a call over TLS from CLIENT, as Genesys Cloud does."""
        return SecureCaller(self.front, self.certificate, source=CLIENT, host=HOST)

    def records(self) -> str:
        """Makes a call, and returns the client address in its recording."""
        with self.call() as caller:
            assert caller.open()["type"] == "opened"
            caller.audio(bytes(1600))
            assert caller.close()["type"] == "closed"
        return peer_of(self.there)


def peer_of(there: Place) -> str:
    """The client address in the one recording."""
    (sidecar,) = there.sidecars(1)
    (entry,) = (entry for entry in sidecar["body"] if entry["type"] == "httpInfo")
    peer: str = entry["data"]["peer"]
    return peer


@pytest.fixture
def site(place: MakePlace) -> Callable[..., contextlib.AbstractContextManager[Site]]:
    @contextlib.contextmanager
    def made(listen: str) -> Iterator[Site]:
        """``listen`` is the document's block for the daemon. Its endpoint is replaced."""
        there = place()
        certificate, _ = write_certificate(there.directory, HOST)
        there.write(listen=listening(there, listen))
        with there.daemon():
            yield Site(there, certificate, free_ports(1)[0], there.port)

    return made


def listening(there: Place, block: str) -> dict[str, Any]:
    """The table ``[listen]`` of a block, with the port and certificate of the place."""
    (there.directory / "block.toml").write_text(block)
    listen = load(there.directory / "block.toml").listen
    endpoint = re.sub(r"tcp:\d+:interface=[\d.]+", f"tcp:{there.port}:interface=127.0.0.1", listen.endpoint)
    values: dict[str, Any] = {"endpoint": endpoint, "trusted_hops": listen.trusted_hops}
    if listen.trusted_proxies:
        values["trusted_proxies"] = ["127.0.0.0/8"]
    if listen.tls_certificate:
        values |= {"tls_certificate": "tls.pem", "tls_key": "tls.key"}
    return values


def as_it_is(text: str) -> str:
    """Escapes a text for ``Program.config``, which is a format."""
    return text.replace("{", "{{").replace("}", "}}")


def replaced(text: str, **by: object) -> str:
    """Replaces each name in ``by``, which must be in the text."""
    for old, new in by.items():
        assert old in text
        text = text.replace(old, str(new))
    return text


def nginx(site: Site, block: str, main: str = "") -> Program:
    here = site.there.directory
    server = replaced(
        block,
        **{
            "listen 443": f"listen 127.0.0.1:{site.front}",
            "/etc/ssl/audiohook.example.com.pem": here / "tls.pem",
            "/etc/ssl/private/audiohook.example.com.key": here / "tls.key",
            "127.0.0.1:3000": f"127.0.0.1:{site.back}",
        },
    )
    return NGINX._replace(config=nginx_with(server, main))


def nginx_with(server: str, main: str = "") -> str:
    """Wraps a server block as Debian's ``nginx.conf`` does."""
    temporary = " ".join(
        f"{kind}_temp_path {{place}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; pid {{place}}/pid; worker_processes 1; {main}\nevents {{{{ }}}}\n"
        f"http {{{{ access_log off; {temporary}\n{as_it_is(server)} }}}}\n"
    )


def haproxy(site: Site, block: str) -> Program:
    here = site.there.directory
    both = here / "both.pem"
    both.write_bytes((here / "tls.pem").read_bytes() + (here / "tls.key").read_bytes())
    # Starts master and worker, as Debian's unit does.
    command = ("-W", "-db", "-f", "{place}/config", "-p", "{place}/pid")
    text = replaced(block, **{"bind :443": f"bind 127.0.0.1:{site.front}"})
    text = text.replace("/etc/haproxy/audiohook.example.com.pem", str(both))
    text = text.replace("127.0.0.1:3000", f"127.0.0.1:{site.back}")
    return HAPROXY._replace(config=as_it_is(text), command=command)


class Caddy:
    """Caddy with a site of the document, and a certificate from a file instead of an authority."""

    def __init__(self, site: Site, block: str) -> None:
        (self.admin,) = free_ports(1)
        here = site.there.directory
        tls = f"tls {here}/tls.pem {here}/tls.key"
        head = f"{{\n    admin 127.0.0.1:{self.admin}\n    auto_https disable_redirects\n    persist_config off\n}}\n"
        named = replaced(block, **{f"{HOST} {{": f"{HOST}:{site.front} {{\n    bind 127.0.0.1\n    {tls}\n"})
        named = re.sub(r"127\.0\.0\.1:3000|10\.0\.1\.5:3443", f"127.0.0.1:{site.back}", named)
        self.program = CADDY._replace(config=as_it_is(head + named))
        self.place = here / "caddy"
        self.proxy = Proxy(self.program, self.place, site.front, site.back)

    def reload(self) -> None:
        subprocess.run(
            [
                *(program(CADDY.file, CADDY.package), "reload", "--force", "--address", f"127.0.0.1:{self.admin}"),
                *("--adapter", "caddyfile", "--config", str(self.place / "config")),
            ],
            check=True,
            capture_output=True,
        )


def goes_on(caller: Caller) -> bool:
    """Whether the daemon still answers a ping in the call."""
    try:
        caller.say("ping")
        return caller.hear()["type"] == "pong"
    except OSError:
        return False


LOCAL = snippet(DOCUMENT, "[listen]\ntrusted_hops = 1\n")
MakeSite = Callable[..., contextlib.AbstractContextManager[Site]]


class TestNginx:
    def test_calls_are_recorded(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            config = nginx(here, snippet(DOCUMENT, "ssl_certificate "))
            with Proxy(config, here.there.directory / "nginx", here.front, here.back):
                assert here.records() == CLIENT

    def test_the_location_of_the_readme_is_enough(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            document = snippet(DOCUMENT, "ssl_certificate ")
            location = snippet("README.rst", "proxy_set_header")
            server = re.sub(r"    location .*?\n    }\n", lambda _: location, document, flags=re.DOTALL)
            assert location in server
            with Proxy(nginx(here, server), here.there.directory / "nginx", here.front, here.back):
                assert here.records() == CLIENT

    @pytest.mark.parametrize(("main", "lives"), [("", True), ("worker_shutdown_timeout 1s;", False)])
    def test_a_reload_keeps_calls_unless_a_shutdown_timeout_is_set(
        self, site: MakeSite, main: str, lives: bool
    ) -> None:
        with site(LOCAL) as here:
            config = nginx(here, snippet(DOCUMENT, "ssl_certificate "), main)
            with Proxy(config, here.there.directory / "nginx", here.front, here.back) as proxy, here.call() as caller:
                assert caller.open()["type"] == "opened"
                proxy.send_signal(signal.SIGHUP)
                time.sleep(2.5)
                assert goes_on(caller) is lives


class TestHAProxy:
    def test_calls_are_recorded_with_the_address_of_the_client(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            config = haproxy(here, snippet(DOCUMENT, "timeout tunnel"))
            with Proxy(config, here.there.directory / "haproxy", here.front, here.back):
                assert here.records() == CLIENT

    def test_a_reload_keeps_calls(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            config = haproxy(here, snippet(DOCUMENT, "timeout tunnel"))
            proxy = Proxy(config, here.there.directory / "haproxy", here.front, here.back)
            with proxy, here.call() as caller:
                assert caller.open()["type"] == "opened"
                proxy.send_signal(signal.SIGUSR2)
                time.sleep(2)
                assert goes_on(caller)
                assert here.records() == CLIENT  # through the new process; the old one still has the call

    def test_checks_of_several_daemons_know_which_is_ready(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            backend = snippet(DOCUMENT, "option httpchk")
            whole = snippet(DOCUMENT, "timeout tunnel")
            text = whole[: whole.index("\nbackend audiohookd") + 1] + backend
            text = text.replace("check port 3001", f"check inter 200 port {here.there.admin_port}")
            # The second daemon does not exist.
            text = text.replace("10.0.1.5:3000", "127.0.0.1:3000")
            text = text.replace("10.0.1.6:3000", f"127.0.0.1:{free_ports(1)[0]}")
            config = haproxy(here, text)
            with Proxy(config, here.there.directory / "haproxy", here.front, here.back):
                time.sleep(1.5)
                assert here.records() == CLIENT

    def test_tcp_with_the_proxy_protocol_leaves_tls_to_the_daemon(self, site: MakeSite) -> None:
        with site(snippet(DOCUMENT, "haproxy:", "tls_key")) as here:
            config = haproxy(here, snippet(DOCUMENT, "send-proxy-v2"))
            with Proxy(config, here.there.directory / "haproxy", here.front, here.back):
                assert here.records() == CLIENT


class TestCaddy:
    def test_calls_are_recorded_and_survive_a_reload(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            caddy = Caddy(here, snippet(DOCUMENT, "reverse_proxy", "127.0.0.1:3000"))
            with caddy.proxy:
                with here.call() as caller:
                    assert caller.open()["type"] == "opened"
                    caddy.reload()
                    time.sleep(1)
                    assert goes_on(caller)
                    assert caller.close()["type"] == "closed"
                assert len(here.there.sidecars(1)) == 1

    def test_without_the_delay_a_reload_closes_calls_and_log_and_sidecar_say_how(self, site: MakeSite) -> None:
        with site(LOCAL) as here:
            block = replaced(snippet(DOCUMENT, "reverse_proxy", "127.0.0.1:3000"), **{"stream_close_delay 24h": ""})
            caddy = Caddy(here, block)
            with caddy.proxy, here.call() as caller:
                assert caller.open()["type"] == "opened"
                caddy.reload()
                (sidecar,) = here.there.sidecars(1)
                end = sidecar["recording"]["connectionEnd"]
                assert (end["cause"], end["by"], end["code"]) == ("close-frame", "client", 1001)

    @pytest.mark.parametrize("is_host_passed", [True, False])
    def test_a_daemon_with_tls_of_its_own_needs_the_host_of_the_client(
        self, site: MakeSite, is_host_passed: bool
    ) -> None:
        with site(snippet(DOCUMENT, "tcp:3443:", "tls_key")) as here:
            block = snippet(DOCUMENT, "header_up")
            if not is_host_passed:
                block = replaced(block, **{"header_up Host {hostport}": ""})
            # A self-signed certificate is in no store of authorities.
            trust = f"tls_trust_pool file {here.certificate}\n            tls_server_name"
            with Caddy(here, block.replace("tls_server_name", trust)).proxy:
                if is_host_passed:
                    assert here.records() == CLIENT
                else:
                    with here.call() as caller:
                        assert caller.upgrade() == 401


class TestAWS:
    """Without AWS: the headers that its load balancers send to a target, and the names of their attributes."""

    def test_an_application_load_balancer_names_the_client(self, place: MakePlace) -> None:
        there = place()
        there.write(listen=listening(there, snippet(DOCUMENT, "10.0.10.0/24")))
        head = signed_head(
            there.port,
            session := "30b0e395-84d3-4570-ac13-9a62d8f514c0",
            authority=HOST,
            x_forwarded_for="6.6.6.6, 203.0.113.9",
            x_forwarded_proto="https",
            x_forwarded_port="443",
            x_amzn_trace_id="Root=1-67891233-abcdef012345678912345678",
        )
        with there.daemon(), Caller(there.port, head) as caller:
            caller.session = session
            assert caller.open()["type"] == "opened"
            assert caller.close()["type"] == "closed"
            assert peer_of(there) == "203.0.113.9"

    def test_a_network_load_balancer_names_the_client(self, place: MakePlace) -> None:
        there = place()
        there.write(listen=listening(there, snippet(DOCUMENT, "haproxy:", "[admin]")))
        with there.daemon(), Caller(there.port, host=HOST) as caller:
            # PP2_TYPE_AWS with the id of an endpoint, as in front of a service endpoint.
            caller.socket.sendall(v2(ip_address("203.0.113.9"), extra=b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9"))
            assert caller.open()["type"] == "opened"
            assert caller.close()["type"] == "closed"
            assert peer_of(there) == "203.0.113.9"

    def test_the_attributes_have_the_names_that_aws_knows(self) -> None:
        service = botocore.session.get_session().get_service_model("elbv2")
        known = service.shape_for("LoadBalancerAttribute").members["Key"].documentation
        known += service.shape_for("TargetGroupAttribute").members["Key"].documentation
        commands = [block for block in blocks(DOCUMENT) if block.startswith("aws elbv2")]
        assert len(commands) == 2
        names = re.findall(r"Key=([\w.]+),", "".join(commands))
        assert len(names) == 7
        assert [name for name in names if f"<code>{name}</code>" not in known] == []
        options = set(re.findall(r"--([a-z-]+)", "".join(commands)))
        members = {
            re.sub(r"(?<!^)(?=[A-Z])", "-", member).lower()
            for operation in ("ModifyLoadBalancerAttributes", "ModifyTargetGroupAttributes", "ModifyTargetGroup")
            for member in service.operation_model(operation).input_shape.members
        }
        assert options <= members


@pytest.mark.parametrize("block", [block for block in blocks(DOCUMENT) if "[listen]" in block])
def test_the_daemon_takes_each_configuration(block: str, tmp_path: Path) -> None:
    (tmp_path / "audiohookd.toml").write_text(block)
    load(tmp_path / "audiohookd.toml")
