"""The examples in docs/plugins.rst work, and so do the stand-ins for their tests."""

import json
import re
import runpy
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.logger import formatEvent
from zope.interface.verify import verifyObject

from audiohookd.cli.verify import check
from audiohookd.config.convert import convert
from audiohookd.interfaces import IAudioSink, ICarrier, IPlugin, IPluginFactory, IRecording
from audiohookd.testing import STEREO, FakeDaemon, FakeRecording, FakeSession

DOCUMENT = Path(__file__).parents[1] / "docs/plugins.rst"


def snippets(text: str) -> list[str]:
    """The literal blocks of a document."""
    blocks = re.findall(r"::\n\n((?:(?: {4}.*)?\n)+)", text)
    return [textwrap.dedent(block) for block in blocks]


def snippet(words: str) -> str:
    """The literal block that contains the words."""
    (found,) = [block for block in snippets(DOCUMENT.read_text()) if words in block]
    return found


def module(directory: Path, plugin: str) -> Mapping[str, Any]:
    """The names of a module that is a copy of the example with this class."""
    example = snippet(f"class {plugin}")
    (directory / "example.py").write_text(example)
    return runpy.run_path(str(directory / "example.py"), run_name="example")


@pytest.fixture
def names(tmp_path: Path) -> Mapping[str, Any]:
    return module(tmp_path, "SecondsPlugin")


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


def test_the_example_rejects_an_unknown_key(names: Mapping[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="units"):
        msgspec.convert({"units": "s"}, names["SecondsPlugin"].config_type)


class TestTheCarrier:
    @pytest.fixture
    def daemon(self) -> FakeDaemon:
        return FakeDaemon()

    @pytest.fixture
    def there(self, tmp_path: Path) -> Path:
        """The directory that it copies to."""
        (tmp_path / "there").mkdir()
        return tmp_path / "there"

    @pytest.fixture
    def carrier(self, daemon: FakeDaemon, there: Path, tmp_path: Path) -> Any:
        factory = module(tmp_path, "CopyPlugin")["CopyPlugin"]
        assert verifyObject(IPluginFactory, factory)
        return factory(msgspec.convert({"directory": there}, factory.config_type), daemon)

    def test_the_carrier_keeps_the_contract(self, carrier: Any) -> None:
        assert verifyObject(IPlugin, carrier)
        assert verifyObject(ICarrier, carrier)
        assert carrier.observe(FakeSession()) is None

    @pytest.mark.parametrize("options", [{}, {"audio": None}])
    def test_the_carrier_copies_a_recording(
        self, carrier: Any, daemon: FakeDaemon, there: Path, tmp_path: Path, options: Any
    ) -> None:
        recording = FakeRecording(tmp_path, **options)
        receipts: list[Any] = []
        for _ in range(2):
            carrier.carry(recording).addBoth(receipts.append)
            daemon.pool.run()
        assert receipts == [{"directory": str(there)}] * 2
        copied = {path.name: path.read_bytes() for path in there.iterdir()}
        assert copied == {path.name: path.read_bytes() for path in recording.directory.iterdir()}
        assert recording.sidecar.name in copied


class TestAFakeRecording:
    def test_a_fake_recording_keeps_the_contract(self, tmp_path: Path) -> None:
        receipts = {"s3": {"bucket": "calls"}}
        recording = FakeRecording(tmp_path, receipts=receipts)
        assert verifyObject(IRecording, recording)
        assert recording.sidecar == tmp_path / "ready" / recording.day / f"{recording.id}.json"
        assert recording.receipts() == receipts

    def test_a_fake_recording_is_as_the_recorder_makes_it(self, tmp_path: Path) -> None:
        recording = FakeRecording(tmp_path)
        with recording.audio.open("rb") as audio:
            assert check(json.loads(recording.sidecar.read_bytes()), audio) == []
        assert recording.read()["duration"] == "PT1S"

    def test_a_test_chooses_audio_and_members(self, tmp_path: Path) -> None:
        recording = FakeRecording(tmp_path, b"damaged", {"language": "de-DE", "startedAt": "2026-02-03T00:00:00Z"})
        assert recording.audio.read_bytes() == b"damaged"
        assert recording.day == "2026-02-03"
        about = recording.read()
        assert (about["language"], about["audio"]["bytes"]) == ("de-DE", 7)

    def test_a_fake_recording_may_have_no_audio(self, tmp_path: Path) -> None:
        recording = FakeRecording(tmp_path, audio=None)
        assert not recording.audio.exists()
        assert (recording.read()["audio"], recording.read()["media"]) == (None, None)


def test_the_test_of_the_example_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seconds.py").write_text(snippet("class SecondsPlugin"))
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet("from seconds import"), names)  # noqa: S102 - from the document
    names["test_the_seconds_of_a_call_are_logged"]()
    del sys.modules["seconds"]


def test_the_options_of_the_document_have_units() -> None:
    names: dict[str, Any] = {}
    exec(snippet("from audiohookd.units import"), names)  # noqa: S102 - from the document
    options = convert({"timeout": "1 min", "buffer": "2 MiB"}, names["Config"], DOCUMENT)
    assert (options.timeout, options.buffer) == (60.0, 2 << 20)
