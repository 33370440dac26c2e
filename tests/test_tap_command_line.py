"""The command line of ``twistd audiohookd``, and the errors of a start that fails."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import IPlugin as ITwistedPlugin
from twisted.plugin import getPlugins

from audiohookd import tap
from audiohookd.config.errors import ConfigError
from audiohookd.config.schema import Admin, Listen
from audiohookd.runtime.services import OrderedServices, StartError
from audiohookd.spool.spool import Spool
from tests.stores.ports import free_ports
from tests.tap_rig import CORE_ABOVE, CORE_BELOW, PLAIN, UPLOADER, Reactor, build, names, options, writer


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return writer(tmp_path)


class Refusal:
    """A failed start: its exit status, and its one-line error."""

    def __init__(self, capsys: pytest.CaptureFixture[str], attempt: Callable[[], object]) -> None:
        with pytest.raises((SystemExit, StartError)) as caught:
            attempt()
        # A StartError leaves twistd as an uncaught exception.
        self.status = caught.value.code if isinstance(caught.value, SystemExit) else 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        assert err.startswith("audiohookd: ")
        self.line = err.removeprefix("audiohookd: ").rstrip("\n")


class TestAStartThatFails:
    @pytest.fixture(autouse=True)
    def keep_excepthook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The daemon replaces the hook, and does not run long enough to restore it."""
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    @pytest.mark.parametrize(("port", "table"), [(3000, "listen"), (3001, "admin")])
    def test_a_port_in_use_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], port: int, table: str
    ) -> None:
        path = write()
        endpoint = {"listen": Listen, "admin": Admin}[table]().endpoint
        refusal = Refusal(capsys, build(path, Reactor(port)).startService)
        assert refusal.status == 1
        what = f"cannot listen on {endpoint}: Address already in use; ss -ltnp shows by which process"
        assert refusal.line == f"{what} ({path}: {table}.endpoint)"
        assert sys.excepthook is not sys.__excepthook__

    def test_a_plugin_service_that_fails_to_start_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + UPLOADER.replace(":Uploader", ":Stillborn")), reactor)
        refusal = Refusal(capsys, root.startService)
        assert refusal.status == 1
        assert refusal.line == "plugins.uploader: Permission denied (/var/lib/uploads)"
        assert reactor.diary == []

    @pytest.mark.parametrize(
        ("endpoint", "words"),
        [
            ("foo:3000", "unknown type 'foo'; it must be like 'tcp:3000:interface=127.0.0.1', its type one of tcp,"),
            ("tcp", "the port must be a number from 0 to 65535, not ''"),
            ("tcp:http", "the port must be a number from 0 to 65535, not 'http'"),
            ("tcp:99999", "the port must be a number from 0 to 65535, not '99999'"),
            ("tcp6:-1", "the port must be a number from 0 to 65535, not '-1'"),
            ("tcp:port=65536", "the port must be a number from 0 to 65535, not '65536'"),
            ("haproxy:tcp:99999", "the port must be a number from 0 to 65535, not '99999'"),
            ("tcp:1:interface=::1", "colons in an address need a backslash"),
            ("tcp:1:x=y", "TypeError: "),
            ("systemd:domain=INET:index=0", "systemd passed no socket: start the daemon by a .socket unit"),
            ("systemd:domain=INET:name=calls", "systemd passed no socket: "),
            ("systemd:domain=INETT:index=0", "domain must be INET, INET6 or UNIX"),
            ("systemd:index=0", "domain must be INET, INET6 or UNIX"),
            ("systemd:domain=INET", "needs either index or name of the socket"),
        ],
    )
    @pytest.mark.parametrize("table", ["listen", "admin"])
    def test_an_invalid_endpoint_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], table: str, endpoint: str, words: str
    ) -> None:
        path = write(PLAIN + f"[{table}]\nendpoint = '{endpoint}'")
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: {table}.endpoint: {endpoint!r}: {words}")

    def test_a_missing_key_file_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        path = write(PLAIN.replace("keys.json", "absent.json"))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: auth.keys_file: '{tmp_path}/absent.json': cannot be read (No such")

    def test_an_unreadable_key_file_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(PLAIN.replace("keys.json", "."))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert "cannot be read (Is a directory)" in refusal.line

    @pytest.mark.parametrize("keys", ["", "[]", '{"a": 1}', '{"a": "not base64!"}', "{\n\n"])
    def test_a_malformed_key_file_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: str
    ) -> None:
        path = write()
        (tmp_path / "keys.json").write_text(keys)
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: auth.keys_file: '{tmp_path}/keys.json': ")

    def test_a_world_readable_key_file_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        path = write()
        (tmp_path / "keys.json").chmod(0o644)
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert "is accessible to all users (mode 0644): chmod o= it" in refusal.line

    def test_a_configuration_without_keys_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(PLAIN.replace("keys.json", "").replace("[spool]", "keys_variable = ''\n[spool]"))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: auth: no source of keys: name one in keys_file")

    def test_unavailable_keys_make_systemd_retry(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """systemd must restart the daemon, which it does not do after a mistake in the file."""
        (port,) = free_ports(1)
        (tmp_path / "token").touch(0o600)
        (tmp_path / "token").write_text("a-token")
        path = write(PLAIN + f"[auth.vault]\nurl = 'http://127.0.0.1:{port}'\ntoken_file = 'token'")
        refusal = self.refused(capsys, path)
        assert refusal.status == 75
        where = f"{path}: auth.vault: secret/audiohookd of http://127.0.0.1:{port}"
        assert refusal.line == f"{where}: cannot be fetched (ConnectionError)"

    @pytest.mark.parametrize("directory", ["keys.json", "/proc/audiohookd", "keys.json/spool"])
    def test_an_unwritable_spool_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], directory: str
    ) -> None:
        path = write(PLAIN.replace('"spool"', f'"{directory}"'))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: spool.directory: {path.parent / directory} cannot be used: ")

    UNIT: ClassVar = ["systemctl edit audiohookd", "ReadWritePaths={spool}"]

    @pytest.mark.parametrize(
        ("number", "environment", "words"),
        [
            (errno.EROFS, {"INVOCATION_ID": "1"}, UNIT),
            (errno.EACCES, {"INVOCATION_ID": "1"}, ["chown -R", *UNIT]),
            (errno.EACCES, {}, ["chown -R"]),
            (errno.EROFS, {}, []),
            (errno.ENOTDIR, {"INVOCATION_ID": "1"}, []),
        ],
    )
    def test_a_spool_that_systemd_protects_is_one_line(
        self,
        write: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        number: int,
        environment: dict[str, Any],
        words: list[str],
    ) -> None:
        path = write()
        (path.parent / "spool").mkdir()
        fault = OSError(number, os.strerror(number), str(path.parent / "spool" / "draft"))

        def refuse(*_: object) -> None:
            raise fault

        monkeypatch.setattr(Spool, "prepare", refuse)
        with pytest.raises(ConfigError) as caught:
            build(path, **environment)
        said = str(caught.value).removeprefix(f"{path}: spool.directory: ")
        assert said.startswith(f"{path.parent}/spool cannot be used: {os.strerror(number)} ({fault.filename})")
        for word in ("chown -R", *self.UNIT):
            assert (word.format(spool=path.parent / "spool") in said) == (word in words)

    def test_a_plugin_that_is_not_installed_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(PLAIN + "[plugins.recordr]")
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: plugins.recordr: no plugin of this name is installed")

    def test_a_mistake_in_the_file_is_one_line(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(PLAIN + "[lsten]")
        refusal = Refusal(capsys, lambda: options(path))
        assert refusal.status == 78
        assert refusal.line == f"{path}: lsten: unknown table, did you mean 'listen'?"

    def test_a_missing_file_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        refusal = Refusal(capsys, lambda: options(tmp_path / "absent.toml"))
        assert refusal.status == 78
        assert refusal.line.startswith(f"{tmp_path}/absent.toml: cannot be read (No such file or directory)")

    @staticmethod
    def refused(capsys: pytest.CaptureFixture[str], path: Path) -> Refusal:
        """Performs twistd's steps up to the start. All steps before the last print nothing."""
        parsed = options(path)
        assert capsys.readouterr() == ("", "")
        return Refusal(capsys, lambda: tap.makeService(parsed))


class TestCommandLine:
    def test_a_relative_path_is_made_absolute_before_twistd_changes_directory(
        self, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write()
        monkeypatch.chdir(tmp_path)
        parsed = options("audiohookd.toml")
        monkeypatch.chdir("/")
        assert parsed["config"] == tmp_path / "audiohookd.toml"
        assert parsed["tree"].spool.directory == tmp_path / "spool"
        service = tap.makeService(parsed)
        assert isinstance(service, OrderedServices)
        assert names(service) == CORE_BELOW + CORE_ABOVE

    def test_the_short_option_is_accepted(self, write: Callable[..., Path]) -> None:
        parsed = tap.Options()
        parsed.parseOptions(["-c", str(write())])
        assert parsed["tree"].listen.max_sessions == 1000

    def test_version_is_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            tap.Options().parseOptions(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith("audiohookd ")

    def test_twistd_knows_the_command(self) -> None:
        found = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "audiohookd"]
        assert found
        assert all(isinstance(maker, ServiceMaker) and ITwistedPlugin.providedBy(maker) for maker in found)
        assert found[0].options is tap.Options
