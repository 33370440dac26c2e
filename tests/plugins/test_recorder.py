"""The recording that a session leaves behind."""

import math
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.logger import formatEvent
from zope.interface.verify import verifyObject

from audiohookd.interfaces import IAudioSink, IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.protocol.events import GapCause
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.product import Product
from audiohookd.session.connection_end import ConnectionEnd
from audiohookd_plugins.byte_order import swapped
from audiohookd_plugins.recorder import SILENCE_BYTES, RecorderConfig, RecorderPlugin
from tests.plugins.recorded_call import DAY, L16, MONO, SECRET, STARTED_AT, STEREO, Call, FakeDaemon, a_session

MakeCall = Callable[..., Call]


@pytest.fixture
def call(tmp_path: Path) -> MakeCall:
    return lambda *given, **options: Call(tmp_path / "spool", *given, **options)


def mulaw(code: int) -> int:
    """G.711 decoding, by its definition."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def test_keeps_the_contract(call: MakeCall) -> None:
    made = call()
    assert verifyObject(IPluginFactory, RecorderPlugin)
    assert verifyObject(IPlugin, made.plugin)
    assert verifyObject(IAudioSink, made.sink)
    assert verifyObject(ISession, made.session)
    assert verifyObject(IDaemon, made.daemon)


def test_options_that_do_not_exist_are_refused() -> None:
    assert msgspec.convert({}, RecorderConfig) == RecorderConfig("silence", "little")
    for options in ({"gaps": "stretch"}, {"l16_byte_order": "middle"}, {"gap": "silence"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(options, RecorderConfig)


class TestAudio:
    def test_decodes_to_the_audio_sent(self, call: MakeCall) -> None:
        made = call(STEREO)
        sent = bytes(range(256)) * 2
        made.sink.audio(sent[:100])
        made.sink.audio(sent[100:])
        made.close()
        (path,) = (made.directory / "ready" / DAY).glob("*.wav")
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == 8000
        assert samples.flatten().tolist() == [mulaw(code) for code in sent]
        assert samples[:, 0].tolist() == [mulaw(code) for code in sent[::2]]

    def test_little_endian_l16_stays_as_it_is(self, call: MakeCall) -> None:
        made = call(L16)
        made.sink.audio(b"\x01\x02\x03\x04")
        made.close()
        assert made.audio() == b"\x01\x02\x03\x04"

    def test_big_endian_l16_is_turned_around(self, call: MakeCall) -> None:
        made = call(L16, l16_byte_order="big")
        made.sink.audio(struct.pack(">4h", 1, -2, 300, -32768))
        made.gap(1)
        made.close()
        (path,) = (made.directory / "ready" / DAY).glob("*.wav")
        samples = soundfile.read(path, dtype="int16")[0]
        assert samples.flatten().tolist() == [1, -2, 300, -32768, 0, 0]

    def test_the_byte_order_of_l16_does_not_touch_pcmu(self, call: MakeCall) -> None:
        made = call(STEREO, l16_byte_order="big")
        made.sink.audio(b"\x01\x02\x03\x04")
        made.close()
        assert made.audio() == b"\x01\x02\x03\x04"

    def test_backpressure_of_the_disk_reaches_the_caller(self, call: MakeCall) -> None:
        made = call()
        frame = bytes(1 << 20)
        assert [made.sink.audio(frame) for _ in range(7)] == [None] * 7
        held = [made.sink.audio(frame), made.sink.message(False, b"{}", STARTED_AT)]
        assert not any(waiting.called for waiting in held)
        made.daemon.writing.run()
        assert all(waiting.called for waiting in held)


class TestTimeLine:
    def test_gaps_become_silence_of_the_same_length(self, call: MakeCall) -> None:
        made = call(STEREO)
        made.sink.audio(b"\x01\x02" * 800)
        made.gap(1234, GapCause.PAUSED, 4800)
        made.sink.audio(b"\x03\x04" * 10)
        made.gap(1, GapCause.OVERFLOW, 6044)
        made.close()
        assert made.audio() == b"\x01\x02" * 800 + b"\xff" * 2468 + b"\x03\x04" * 10 + b"\xff\xff"
        recording = made.sidecar()["recording"]
        assert recording["samples"] == 800 + 1234 + 10 + 1
        assert recording["startPosition"] == 4000
        assert recording["gaps"] == [
            {"start": 4800, "samples": 1234, "cause": "paused", "filled": True, "offset": 800},
            {"start": 6044, "samples": 1, "cause": "overflow", "filled": True, "offset": 2044},
        ]

    def test_compact_leaves_them_out_and_tells_where(self, call: MakeCall) -> None:
        made = call(L16, gaps="omit")
        made.sink.audio(bytes(400))
        made.gap(8000, GapCause.DISCARDED, 4100)
        made.sink.audio(bytes(40))
        made.close()
        assert made.audio() == bytes(440)
        assert made.sidecar()["recording"]["gaps"] == [
            {"start": 4100, "samples": 8000, "cause": "discarded", "filled": False, "offset": 100}
        ]

    @pytest.mark.parametrize("media", [MONO, STEREO, L16], ids=lambda media: f"{media.format}-{len(media.channels)}")
    @pytest.mark.parametrize("delta", [-1, 0, 1])
    def test_silence_around_the_size_of_its_block(self, call: MakeCall, media: Media, delta: int) -> None:
        made = call(media)
        samples = 2 * SILENCE_BYTES // media.frame_bytes + delta
        made.gap(samples)
        made.close()
        assert made.audio() == media.silence(samples)

    def test_a_pause_of_an_hour_waits_for_the_disk(self, call: MakeCall) -> None:
        made = call(STEREO)
        filled, commits = made.gap(3600 * 8000), 0
        while not filled.called:
            made.daemon.writing.run_one()
            commits += 1
        made.close()
        assert commits >= 3600 * 16_000 // (9 << 20)  # little more than 8 MiB may wait
        assert made.sidecar()["recording"]["duration"] == "PT3600S"
        assert made.audio() == b"\xff" * (3600 * 16_000)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=8),
        st.sampled_from([MONO, STEREO, L16]),
    )
    def test_the_file_is_as_long_as_the_call(
        self, tmp_path_factory: pytest.TempPathFactory, tiles: list[tuple[bool, int]], media: Media
    ) -> None:
        made = Call(tmp_path_factory.mktemp("call") / "spool", media)
        expected, position = b"", 4000
        for is_gap, samples in tiles:
            if is_gap:
                made.gap(samples, start=position)
                expected += media.silence(samples)
            else:
                made.sink.audio(b"\x11" * samples * media.frame_bytes)
                expected += b"\x11" * samples * media.frame_bytes
            position += samples
        made.close()
        assert made.audio() == expected
        recording = made.sidecar()["recording"]
        assert recording["startPosition"] + recording["samples"] == position
        assert all(gap["start"] - 4000 == gap["offset"] for gap in recording["gaps"])


class TestSidecar:
    def test_names_the_call(self, call: MakeCall) -> None:
        made = call()
        made.session.language = "de-DE"
        made.close()
        recording = made.sidecar()["recording"]
        assert recording["session"] == made.session.id
        assert recording["conversation"] == made.session.conversation_id
        assert recording["organization"] == made.session.organization_id
        assert recording["correlation"] == made.session.correlation_id
        assert recording["participant"] == {
            "id": made.session.participant.id,
            "ani": "+1-555-555-1234",
            "aniName": "Doe",
            "dnis": "+1-800-555-6789",
        }
        assert recording["language"] == "de-DE"
        assert recording["closeReason"] == "end"
        assert recording["startedAt"] == made.sidecar()["header"]["timestamp"] == "2025-12-31T23:59:59.250Z"

    def test_names_its_audio(self, call: MakeCall) -> None:
        made = call()
        made.sink.audio(bytes(3200))
        made.close()
        audio, sidecar = made.ready(), made.sidecar()
        assert [path.name for path in audio] == [f"{sidecar['header']['id']}.json", f"{sidecar['header']['id']}.wav"]
        assert UUID(sidecar["header"]["id"]).version == 4
        assert sidecar["recording"]["audio"]["file"] == audio[1].name
        assert sidecar["recording"]["audio"]["bytes"] == audio[1].stat().st_size

    def test_holds_the_messages_as_they_crossed_the_wire(self, call: MakeCall) -> None:
        made = call()
        made.sink.message(False, b'{"type": "open",\n "parameters": {"x": 1.50}}', STARTED_AT - 0.001)
        made.sink.message(True, b'{"type":"opened","seq":1}', STARTED_AT + 1.2344)
        made.close()
        assert made.entries("audiohook") == [
            {
                "timestamp": "PT0S",
                "type": "audiohook",
                "data": {"dir": "in", "message": {"type": "open", "parameters": {"x": 1.5}}},
            },
            {
                "timestamp": "PT1.234S",
                "type": "audiohook",
                "data": {"dir": "out", "message": {"type": "opened", "seq": 1}},
            },
        ]

    def test_keeps_invalid_json_as_text(self, call: MakeCall) -> None:
        made = call()
        for odd in (b"{", b'{"a":"\xff"}', b"", b"[" * 5000, b"[NaN]"):
            made.sink.message(False, odd, STARTED_AT)
        made.close()
        messages = [entry["data"]["message"] for entry in made.entries("audiohook")]
        assert messages == ["{", '{"a":"\\xff"}', "", "[" * 5000, "[NaN]"]

    @pytest.mark.parametrize("change", [-3600.0, 3600.0])
    def test_times_are_independent_of_clock_changes(self, tmp_path: Path, change: float) -> None:
        made = Call(tmp_path / "spool")
        made.daemon.clock_change = change
        made.daemon.reactor.advance(5)
        made.close()
        assert [entry["timestamp"] for entry in made.entries("end")] == ["PT5S"]

    def test_begins_with_the_request_and_ends_with_the_end(self, call: MakeCall) -> None:
        made = call()
        made.daemon.reactor.advance(3.5)
        made.sink.round_trip(12_000_000)
        made.close()
        body = made.sidecar()["body"]
        assert [entry["type"] for entry in body] == ["httpInfo", "statistics", "end"]
        assert body[0]["timestamp"] == "PT0S"
        assert body[0]["data"]["uri"] == "/audiohook/v1?bot=7"
        assert body[1] == {"timestamp": "PT3.5S", "type": "statistics", "data": {"rtt": "PT0.012S"}}
        assert body[2] == {"timestamp": "PT3.5S", "type": "end", "data": {}}

    def test_headers_are_shown_only_where_no_secret_can_be(self, call: MakeCall) -> None:
        made = call()
        made.close()
        assert made.entries("httpInfo")[0]["data"]["headers"] == {
            "host": "audiohook.example.com",
            "User-Agent": "GenesysCloud-AudioHook-Client",
            "audiohook-session-id": made.session.id,
            "Audiohook-Organization-Id": made.session.organization_id,
        }

    def test_no_secret_is_on_the_disk_nor_in_the_log(self, call: MakeCall) -> None:
        made = call()
        made.commit()
        drafts = [path.read_bytes() for path in (made.directory / "draft").iterdir()]
        made.close()
        ready = [path.read_bytes() for path in made.ready()]
        assert len(drafts) == len(ready) == 2
        assert not any(SECRET.encode() in content for content in drafts + ready)
        assert SECRET not in str(made.logged)


class TestEnd:
    def test_a_lost_connection_ends_as_a_good_recording(self, call: MakeCall) -> None:
        made = call()
        made.sink.audio(b"\x01\x02" * 100)
        made.close("connection-lost")
        assert made.audio() == b"\x01\x02" * 100
        assert made.sidecar()["recording"]["closeReason"] == "connection-lost"
        assert made.sidecar()["body"][-1]["type"] == "end"

    def test_how_the_connection_ended_is_in_it_when_that_came_first(self, call: MakeCall) -> None:
        made = call()
        made.session.connection_end = ConnectionEnd("close-frame", "client", 1001, "bye\r\n")
        made.close("connection-lost")
        found = made.sidecar()["recording"]["connectionEnd"]
        assert found == {"cause": "close-frame", "by": "client", "code": 1001, "reason": "bye\r\n"}

    def test_a_session_that_ended_first_says_nothing_of_its_connection(self, call: MakeCall) -> None:
        made = call()
        made.close()
        assert "connectionEnd" not in made.sidecar()["recording"]

    def test_one_line_tells_where_the_recording_is(self, call: MakeCall) -> None:
        made = call()
        made.close()
        (line,) = made.logged
        assert line["log_level"].name == "info"
        assert line["path"] == str(next(path for path in made.ready() if path.suffix == ".wav"))
        line["path"] = "here"  # the random name may contain that number
        assert "555" not in line["log_format"].format(**line)

    def test_without_media_there_is_only_a_sidecar(self, call: MakeCall) -> None:
        made = call(None)
        made.sink.message(False, b'{"type":"open"}', STARTED_AT)
        made.gap(8000)
        made.close()
        assert [path.suffix for path in made.ready()] == [".json"]
        recording = made.sidecar()["recording"]
        assert (recording["media"], recording["audio"]) == (None, None)
        gap = {"start": 4000, "samples": 8000, "cause": "paused", "filled": False, "offset": 0}
        assert recording["gaps"] == [gap]
        assert len(made.entries("audiohook")) == 1

    def test_a_daemon_without_sessions_leaves_nothing(self, tmp_path: Path) -> None:
        """Plugins do not observe a connection probe, and only ``observe`` begins a recording."""
        daemon = FakeDaemon(tmp_path / "spool")
        plugin = RecorderPlugin(RecorderConfig(), daemon)
        daemon.reactor.advance(60)
        assert len(daemon.writing) == 0
        plugin.observe(a_session(STEREO))
        daemon.reactor.advance(60)
        assert len(daemon.writing) == 1

    def test_two_sessions_are_two_recordings(self, call: MakeCall) -> None:
        made = call()
        other = made.plugin.observe(a_session(MONO))
        other.opened()
        other.closed("end")
        made.close()
        assert len({path.stem for path in made.ready()}) == 2


class TestWhatIsMissing:
    """The session's position says how much audio there was."""

    @pytest.mark.parametrize("gaps", ["silence", "omit"])
    def test_nothing_is_when_all_came(self, call: MakeCall, gaps: str) -> None:
        made = call(STEREO, gaps=gaps)
        made.sink.audio(bytes(400))
        made.gap(8000, start=4200)
        made.session.position += 200 + 8000
        made.close()
        assert "missingSamples" not in made.sidecar()["recording"]

    @pytest.mark.parametrize("gaps", ["silence", "omit"])
    def test_the_sidecar_counts_missing_samples(self, call: MakeCall, gaps: str) -> None:
        made = call(L16, gaps=gaps)
        made.sink.audio(bytes(400))
        made.gap(8000, start=4100)
        made.session.position += 100 + 8000 + 250
        made.close("connection-lost")
        assert made.sidecar()["recording"]["missingSamples"] == 250
        lines = [formatEvent(event) for event in made.session.logged]
        (recording,) = {path.stem for path in made.ready()}
        assert [line.partition(" s shorter")[0] for line in lines if "missingSamples" in line] == [
            f"recording {recording} is {250 / L16.rate:.1f}"
        ]

    def test_messages_that_found_no_room_in_its_queue_are_counted_in_the_sidecar(self, call: MakeCall) -> None:
        made = call(STEREO)
        made.session.missed_messages = 3
        made.close()
        assert made.sidecar()["recording"]["omittedMessages"] == 3

    def test_nothing_is_in_a_session_without_audio(self, call: MakeCall) -> None:
        made = call(None)
        made.gap(8000)
        made.session.position += 8000
        made.close()
        assert "missingSamples" not in made.sidecar()["recording"]

    def test_the_rest_of_a_silence_that_took_too_long_is(self, call: MakeCall) -> None:
        made = call(STEREO)
        samples = 3600 * 8000
        filled = made.gap(samples)
        made.session.position += samples
        failures: list[Any] = []
        filled.addErrback(failures.append)
        assert not filled.called
        made.close()
        assert filled.called
        assert failures == []
        recording = made.sidecar()["recording"]
        assert recording["missingSamples"] > 0
        assert recording["samples"] + recording["missingSamples"] == samples


class TestFailureAtTheEnd:
    def test_logs_an_error_and_leaves_the_draft(self, call: MakeCall) -> None:
        made = call()
        (made.directory / "ready" / DAY).write_bytes(b"a file where a directory should be")
        made.close()
        (line,) = made.logged
        assert line["log_level"].name == "error"
        assert DAY in line["log_format"].format(**line)


class TestByteOrder:
    def test_the_wrong_order_is_logged_with_its_remedy(self, call: MakeCall) -> None:
        made = call(L16)
        made.sink.audio(swapped(array("h", (round(9_000 * math.sin(at / 16)) for at in range(16_000))).tobytes()))
        (line,) = [str(formatEvent(event)) for event in made.logged if "wrong order" in str(formatEvent(event))]
        assert "try l16_byte_order = 'big' in [plugins.recorder]" in line


def test_audio_in_a_pause_is_an_entry_of_the_sidecar(call: MakeCall) -> None:
    made = call()
    for _ in range(3):
        made.sink.audio_while_paused(800, 1_600)
    made.close()
    (entry,) = made.entries("audioWhilePaused")
    assert entry["data"] == {"position": 800, "bytes": 1_600}


class TestBot:
    """Calls of an Audio Connector: the second channel is the bot."""

    def call(self, directory: Path, media: Media = MONO, **options: Any) -> Call:
        return Call(directory, media, product=Product.AUDIO, **options)

    def test_the_bot_is_a_channel_at_its_position(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool")
        made.sink.audio_sent(made.session.start_position + 2, b"bot")
        made.sink.audio(b"caller")
        made.close()
        assert made.audio() == b"c\xffa\xfflbloetr\xff"
        assert made.sidecar()["recording"]["media"]["channels"] == ["external", "bot"]
        assert made.sidecar()["recording"]["samples"] == 6

    def test_the_bot_is_heard_in_a_gap_that_is_filled(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool")
        made.sink.audio_sent(made.session.start_position + 1, b"bot")
        made.gap(3)
        made.sink.audio(b"ca")
        made.close()
        assert made.audio() == b"\xff\xff\xffb\xffo" + b"cta\xff"

    def test_an_omitted_gap_has_no_bot_either(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool", gaps="omit")
        made.sink.audio_sent(made.session.start_position, b"bots")
        made.gap(3)
        made.sink.audio(b"ca")
        made.close()
        assert made.audio() == b"csa\xff"

    def test_what_an_interruption_dropped_is_silence(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool")
        made.sink.audio_sent(made.session.start_position, b"bots")
        made.sink.audio_dropped(made.session.start_position + 1)
        made.sink.audio(b"cal")
        made.close()
        assert made.audio() == b"cba\xffl\xff"

    def test_both_channels_are_little_endian(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool", Media(Format.L16, ("external",)), l16_byte_order="big")
        made.sink.audio_sent(made.session.start_position, b"\1\2")
        made.sink.audio(b"\3\4\5\6")
        made.close()
        assert made.audio() == b"\4\3\2\1" + b"\6\5\0\0"

    def test_two_channels_of_the_client_leave_no_room_for_the_bot(self, tmp_path: Path) -> None:
        made = self.call(tmp_path / "spool", STEREO)
        made.sink.audio_sent(0, b"bot")
        made.sink.audio(b"ab")
        made.close()
        assert made.audio() == b"ab"
