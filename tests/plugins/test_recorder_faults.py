"""Disk errors and stalls during a recording, from the session's side."""

import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from audiohookd.interfaces import PartialLoss
from audiohookd.protocol.media import Media
from audiohookd.session.driver import FINISH_TIME
from audiohookd.session.fanout import Watcher
from audiohookd.testing.client import ScriptedClient
from audiohookd_plugins.recorder import CLOSE_TIMEOUT, SILENCE_BYTES, RecorderConfig, RecorderPlugin
from tests.plugins.recorded_call import STARTED_AT, STEREO, Call, FakeDaemon

SPEECH = b"\x11\x12" * 800
FLUSH_INTERVAL = 0.5
STALL_TIMEOUT = 30.0


@contextmanager
def disk_that_takes(file_size: int) -> Iterator[None]:
    """The kernel rejects writes that extend a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(directory: Path, media: Media = STEREO, **options: Any) -> Call:
    """A call that has just lost audio, before the error is reported."""
    made = Call(directory, media, **options)
    made.commit()
    made.sink.audio(SPEECH)
    with disk_that_takes(0):
        made.commit()
    return made


class TestRecorder:
    def test_reports_once_and_accepts_all_audio(self, tmp_path: Path) -> None:
        made = refused(tmp_path)
        with pytest.raises(PartialLoss, match="File too large"):
            made.sink.audio(SPEECH)
        assert made.sink.audio(SPEECH) is None
        made.close()
        assert made.audio() == b"\xff" * len(SPEECH) + SPEECH * 2
        assert made.sidecar()["recording"]["samples"] == 2400
        assert made.sidecar()["recording"]["gaps"] == [
            {"start": 4000, "samples": 800, "cause": "disk", "filled": True, "offset": 0, "fault": "EFBIG"}
        ]
        assert "missingSamples" not in made.sidecar()["recording"]

    def test_a_message_that_hears_of_it_is_recorded(self, tmp_path: Path) -> None:
        made = refused(tmp_path)
        with pytest.raises(PartialLoss):
            made.sink.message(False, b'{"type":"ping"}', STARTED_AT)
        made.close()
        assert [entry["data"]["message"] for entry in made.entries("audiohook")] == [{"type": "ping"}]

    @pytest.mark.parametrize("gaps", ["silence", "omit"])
    def test_a_gap_that_hears_of_it_is_as_long_as_ever(self, tmp_path: Path, gaps: str) -> None:
        made = refused(tmp_path, gaps=gaps)
        samples = 3 * SILENCE_BYTES
        failures: list[Any] = []
        made.gap(samples, start=4800).addErrback(failures.append)
        assert failures[0].check(PartialLoss)
        made.session.position += 800 + samples
        made.close()
        recording = made.sidecar()["recording"]
        assert recording["samples"] == 800 + (samples if gaps == "silence" else 0)
        assert [(gap["cause"], gap["start"], gap["samples"]) for gap in recording["gaps"]] == [
            ("disk", 4000, 800),
            ("paused", 4800, samples),
        ]
        assert "missingSamples" not in recording

    def test_a_recording_that_begins_while_the_disk_stalls_knows_whose_it_is(self, tmp_path: Path) -> None:
        stalled = Call(tmp_path)
        stalled.daemon.reactor.advance(FLUSH_INTERVAL)
        stalled.daemon.reactor.advance(STALL_TIMEOUT)
        recorder = stalled.plugin.observe(stalled.session)
        with pytest.raises(PartialLoss, match="nothing was written"):
            recorder.opened()
        stalled.daemon.writing.run()
        recorder.closed("end")
        stalled.commit()
        stalled.daemon.finishing.run()
        assert len(stalled.entries("httpInfo")) == 1
        assert stalled.sidecar()["recording"]["session"] == stalled.session.id

    def test_an_error_reported_at_the_close_does_not_spoil_the_end(self, tmp_path: Path) -> None:
        made = refused(tmp_path)
        made.close()
        assert made.audio() == b"\xff" * len(SPEECH)
        assert [entry["type"] for entry in made.sidecar()["body"]][-1] == "end"
        (line,) = made.logged
        assert line["log_level"].name == "info"


class RecordedClient(ScriptedClient):
    """A call over the protocol, recorded by a plugin that may be required."""

    def __init__(self, directory: Path, required: bool) -> None:
        self.daemon = FakeDaemon(directory)
        plugin = RecorderPlugin(RecorderConfig(), self.daemon)
        super().__init__(Watcher("recorder", plugin, required), clock=self.daemon.reactor)
        self.open()
        self.commit()

    def commit(self) -> None:
        self.clock.advance(FLUSH_INTERVAL)
        self.daemon.writing.run()

    def hang_up_on_a_full_disk(self) -> None:
        """A disk that accepts nothing at the end, while the recorder waits for it."""
        self.speak(SPEECH)
        with disk_that_takes(0):
            self.close()
            self.leave()
            for _ in range(math.ceil(CLOSE_TIMEOUT / FLUSH_INTERVAL)):
                assert not self.connection.finished.called
                self.commit()

    def is_alive(self) -> bool:
        self.say("ping", {"rtt": "PT0.1S"})
        return self.types[-1] == "pong"

    def goodbye(self) -> dict[str, Any] | None:
        return next((said["parameters"] for said in self.wire.heard if said["type"] == "disconnect"), None)


class TestCall:
    @pytest.fixture(params=["refusal", "stall"])
    def trouble(self, request: pytest.FixtureRequest) -> Any:
        def refusal(call: RecordedClient) -> None:
            call.speak(SPEECH)
            with disk_that_takes(0):
                call.commit()

        def stall(call: RecordedClient) -> None:
            call.speak(SPEECH)
            call.clock.advance(FLUSH_INTERVAL)
            call.clock.advance(STALL_TIMEOUT)

        return {"refusal": refusal, "stall": stall}[request.param]

    def test_survives_a_disk_error(self, tmp_path: Path, trouble: Any) -> None:
        call = RecordedClient(tmp_path, required=False)
        trouble(call)
        for _ in range(3):
            call.speak(SPEECH)
        assert call.is_alive()
        assert call.goodbye() is None
        assert call.counters.value("plugin_failures", "recorder") == 1
        call.commit()
        call.close()
        call.leave()
        call.commit()
        call.daemon.finishing.run()
        (audio,) = (tmp_path / "ready").rglob("*.wav")
        assert audio.read_bytes().endswith(SPEECH * 3)

    def test_frees_its_place_and_the_stop_waits_until_the_recording_is_ready(self, tmp_path: Path) -> None:
        """So the last recording before a shutdown is delivered, too."""
        call = RecordedClient(tmp_path, required=False)
        call.speak(SPEECH)
        call.close()
        call.leave()
        call.commit()
        assert (len(call.registry), len(list(call.registry))) == (0, 1)
        call.daemon.finishing.run()
        assert list(call.registry) == []
        assert call.clock.getDelayedCalls() == []

    def test_takes_no_place_while_its_end_waits_for_the_disk(self, tmp_path: Path) -> None:
        call = RecordedClient(tmp_path, required=False)
        call.hang_up_on_a_full_disk()
        assert call.connection.finished.called
        assert len(call.registry) == 0
        with disk_that_takes(0):
            for _ in range(4):
                call.clock.advance(FINISH_TIME)
                call.daemon.writing.run()
        assert call.daemon.spool.fault is None  # it is not reported any more
        assert call.counters.value("plugin_failures", "recorder") == 0
        assert not list((tmp_path / "ready").rglob("*.wav"))
        with capturedLogs() as logged:
            call.commit()
            call.daemon.finishing.run()
        (audio,) = (tmp_path / "ready").rglob("*.wav")
        assert f"recording ready: {audio}" in "".join(map(formatEvent, logged))

    def test_that_waits_for_the_disk_does_not_hold_up_the_stop_and_is_not_lost(self, tmp_path: Path) -> None:
        call = RecordedClient(tmp_path, required=False)
        call.hang_up_on_a_full_disk()
        drained: list[object] = []
        call.registry.stopService().addCallback(drained.append)
        assert drained == [None]
        stopped = call.daemon.spool.stopService()
        call.daemon.writing.run()
        assert not stopped.called
        call.daemon.finishing.run()
        assert stopped.called
        assert len(list((tmp_path / "ready").rglob("*.wav"))) == 1

    def test_ends_when_it_must_be_recorded(self, tmp_path: Path, trouble: Any) -> None:
        call = RecordedClient(tmp_path, required=True)
        trouble(call)
        assert call.goodbye() is None
        call.speak(SPEECH)
        assert call.goodbye() == {"reason": "error", "info": "a required service failed"}

    def test_that_must_be_recorded_goes_on_while_the_disk_is_well(self, tmp_path: Path) -> None:
        call = RecordedClient(tmp_path, required=True)
        for _ in range(100):
            call.speak(SPEECH)
            call.commit()
            assert call.is_alive()
        assert call.goodbye() is None
