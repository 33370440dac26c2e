"""The plugin, callback, file and line that a stack tells of."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from audiohookd.observe.culprits import DAEMON, STACK_LIMIT, UNKNOWN, Culprit, culprit_of
from audiohookd.observe.unhandled import places_of
from audiohookd.runtime import foreign_code

SOURCE = """
import json
class Plugin:
    def __init__(self, look):
        self.look = look
    def opened(self):
        self.wait()
    def wait(self):
        self.look()
    def parse(self):
        json.loads("[1]", parse_int=lambda _: list(map(self.look, [1])))
"""


class Watched:
    """A plugin in its own file, with methods that inspect the stack."""

    def __init__(self, path: Path, plugin_class: Any) -> None:
        self.path = path
        self.found = Culprit(UNKNOWN)
        self.plugin = plugin_class(self.look)
        self.callers: dict[str, tuple[str, str]] = {}
        self.places = places_of({"evil": self.plugin})

    def look(self, *_: object) -> None:
        self.found = culprit_of(sys._getframe(1), self.places, self.plugin_call)

    def plugin_call(self, frame: FrameType) -> tuple[str, str] | None:
        return self.callers.get(frame.f_code.co_name)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    path = tmp_path / "culprit_evil.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    import culprit_evil  # type: ignore[import-not-found]  # noqa: PLC0415

    yield Watched(path, culprit_evil.Plugin)
    del sys.modules["culprit_evil"]


def call(function: Callable[[], object]) -> None:
    """Stands for our code that calls a plugin."""
    function()


def test_without_a_call_of_ours_it_is_the_function_that_the_timer_called(watched: Watched) -> None:
    watched.plugin.opened()
    found = watched.found
    assert (found.plugin, found.callback, found.function) == ("evil", "Plugin.opened", "Plugin.wait")
    assert (found.file, found.line) == (str(watched.path), 9)


def test_our_call_says_whose_it_is_and_which_callback(watched: Watched) -> None:
    """Two tables may have the same module, and a callback may be a function of another name."""
    watched.callers = {"call": ("other", "closed")}
    call(watched.plugin.opened)
    found = watched.found
    assert (found.plugin, found.callback, found.file, found.line) == ("other", "closed", str(watched.path), 9)


def test_a_library_that_a_plugin_calls_is_the_plugins_line(watched: Watched) -> None:
    foreign_code.call(watched.plugin.parse)
    found = watched.found
    assert (found.plugin, found.callback, found.line) == ("evil", "Plugin.parse", 11)
    assert "json/decoder.py" in found.stack


def test_a_callback_of_a_library_is_still_the_plugins_whose_call_it_is(watched: Watched) -> None:
    watched.callers = {"call": ("other", "closed")}
    call(lambda: json.loads("[1]", parse_int=lambda _: watched.look()))
    assert (watched.found.plugin, watched.found.callback) == ("other", "closed")


def test_a_call_of_c_code_is_the_line_of_our_call(watched: Watched) -> None:
    watched.callers = {"call": ("other", "closed")}
    call(watched.look)
    assert (watched.found.plugin, watched.found.file) == ("other", __file__)


def test_a_stack_without_a_plugin_is_the_daemons(watched: Watched) -> None:
    foreign_code.call(watched.look)
    found = watched.found
    assert (found.plugin, found.callback, found.function) == (DAEMON, "", "call")
    assert found.file == foreign_code.__file__


def test_a_thread_that_is_gone_is_unknown(watched: Watched) -> None:
    assert culprit_of(None, watched.places, watched.plugin_call) == Culprit(UNKNOWN)


def test_an_endless_recursion_is_cut(watched: Watched) -> None:
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            watched.look()

    descend(500)
    assert watched.found.stack.count(" < ") == STACK_LIMIT - 1
