"""Fixtures for the installed daemon: a wheel in an environment of its own, and a configuration for each test."""

import json
import random
import shutil
import socket
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon import Daemon
from tests.functional.wheel import ROOT, build_wheel, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.functional)


@pytest.fixture(scope="session")
def bin(tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: A001
    """The ``bin`` directory of a new environment with the installed wheel.

    Dependencies come from the environment that runs the tests. The project itself does not, because its editable
    install uses a .pth file, and Python ignores .pth files in directories that a .pth file adds.
    """
    place = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(place)
    venv.create(place / "env", with_pip=False)
    python = place / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site,) = (place / "env/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    twistd = place / "env/bin/twistd"
    twistd.write_text(f"#!{python}\nfrom twisted.scripts.twistd import run\nrun()\n")
    twistd.chmod(0o755)
    return place / "env/bin"


class Place:
    """A directory with a configuration, and the daemon that uses it."""

    def __init__(self, bin: Path, directory: Path, **tables: Any) -> None:  # noqa: A002
        self.bin = bin
        self.directory = directory
        self.port, self.admin_port = free_port(), free_port()
        self.spool = directory / "spool"
        self.config = directory / "audiohookd.toml"
        shutil.copy(ROOT / "etc/keys.sample.json", directory / "keys.json")
        (directory / "keys.json").chmod(0o600)
        self.write(**tables)

    def write(self, **tables: Any) -> None:
        """Writes the configuration. ``tables`` replace the default tables."""
        defaults = {
            "listen": {"endpoint": f"tcp:{self.port}:interface=127.0.0.1"},
            "admin": {"endpoint": f"tcp:{self.admin_port}:interface=127.0.0.1"},
            "auth": {"keys_file": "keys.json"},
            "spool": {"directory": "spool", "flush_interval": "100 ms"},
            "plugins.recorder": {},
            "plugins.agentassist": {},
        }
        lines = []
        for name, keys in (defaults | tables).items():
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def daemon(self) -> Daemon:
        """Returns the daemon, not started."""
        return Daemon(self.bin, self.config)

    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/audiohook/ws"

    def sidecars(self, count: int) -> list[dict[str, Any]]:
        """Waits for ``count`` ready recordings, and returns their sidecars, with the path of the WAV as ``wav``."""
        deadline = time.monotonic() + 20
        while True:
            paths = sorted(self.spool.glob("ready/*/*.json"))
            if len(paths) >= count or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        assert len(paths) == count, f"{len(paths)} recordings and not {count}"
        return [json.loads(path.read_text()) | {"wav": path.with_suffix(".wav")} for path in paths]


def free_port() -> int:
    """A free port below the kernel's range for outgoing connections, which takes its ports at any time."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@pytest.fixture
def place(bin: Path, tmp_path: Path) -> Callable[..., Place]:  # noqa: A002
    """Makes a place from tables of its configuration."""
    return lambda **tables: Place(bin, tmp_path, **tables)


@pytest.fixture
def served(place: Callable[..., Place]) -> Iterator[Place]:
    """A place with a running daemon."""
    there = place()
    with there.daemon():
        yield there
