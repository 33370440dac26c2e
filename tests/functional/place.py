"""A configuration of its own for a daemon."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from tests.functional.daemon import Daemon
from tests.functional.wheel import ROOT
from tests.stores.ports import free_ports


class Place:
    """A directory with a configuration, and the daemon that uses it."""

    def __init__(self, bin: Path, directory: Path, **tables: Any) -> None:  # noqa: A002
        self.bin = bin
        self.directory = directory
        self.port, self.admin_port = free_ports(2)
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
