"""The warnings of the daemon at its start, about settings and keys that are legal but risky."""

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.logger import LogEvent, LogLevel, formatEvent

from audiohookd.auth.keys.model import fingerprint
from audiohookd.config.errors import ConfigError
from audiohookd.edge.tls import read_identity
from audiohookd.runtime.file_watcher import ReloadableFile
from audiohookd.spool.disk_monitor import DiskMonitor
from tests.certificates import write_certificate
from tests.tap_rig import PLAIN as RECORDER_LESS
from tests.tap_rig import Reactor, ask, build, page, writer

#: A configuration with a recorder, which gives no warning.
PLAIN = "[plugins.recorder]" + RECORDER_LESS


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = PLAIN) -> Path:
        return writer(tmp_path)(text)

    return write


def texts(logged: list[LogEvent], level: LogLevel) -> list[str]:
    return [formatEvent(event) for event in logged if event["log_level"] is level]


def warnings(logged: list[LogEvent]) -> list[str]:
    return texts(logged, LogLevel.warn)


class TestTrustedHops:
    OUTSIDE = '[listen]\nendpoint = "tcp:3000"\ntrusted_hops = 1\n'

    def test_trusted_hops_on_a_public_port_need_trusted_proxies(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        path = write(PLAIN + self.OUTSIDE)
        build(path).startService()
        (warning,) = warnings(logged)
        assert warning.startswith(f"{path}: listen.trusted_hops: a client that connects to tcp:3000 without passing")
        assert warning.endswith("list the networks of the proxies in listen.trusted_proxies")

    @pytest.mark.parametrize(
        "listen",
        [
            OUTSIDE + 'trusted_proxies = ["10.0.0.0/8"]\n',
            OUTSIDE.replace("tcp:3000", "tcp:3000:interface=127.0.0.1"),
            OUTSIDE.replace("= 1", "= 0"),
        ],
    )
    def test_trusted_hops_on_loopback_need_nothing_else(
        self, write: Callable[..., Path], logged: list[LogEvent], listen: str
    ) -> None:
        build(write(PLAIN + listen)).startService()
        assert logged != []
        assert warnings(logged) == []


class TestACertificate:
    TLS = '[listen]\ntls_certificate = "tls.pem"\ntls_key = "tls.key"\n'

    def start(self, write: Callable[..., Path], left: float) -> Path:
        """Starts the daemon ``left`` seconds before the certificate expires."""
        path = write(PLAIN + self.TLS)
        identity = read_identity(*write_certificate(path.parent))
        build(path, now=lambda: identity.expires - left).startService()
        return path.with_name("tls.pem")

    def test_an_expired_certificate_is_logged_as_an_error(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        certificate = self.start(write, 0.0)
        (line,) = texts(logged, LogLevel.error)
        assert line.startswith(f"{certificate} has expired (20")

    def test_a_certificate_that_expires_soon_is_a_warning(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        certificate = self.start(write, 13 * 86_400.0)
        (line,) = warnings(logged)
        assert line.startswith(f"{certificate} expires on 20")
        assert texts(logged, LogLevel.error) == []

    def test_a_certificate_valid_for_weeks_is_not_mentioned(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        self.start(write, 15 * 86_400.0)
        assert warnings(logged) + texts(logged, LogLevel.error) == []

    def test_a_reloaded_certificate_is_checked(self, write: Callable[..., Path], logged: list[LogEvent]) -> None:
        path = write(PLAIN + self.TLS)
        expires = read_identity(*write_certificate(path.parent)).expires
        reactor, dates = Reactor(), [expires - 90 * 86_400.0]
        root = build(path, reactor, now=lambda: dates[-1])
        root.startService()
        dates.append(expires + 1.0)
        watched = root.getServiceNamed("tls_certificate")
        assert isinstance(watched, ReloadableFile)
        watched.reread()
        reactor.advance(0)
        reactor.run_until(lambda: texts(logged, LogLevel.error))
        assert "has expired" in texts(logged, LogLevel.error)[0]


class TestKeys:
    def test_keys_without_a_secret_are_counted(
        self, write: Callable[..., Path], tmp_path: Path, logged: list[LogEvent]
    ) -> None:
        path = write()
        (tmp_path / "keys.json").write_text('{"open": null, "safe": "MDEyMzQ1Njc4OWFiY2RlZg=="}')
        build(path).startService()
        told = [line for line in texts(logged, LogLevel.info) if line.startswith("API keys: ")]
        assert told == ["API keys: <Keys: 2, of which 1 without a secret>"]
        assert warnings(logged) == []

    def test_keys_for_an_unknown_route_are_named(
        self, write: Callable[..., Path], tmp_path: Path, logged: list[LogEvent]
    ) -> None:
        path = write()
        entry = '{"secret": "MDEyMzQ1Njc4OWFiY2RlZg==", "routes": ["/nope"]}'
        (tmp_path / "keys.json").write_text(f'{{"the-key": {entry}}}')
        build(path)
        (warning,) = warnings(logged)
        assert warning.startswith(f"the API key {fingerprint('the-key')} in auth.keys_file allows the path '/nope'")

    def test_a_daemon_without_keys_is_not_ready(
        self, write: Callable[..., Path], tmp_path: Path, logged: list[LogEvent]
    ) -> None:
        path = write(PLAIN + '[admin]\nendpoint = "tcp:9000"\n')
        (tmp_path / "keys.json").write_text("{}")
        reactor = Reactor()
        build(path, reactor).startService()
        assert [ask(reactor.ports[0], page) for page in ("/live", "/ready", "/health/check")] == [200, 503, 503]
        (line,) = texts(logged, LogLevel.error)
        assert line.startswith("no API keys in auth.keys_file, all requests are rejected: write {")
        assert "not ready: no keys in auth.keys_file\n" in page(reactor.ports[0], "/ready")

    def test_keys_with_a_short_secret_are_named_without_the_secret(
        self, write: Callable[..., Path], tmp_path: Path, logged: list[LogEvent]
    ) -> None:
        path = write()
        (tmp_path / "keys.json").write_text('{"the-key": "c2hvcnQ="}')
        build(path)
        (warning,) = warnings(logged)
        assert warning.startswith(f"the API key {fingerprint('the-key')} in auth.keys_file has a secret of less than")


class TestARouteWithoutARecorder:
    """A call on such a route is accepted, but not recorded."""

    ADMIN = '[admin]\nendpoint = "tcp:9000"\n'
    TWO = '[[route]]\nplugins = ["recorder"]\n[[route]]\npath = "/b"\nplugins = []\n'

    def test_a_route_without_a_recorder_is_named_with_its_remedy(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        path = write(RECORDER_LESS)
        build(path).startService()
        (warning,) = warnings(logged)
        assert warning.startswith(f"{path}: route[0]: calls on '/api/v1/audiohook/ws' are not recorded: ")
        assert "add a table [plugins.recorder]" in warning
        assert "record = false" in warning

    def test_a_route_is_named_even_if_another_has_a_recorder(
        self, write: Callable[..., Path], logged: list[LogEvent]
    ) -> None:
        path = write(PLAIN + self.TWO)
        build(path).startService()
        (warning,) = warnings(logged)
        assert warning.startswith(f"{path}: route[1]: calls on '/b' are not recorded: ")
        assert "add 'recorder' to its plugins" in warning

    def test_a_ready_daemon_names_the_route(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        build(write(RECORDER_LESS + self.ADMIN), reactor).startService()
        assert ask(reactor.ports[0], "/ready") == 200
        body = page(reactor.ports[0], "/ready").partition("\r\n\r\n")[2].splitlines()
        assert body[0] == "ready"
        assert body[1].startswith("warning: calls on '/api/v1/audiohook/ws' are not recorded: ")

    @pytest.mark.parametrize(
        "text",
        [
            PLAIN,
            RECORDER_LESS + "[[route]]\nrecord = false\n",
            PLAIN + TWO + "record = false\n",
            PLAIN + "[[route]]\nrecord = true\n",
        ],
        ids=["recorder", "on purpose", "on purpose beside another", "recorder wanted"],
    )
    def test_a_route_without_recording_by_choice_is_not_named(
        self, write: Callable[..., Path], logged: list[LogEvent], text: str
    ) -> None:
        reactor = Reactor()
        build(write(text + self.ADMIN), reactor).startService()
        assert warnings(logged) == []
        assert page(reactor.ports[0], "/ready").endswith("\r\n\r\nready\n")

    @pytest.mark.parametrize(
        "text",
        [RECORDER_LESS + "[[route]]\nrecord = true\n", PLAIN + TWO + "record = true\n"],
        ids=["no recorder", "not on this route"],
    )
    def test_a_route_without_a_required_recorder_is_a_mistake(self, write: Callable[..., Path], text: str) -> None:
        with pytest.raises(ConfigError, match=r"route\[\d\]\.record: is true, but no plugin of this route records"):
            build(write(text))


class TestARouteThatIsNotToBeRecorded:
    def test_the_recorder_does_not_observe_the_route(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        text = PLAIN + "[plugins.agentassist]\n[[route]]\nrecord = false\n[[route]]\npath = '/b'\n"
        build(write(text), reactor).startService()
        routes = reactor.ports[-1].factory.shared.routes
        watched = {path: [watcher.name for watcher in route.watchers] for path, route in routes.items()}
        assert watched == {"/api/v1/audiohook/ws": ["agentassist"], "/b": ["recorder", "agentassist"]}

    def test_does_not_name_a_recorder(self, write: Callable[..., Path]) -> None:
        text = PLAIN + "[[route]]\nrecord = false\nplugins = ['recorder']\n"
        with pytest.raises(ConfigError, match=r"route\[0\]\.record: is false, but plugin 'recorder' records"):
            build(write(text))


def test_periodic_work_that_has_stopped_is_named_by_ready_until_it_runs(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: DiskMonitor) -> None:
        raise RuntimeError("can't start new thread")

    reactor = Reactor()
    with monkeypatch.context() as patched:
        patched.setattr(DiskMonitor, "_probe", fail)
        root = build(write(), reactor)
        root.startService()
        reactor.pump([1.0] * 20)
    admin = next(port for port in reactor.ports if port.number == 3001)
    answer = page(admin, "/ready")
    assert " 503 " in answer
    assert "not ready: periodic work has stopped: disk-watch" in answer
    metrics = page(admin, "/metrics")
    assert 'audiohookd_loop_stalls_total{loop="disk-watch"} 1' in metrics
    assert 'audiohookd_loop_stalls_total{loop="spool-writer"} 0' in metrics
