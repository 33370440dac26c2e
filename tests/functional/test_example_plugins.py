"""The plugins of docs/plugins.rst run in the daemon, each in two tables."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.documents import snippet
from tests.functional.place import Place

#: Seconds to wait for the copy.
TIMEOUT = 30.0
AUDIO = bytes(range(256)) * 100


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_example_works_in_two_tables(place: Callable[..., Place], tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "copying.py").write_text(snippet("docs/plugins.rst", "class CopyPlugin"))
    (modules / "seconds.py").write_text(snippet("docs/plugins.rst", "class SecondsPlugin"))
    copies = [tmp_path / "first", tmp_path / "second"]
    tables = {}
    for directory in copies:
        directory.mkdir()
        tables[f"plugins.copy-{directory.name}"] = {"class": "copying:CopyPlugin", "directory": str(directory)}
        tables[f"plugins.seconds-{directory.name}"] = {"class": "seconds:SecondsPlugin", "unit": directory.name}
    there = place(**tables)
    environment = {"PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])}
    with Daemon(there.bin, there.config, environment) as daemon:
        with Caller(there.port) as caller:
            assert caller.open()["type"] == "opened"
            caller.audio(AUDIO)
            assert caller.close()["type"] == "closed"
        wait_for(lambda: all(len(list(directory.iterdir())) == 2 for directory in copies))
        wait_for(lambda: not list(there.spool.glob("ready/*/*")))
        log = daemon.log()
    first, second = ({path.suffix: path.read_bytes() for path in directory.iterdir()} for directory in copies)
    assert first == second
    assert first[".wav"].endswith(AUDIO)
    assert "1.6 first of audio" in log
    assert "1.6 second of audio" in log
