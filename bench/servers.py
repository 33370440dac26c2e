"""The two sides, each as a process of its own: the daemon complete, and stock Autobahn."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.cpu_affinity import Cores, kept_to
from tests.functional.daemon import PATIENCE, Daemon
from tests.stores.ports import free_ports

ROOT = Path(__file__).parents[1]
KEYS = ROOT / "etc/keys.sample.json"
VOICE = ROOT / "tests/audio/call.wav"
BIN = Path(sys.executable).parent
#: Of the daemon. Five open files for each, and some, are no more than 20,000, which most systems grant.
MAX_SESSIONS = 3_600

#: What stands in its table, unless it is replaced.
SPOOL: Mapping[str, Any] = MappingProxyType({"directory": "spool", "min_free": "0 B"})

Tables = Mapping[str, Mapping[str, Any]]


class Server(NamedTuple):
    """One that runs. ``spool`` and ``admin_port`` mean nothing where it is not the daemon."""

    side: str
    pid: int
    port: int
    admin_port: int = 0
    spool: Path = Path()


@contextmanager
def daemon(
    cores: Cores, directory: Path, tables: Tables | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """The daemon, ready, with its recorder; its spool is in ``directory``, and stays.

    :param tables: of the configuration, besides and in place of what it needs.
    """
    port, admin_port = free_ports(2)
    config = directory / "audiohookd.toml"
    keys = directory / "keys.json"
    shutil.copy(KEYS, keys)
    keys.chmod(0o600)  # it is for nobody else to read, or the daemon does not take it
    config.write_text(_configuration(port, admin_port, tables or {}))
    # The plugin of the benchmark is found beside it; so is the daemon, as it stands there.
    found = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    process = Daemon(BIN, config, found | dict(environment or {}))
    with kept_to(cores.server):
        process.start()
    try:
        yield Server("daemon", process.process.pid, port, admin_port, directory / "spool")
        process.stop()
    finally:
        process.close()


@contextmanager
def stock(cores: Cores) -> Iterator[Server]:
    """The twin, ready."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "bench.autobahn_baseline", str(port)]
    with kept_to(cores.server):
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE)  # noqa: S603 - our own
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise RuntimeError("the twin did not start")
        yield Server("stock", process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


@contextmanager
def serving(side: str, cores: Cores, tables: Tables | None = None) -> Iterator[Server]:
    """The daemon, with ``tables``, or the twin; nothing of it stays."""
    if side == "stock":
        with stock(cores) as server:
            yield server
        return
    with (
        tempfile.TemporaryDirectory(prefix="audiohookd-bench-") as directory,
        daemon(cores, Path(directory), tables) as server,
    ):
        yield server


def sinks(count: int) -> dict[str, dict[str, Any]]:
    """Tables for so many further sinks."""
    return {f"plugins.sink{number}": {"class": "bench.sinks:SinkPlugin"} for number in range(count)}


def _configuration(port: int, admin_port: int, tables: Tables) -> str:
    needed: dict[str, Mapping[str, Any]] = {
        "listen": {"endpoint": f"tcp:{port}:interface=127.0.0.1", "max_sessions": MAX_SESSIONS},
        "admin": {"endpoint": f"tcp:{admin_port}:interface=127.0.0.1"},
        "auth": {"keys_file": "keys.json"},
        "spool": SPOOL,
        "plugins.recorder": {},
    }
    lines = []
    for name, keys in (needed | dict(tables)).items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
