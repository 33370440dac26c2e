"""What README.rst tells plugin authors to write, works."""

import re
import runpy
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.logger import formatEvent
from zope.interface.verify import verifyObject

from audiohookd.interfaces import IAudioSink, IPlugin, IPluginFactory
from audiohookd.testing import STEREO, FakeSession

README = Path(__file__).parents[1] / "README.rst"


def snippets(text: str) -> list[str]:
    """The literal blocks of a document."""
    blocks = re.findall(r"::\n\n((?:(?: {4}.*)?\n)+)", text)
    return [textwrap.dedent(block) for block in blocks]


@pytest.fixture
def names(tmp_path: Path) -> Mapping[str, Any]:
    """What the module holds that somebody makes of the example."""
    (example,) = [snippet for snippet in snippets(README.read_text()) if "class SecondsPlugin" in snippet]
    (tmp_path / "seconds.py").write_text(example)
    return runpy.run_path(str(tmp_path / "seconds.py"), run_name="seconds")


@pytest.fixture
def plugin(names: Mapping[str, Any]) -> Any:
    factory = names["SecondsPlugin"]
    return factory(msgspec.convert({}, factory.config_type), None)


def test_the_example_keeps_the_contract(names: Mapping[str, Any], plugin: Any) -> None:
    assert verifyObject(IPluginFactory, names["SecondsPlugin"])
    assert verifyObject(IPlugin, plugin)
    assert verifyObject(IAudioSink, plugin.observe(FakeSession()))


def test_the_example_counts_the_seconds_of_a_call(plugin: Any) -> None:
    session = FakeSession(STEREO)
    sink = plugin.observe(session)
    for _ in range(15):
        sink.audio(STEREO.silence(800))
    assert session.logged == []
    sink.closed("end")
    assert [formatEvent(event) for event in session.logged] == ["1.5 s of audio"]


def test_the_example_survives_a_call_without_media(plugin: Any) -> None:
    session = FakeSession(media=None)
    plugin.observe(session).closed("end")
    assert [event for event in session.logged if event["seconds"]] == []


def test_a_key_that_the_example_does_not_know_is_told(names: Mapping[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="units"):
        msgspec.convert({"units": "s"}, names["SecondsPlugin"].config_type)
