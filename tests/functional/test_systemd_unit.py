"""The instructions for systemd in README.rst and the other documents work as written, with the real systemd."""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.certificates import write_certificate
from tests.functional.caller import Caller, SecureCaller
from tests.functional.documents import snippet
from tests.functional.systemd_machine import Machine, needed
from tests.stores.ports import free_ports
from tests.stores.seaweedfs import SeaweedFS

SPOOL = "/var/spool/audiohookd"
CONFIG = "/etc/audiohookd/audiohookd.toml"
#: Commands in the documents that need the network. ``Machine.install`` replaces them.
FROM_THE_NETWORK = re.compile(r"^(?:/usr/bin/python3 -m venv|/opt/audiohookd/bin/pip) .*\n", re.MULTILINE)


class Installed:
    """A machine with the daemon installed as README.rst says, but not started."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port, self.admin_port = free_ports(2)
        machine.install()
        machine.run("cd /opt/clone\n" + FROM_THE_NETWORK.sub("", snippet("README.rst", "adduser")))
        machine.run("cd /opt/clone\n" + snippet("README.rst", "/dev/null /etc/audiohookd/keys.json"))
        # The public sample. Writing into the existing file keeps its owner and mode.
        machine.run(f"cat /opt/clone/etc/keys.sample.json > {Path(CONFIG).with_name('keys.json')}")
        self.replace("tcp:3000:interface=127.0.0.1:backlog=1024", f"tcp:{self.port}:interface=127.0.0.1")
        self.replace("tcp:3001:interface", f"tcp:{self.admin_port}:interface")

    def replace(self, old: str, new: str) -> None:
        """Replaces ``old`` in the configuration."""
        text = self.machine.run(f"cat {CONFIG}")
        assert old in text
        self.machine.write(CONFIG, text.replace(old, new))

    def append(self, tables: str) -> None:
        """Appends tables to the configuration."""
        self.machine.write(CONFIG, self.machine.run(f"cat {CONFIG}") + tables)

    def drop_in(self, text: str, unit: str = "audiohookd.service") -> None:
        """Writes a drop-in as ``systemctl edit`` does."""
        self.machine.write(f"/etc/systemd/system/{unit}.d/override.conf", text)
        self.machine.run("systemctl daemon-reload")

    def start(self) -> None:
        """Starts the unit as README.rst says. With Type=notify this waits until the daemon is ready."""
        self.machine.run(snippet("README.rst", "systemctl enable --now audiohookd"))

    def sidecar(self, spool: str = SPOOL) -> dict[str, Any]:
        """Waits for the one recording, and returns its sidecar."""
        for _ in range(200):
            found = self.machine.run(f"cat {spool}/ready/*/*.json", check=False)
            if found.startswith("{"):
                sidecar: dict[str, Any] = json.loads(found)
                return sidecar
            time.sleep(0.1)
        raise AssertionError(self.machine.journal())

    def records_a_call(self, caller: Caller, spool: str = SPOOL) -> dict[str, Any]:
        """Makes a call, and returns the sidecar of its recording."""
        with caller:
            assert caller.open()["type"] == "opened"
            caller.audio(bytes(1600))
            assert caller.close()["type"] == "closed"
        sidecar = self.sidecar(spool)
        assert sidecar["recording"]["samples"] == 800
        journal = self.machine.journal()
        assert "Traceback" not in journal, journal
        assert "Operation not permitted" not in journal, journal
        return sidecar


@pytest.fixture
def there(bin: Path, tmp_path: Path) -> Iterator[Installed]:  # noqa: A002
    needed()
    (site,) = (bin.parent / "lib").glob("python*/site-packages")
    with Machine(tmp_path / "machine", site) as machine:
        yield Installed(machine)


def test_the_daemon_is_installed_started_reloaded_and_stopped_as_the_readme_says(there: Installed) -> None:
    there.start()
    there.records_a_call(Caller(there.port))
    there.machine.run("systemctl reload audiohookd")
    for _ in range(100):
        if "keys reloaded, unchanged" in there.machine.journal():
            break
        time.sleep(0.1)
    else:
        raise AssertionError(there.machine.journal())
    there.machine.run("systemctl stop audiohookd")
    assert there.machine.run("systemctl show --property=Result audiohookd").strip() == "Result=success"


def test_tls_of_its_own_works_under_the_unit(there: Installed, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    there.machine.write("/etc/audiohookd/tls.pem", certificate.read_text())
    there.machine.write("/etc/audiohookd/tls.key", key.read_text())
    there.machine.run("cd /etc/audiohookd; chown root:audiohookd tls.key; chmod 0640 tls.key")
    there.replace('# tls_certificate = "/etc', 'tls_certificate = "/etc')
    there.replace('# tls_key = "/etc', 'tls_key = "/etc')
    there.start()
    there.records_a_call(SecureCaller(there.port, certificate))


SOCKETS = {
    "IPv6 and IPv4": ("systemd:domain=INET6:index=0", "443", "{port}"),
    "IPv4": ("systemd:domain=INET:index=0", "443", "0.0.0.0:{port}"),
    "its name": ("systemd:domain=INET6:name=audiohookd.socket", "443", "{port}"),
    "the PROXY protocol": ("haproxy:systemd:domain=INET6:index=0", "443", "{port}"),
    "the file system": ("systemd:domain=UNIX:index=0", "/run/audiohookd.sock", "/run/audiohookd.sock"),
}


@pytest.mark.parametrize(("endpoint", "documented", "stream"), SOCKETS.values(), ids=SOCKETS)
def test_a_socket_unit_has_the_port(there: Installed, endpoint: str, documented: str, stream: str) -> None:
    unit = snippet("docs/proxies.rst", f"ListenStream={documented}").replace(documented, stream)
    there.machine.write("/etc/systemd/system/audiohookd.socket", unit.format(port=there.port))
    there.replace(f"tcp:{there.port}:interface=127.0.0.1", endpoint)
    there.machine.run(snippet("docs/proxies.rst", "enable --now audiohookd.socket"))
    if "UNIX" in endpoint:
        there.records_a_call(Caller(there.port, connected=there.machine.connect(stream)))
        return
    caller = Caller(there.port)
    if endpoint.startswith("haproxy"):
        caller.socket.sendall(b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n")
    peer = "127.0.0.9" if endpoint.startswith("haproxy") else "127.0.0.1"
    assert f'"peer": "{peer}"' in json.dumps(there.records_a_call(caller))


@pytest.mark.parametrize(("documented", "domain"), [("443", "INET6"), ("/run/audiohookd.sock", "UNIX")])
def test_calls_that_come_during_a_restart_wait_at_the_socket(there: Installed, documented: str, domain: str) -> None:
    stream = documented.replace("443", str(there.port))
    unit = snippet("docs/proxies.rst", f"ListenStream={documented}").replace(documented, stream)
    there.machine.write("/etc/systemd/system/audiohookd.socket", unit)
    there.replace(f"tcp:{there.port}:interface=127.0.0.1", f"systemd:domain={domain}:index=0")
    there.machine.run(snippet("docs/proxies.rst", "enable --now audiohookd.socket"))
    state = "systemctl show --property=ActiveState --value audiohookd.service"
    there.machine.run("systemctl stop audiohookd.service")
    assert there.machine.run(state).strip() == "inactive"
    connected = there.machine.connect(stream) if domain == "UNIX" else None
    there.records_a_call(Caller(there.port, connected=connected))
    if domain == "UNIX":
        # Twisted makes it 0666 by default.
        assert there.machine.run(f"stat --format='%a %U:%G' {stream}").strip() == "660 root:www-data"


def priorities(there: Installed, words: str) -> set[str]:
    """The priorities of the journal entries with these words."""
    lines = there.machine.run("journalctl --no-pager --output=json --unit=audiohookd").splitlines()
    entries = [json.loads(line) for line in lines]
    return {entry["PRIORITY"] for entry in entries if words in entry["MESSAGE"]}


def test_the_journal_has_the_priority_of_each_line(there: Installed) -> None:
    there.append('[[route]]\npath = "/unrecorded"\nplugins = []\n')
    there.start()
    assert priorities(there, "listening on") == priorities(there, "starting up") == {"6"}
    assert priorities(there, "are not recorded") == {"4"}
    assert "calls on '/unrecorded' are not recorded" in there.machine.run("systemctl status audiohookd")
    assert "plugin cache" not in there.machine.journal()
    there.replace('drain_timeout = "15 min"', "drain_timeout = '15 parsecs'")
    there.machine.run("systemctl stop audiohookd; systemctl start audiohookd", check=False)
    assert priorities(there, "drain_timeout: '15 parsecs' is not a duration") == {"3"}


def test_keys_come_from_a_credential(there: Installed) -> None:
    there.drop_in(snippet("docs/keys.rst", "LoadCredential=keys:"))
    there.machine.run("chown root:root /etc/audiohookd/keys.json; chmod 0600 /etc/audiohookd/keys.json")
    there.replace('keys_file = "/etc/audiohookd/keys.json"', 'keys_file = ""')
    there.replace('keys_credential = ""', 'keys_credential = "keys"')
    there.start()
    there.records_a_call(Caller(there.port))


def test_a_spool_elsewhere_needs_its_line_in_a_drop_in(there: Installed) -> None:
    there.machine.run("install -d -m 0750 -o audiohookd -g audiohookd /srv/calls")
    there.replace('directory = "/var/spool/audiohookd"', 'directory = "/srv/calls"')
    there.machine.run("systemctl daemon-reload; systemctl start audiohookd", check=False)
    said = there.machine.journal()
    assert "/srv/calls cannot be used: Read-only file system" in said
    assert "run systemctl edit audiohookd and add ReadWritePaths=/srv/calls below [Service]" in said
    there.drop_in("[Service]\nReadWritePaths=/srv/calls\n")
    there.machine.run("systemctl reset-failed audiohookd; journalctl --rotate; journalctl --vacuum-time=1s")
    there.start()
    there.records_a_call(Caller(there.port), "/srv/calls")


def test_a_plugin_of_a_file_is_found_by_its_drop_in(there: Installed) -> None:
    there.machine.write("/opt/plugins/seconds.py", snippet("docs/plugins.rst", "class SecondsPlugin"))
    there.drop_in("[Service]\nEnvironment=PYTHONPATH=/opt/plugins\n")
    there.append(snippet("docs/plugins.rst", "seconds:SecondsPlugin"))
    there.start()
    there.records_a_call(Caller(there.port))
    assert "0.1 s of audio" in there.machine.journal()


class Receiver(ThreadingHTTPServer):
    """Receives notifications over TLS."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Notice)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server_port}/recordings"
        self.has_notice = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Notice(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()
        self.server.has_notice.set()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_carriers_notifiers_and_stores_of_signatures_work_under_the_unit(
    there: Installed, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """A store gets the recording, a receiver with TLS gets the notification, and SQLite stores the signature."""
    certificate, key = write_certificate(tmp_path)
    there.machine.write("/etc/audiohookd/receiver.pem", certificate.read_text())
    there.machine.write("/etc/audiohookd/webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    there.machine.run("cd /etc/audiohookd; chown root:audiohookd webhook.secret; chmod 0640 webhook.secret")
    bucket = f"unit-{uuid4()}"
    seaweedfs.create_bucket(bucket)
    variables = " ".join(f"{name}={value}" for name, value in seaweedfs.credentials().items())
    there.drop_in(f"[Service]\nEnvironment={variables}\n")
    there.replace('store = "memory"', 'store = "sqlite"')
    s3 = {"bucket": bucket, "region": seaweedfs.region, "endpoint_url": seaweedfs.endpoint, "path_style": True}
    with Receiver(certificate, key) as receiver:
        webhook = {"url": receiver.url, "secret_file": "webhook.secret", "ca_file": "receiver.pem"}
        there.append(table("plugins.s3", s3) + table("plugins.webhook", webhook))
        there.start()
        with Caller(there.port) as caller:
            assert caller.open()["type"] == "opened"
            caller.audio(bytes(1600))
            assert caller.close()["type"] == "closed"
        assert receiver.has_notice.wait(20), there.machine.journal()
        receiver.shutdown()
    stored = seaweedfs.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert sorted(Path(entry["Key"]).suffix for entry in stored) == [".json", ".wav"]
    journal = there.machine.journal()
    assert "Traceback" not in journal
    assert there.machine.run("ls /run/audiohookd").strip()


def table(name: str, keys: dict[str, Any]) -> str:
    """A table in TOML."""
    return "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""])


@pytest.mark.parametrize("name", ["audiohookd.service", "audiohookd.socket"])
def test_systemd_has_no_warning_for_a_unit(there: Installed, name: str) -> None:
    there.machine.write("/etc/systemd/system/audiohookd.socket", snippet("docs/proxies.rst", "ListenStream=443"))
    said = there.machine.run(f"systemd-analyze verify --man=no --recursive-errors=yes /etc/systemd/system/{name}")
    assert said.strip() == ""
