"""Blocks of the reactor are named in the log, counted, and shown with their stack."""

import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon
from tests.functional.place import Place

PLUGIN = Path(__file__).parent / "blocking_plugin.py"
MakePlace = Callable[..., Place]


def metrics(there: Place) -> dict[str, float]:
    """The metrics about blocks, by name and plugin."""
    with urllib.request.urlopen(f"http://127.0.0.1:{there.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line.startswith("audiohookd_reactor_"))
    return {name.removeprefix("audiohookd_reactor_"): float(value) for name, value in samples}


def longest(there: Place, plugin: str) -> float:
    """The longest block in seconds. Waits at most 5 s until it exceeds 0.2 s."""
    seconds = 0.0
    for _ in range(50):
        seconds = metrics(there).get(f'longest_block_seconds{{plugin="{plugin}"}}', 0.0)
        if seconds > 0.2:
            break
        time.sleep(0.1)
    return seconds


def started(place: MakePlace, how: str) -> tuple[Place, Daemon]:
    there = place(**{"plugins.evil": {"class": "blocking_plugin:BlockingPlugin", "how": how}, "plugins.recorder": {}})
    return there, Daemon(there.bin, there.config, {"PYTHONPATH": str(PLUGIN.parent)})


def lines(daemon: Daemon, words: str, caller: Caller | None = None) -> list[str]:
    """Waits at most 5 s for log lines with these words, and returns them.

    :param caller: sends audio until then, because a thread with the interpreter lock does not block an idle reactor.
    """
    for _ in range(250):
        found = [line for line in daemon.log().splitlines() if words in line]
        if found:
            return found
        if caller is not None:
            caller.audio(bytes(320))
        time.sleep(0.02)
    return []


def line_of(function: str, words: str) -> int:
    source = PLUGIN.read_text().splitlines()
    start = source.index(f"def {function}() -> None:")
    return next(number for number, line in enumerate(source[start:], start + 1) if words in line)


@pytest.mark.parametrize(
    ("how", "callback", "function", "words"),
    [
        ("sleep", "opened", "sleep", "sleep(0.3)"),
        ("match", "opened", "match", ".match("),
        ("timer", "sleep", "sleep", "sleep(0.3)"),
        ("from-thread", "sleep", "sleep", "sleep(0.3)"),
        ("thread", "match", "match", ".match("),
    ],
)
def test_a_plugin_that_blocks_is_named_with_callback_file_and_line(
    place: MakePlace, how: str, callback: str, function: str, words: str
) -> None:
    there, daemon = started(place, how)
    with daemon, Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        found = lines(daemon, "by plugin evil", caller)
        place_found = re.search(rf"in {callback} at {re.escape(str(PLUGIN))}:(\d+) \({function}\)", found[0])
        assert place_found, found[0]
        # The stack of a thread with the interpreter lock is read when it releases the lock, up to two lines later.
        lines_on = 2 if how == "thread" else 0
        assert abs(int(place_found[1]) - line_of(function, words)) <= lines_on
        assert longest(there, "evil") > 0.2
        shown = metrics(there)
        assert shown['blocks_total{plugin="evil"}'] >= 1
        assert shown['blocked_seconds_total{plugin="evil"}'] >= shown['longest_block_seconds{plugin="evil"}']


def test_a_block_of_the_daemon_itself_names_no_plugin(place: MakePlace) -> None:
    there, daemon = started(place, "daemon")
    with daemon, Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        (found,) = lines(daemon, "by no plugin, but by the daemon")
        assert "runUntilCurrent" in found
        assert longest(there, "(daemon)") > 0.2
        assert metrics(there)['blocks_total{plugin="evil"}'] == 0


def test_garbage_collection_names_no_plugin(place: MakePlace) -> None:
    there, daemon = started(place, "collect")
    with daemon, Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        (found,) = lines(daemon, "by the garbage collector")
        assert f"while evil was in opened at {PLUGIN}:{line_of('collect', 'gc.collect()')} (collect)" in found
        assert metrics(there)['blocks_total{plugin="evil"}'] == 0


def test_a_stopped_process_names_no_plugin(place: MakePlace) -> None:
    there, daemon = started(place, "none")
    with daemon, Caller(there.port) as caller:
        assert caller.open()["type"] == "opened"
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        daemon.process.send_signal(signal.SIGCONT)
        (found,) = lines(daemon, "because the process did not run")
        assert "no plugin is at fault" in found
        assert longest(there, "(process)") > 1
        assert metrics(there)['blocks_total{plugin="evil"}'] == 0
