"""The check of a recording: it finds every error, and accepts all recordings of the recorder."""

import copy
import io
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohookd.cli.verify import check
from audiohookd.cli.verify.checking import Seen, check_alone, quick_check
from audiohookd.protocol.events import GapCause
from audiohookd.protocol.media import Format, Media
from tests.plugins.recorded_call import DAY, Call
from tests.spool.spool_rig import ALL_MEDIA, L16_STEREO, MONO, STEREO

START = 4000
Step = tuple[str, int]


class Made(NamedTuple):
    """A recording made by the recorder."""

    sidecar: dict[str, Any]
    audio: bytes

    def faults(self) -> list[str]:
        return check(self.sidecar, io.BytesIO(self.audio))


def made(media: Media, steps: list[Step], gaps: str = "silence", missing: int = 0) -> Made:
    """Records a call from steps, each of which is audio or a gap."""
    with tempfile.TemporaryDirectory() as directory:
        call = Call(Path(directory), media, gaps=gaps)
        position = START
        for kind, samples in steps:
            if kind == "heard":
                call.sink.audio(b"\x55" * (samples * media.frame_bytes))
            else:
                call.gap(samples, GapCause(kind), position)
            position += samples
        call.session.position = position + missing
        call.close()
        (audio,) = (Path(directory) / "ready" / DAY).glob("*.wav")
        return Made(call.sidecar(), audio.read_bytes())


#: Two gaps with audio around them, and audio that ends on an odd byte.
STEPS = [("heard", 801), ("paused", 400), ("heard", 300), ("discarded", 77), ("overflow", 50), ("heard", 13)]
RECORDINGS = {
    "mono": made(MONO, STEPS),
    "stereo": made(STEREO, STEPS),
    "stereo L16": made(L16_STEREO, STEPS),
    "left out": made(STEREO, STEPS, "omit"),
}
SILENT = made(STEREO, [("paused", 1000)])

recordings = st.sampled_from(sorted(RECORDINGS)).map(RECORDINGS.__getitem__)

steps = st.lists(
    st.tuples(st.sampled_from(["heard", *GapCause]), st.integers(1, 3000)).map(lambda step: (str(step[0]), step[1])),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ALL_MEDIA), steps, st.sampled_from(["silence", "omit"]), st.integers(0, 100))
def test_recordings_of_the_recorder_have_no_errors(media: Media, steps: list[Step], gaps: str, missing: int) -> None:
    recording = made(media, steps, gaps, missing)
    assert recording.sidecar["recording"].get("missingSamples", 0) == missing
    assert recording.faults() == []
    assert quick_check(recording.sidecar, Seen(len(recording.audio), recording.audio[:4096])) == []


def test_a_call_without_audio_is_right(tmp_path: Path) -> None:
    call = Call(tmp_path, None)
    call.gap(0)
    call.close()
    assert check(call.sidecar(), None) == []


@settings(max_examples=300)
@given(recordings, st.data())
def test_every_changed_byte_is_found(recording: Made, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(recording.audio) - 1))
    audio = bytearray(recording.audio)
    audio[place] ^= data.draw(st.integers(1, 255))
    assert any("SHA-256" in fault for fault in check(recording.sidecar, io.BytesIO(audio)))


@given(recordings, st.data())
def test_every_cut_is_found(recording: Made, data: st.DataObject) -> None:
    short = recording.audio[: data.draw(st.integers(0, len(recording.audio) - 1))]
    assert f"the audio has {len(short)} bytes, the sidecar says {len(recording.audio)}" in check(
        recording.sidecar, io.BytesIO(short)
    )
    assert quick_check(recording.sidecar, Seen(len(short), short[:4096])) != []


@given(recordings, st.binary(min_size=1, max_size=99))
def test_everything_that_was_added_is_found(recording: Made, more: bytes) -> None:
    long = recording.audio + more
    faults = check(recording.sidecar, io.BytesIO(long))
    assert f"the audio has {len(long)} bytes, the sidecar says {len(recording.audio)}" in faults
    assert any("the WAV header says" in fault for fault in faults)


def numbers_that_are_bound(sidecar: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The paths of all numbers that another part of the recording can contradict."""
    yield from [("samples",), ("startPosition",), ("media", "rate"), ("audio", "bytes")]
    gaps = sidecar["recording"]["gaps"]
    for number, gap in enumerate(gaps):
        yield from [("gaps", number, "start"), ("gaps", number, "offset")]
        if not gap["filled"] and number < len(gaps) - 1:
            yield ("gaps", number, "samples")


def changed(sidecar: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any], Any]) -> dict[str, Any]:
    other = copy.deepcopy(sidecar)
    place = other["recording"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change(place[path[-1]])
    assert other != sidecar
    return other


@settings(max_examples=200)
@given(recordings, st.data(), st.integers(-5000, 5000).filter(bool))
def test_a_changed_number_is_found(recording: Made, data: st.DataObject, by: int) -> None:
    path = data.draw(st.sampled_from(list(numbers_that_are_bound(recording.sidecar))))
    other = changed(recording.sidecar, path, lambda number: number + by)
    assert check(other, io.BytesIO(recording.audio)) != []
    assert quick_check(other, Seen(len(recording.audio), recording.audio[:4096])) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("duration",), "PT1S"),
        (("startedAt",), "2026-01-31T00:00:00.000Z"),
        (("media", "format"), "L16"),
        (("media", "channels"), ["external"]),
        (("media", "channels"), ["external", "external"]),
        (("media",), None),
        (("audio",), None),
        (("gaps", 0, "filled"), False),
        (("gaps", 0, "samples"), 401),
        (("gaps", 2, "samples"), 10_000),
        (("gaps",), []),
        (("audio", "sha256"), "0" * 64),
    ],
    ids=str,
)
def test_a_contradiction_in_the_sidecar_is_found(path: tuple[Any, ...], value: object) -> None:
    recording = RECORDINGS["stereo"]
    other = changed(recording.sidecar, path, lambda _: value)
    faults = check(other, io.BytesIO(recording.audio))
    # Nothing contradicts a sidecar that hides its gaps.
    assert bool(faults) == (path != ("gaps",))


def test_every_error_is_reported() -> None:
    recording = RECORDINGS["stereo"]
    other = changed(recording.sidecar, ("samples",), lambda _: 1)
    other["recording"]["gaps"][1]["start"] += 1
    other["header"]["timestamp"] = "another"
    faults = " / ".join(check(other, io.BytesIO(recording.audio + b"!")))
    for part in ("header.timestamp", "duration", "gap 1 starts", "bytes, the sidecar says", "SHA-256", "samples"):
        assert part in faults


def test_noise_in_a_gap_names_the_gap() -> None:
    recording = RECORDINGS["stereo L16"]
    gaps = recording.sidecar["recording"]["gaps"]
    audio = bytearray(recording.audio)
    start = audio.index(b"data") + 8
    audio[start + 4 * gaps[1]["offset"]] = 1  # the first byte of it
    audio[start + 4 * (gaps[2]["offset"] + gaps[2]["samples"]) - 1] = 1  # the last
    found = [fault for fault in check(recording.sidecar, io.BytesIO(audio)) if "silent" in fault]
    assert found == ["gap 1 is not silent in the file", "gap 2 is not silent in the file"]


def test_silence_is_checked_across_block_boundaries() -> None:
    recording = made(MONO, [("heard", 2_000_000), ("paused", 200_000), ("heard", 5)])
    assert recording.faults() == []
    audio = bytearray(recording.audio)
    audio[audio.index(b"data") + 8 + 2_100_000] = 0
    assert "gap 0 is not silent in the file" in check(recording.sidecar, io.BytesIO(audio))


class TestGaps:
    """Positions of gaps, possible and impossible."""

    def faults(self, *gaps: dict[str, Any], **recording: Any) -> list[str]:
        sidecar = copy.deepcopy(SILENT.sidecar)
        sidecar["recording"] |= {"gaps": list(gaps)} | recording
        return check(sidecar, io.BytesIO(SILENT.audio))

    def test_gaps_out_of_order_are_found(self) -> None:
        first, second = gap(100, 50), gap(300, 50)
        assert self.faults(first, second) == []
        assert any("is listed after a later gap" in fault for fault in self.faults(second, first))

    def test_overlapping_gaps_are_found(self) -> None:
        assert self.faults(gap(100, 50), gap(150, 10)) == []
        assert self.faults(gap(100, 51), gap(150, 10)) == ["gap 1 begins before the previous gap ends"]

    def test_gaps_of_a_disk_error_may_overlap_other_gaps(self) -> None:
        assert self.faults(gap(100, 500, "disk", fault="ENOSPC"), gap(150, 10), gap(650, 10, "disk")) == []
        assert self.faults(gap(100, 50, "disk"), gap(149, 10, "disk")) != []

    def test_gaps_beyond_the_audio_are_found(self) -> None:
        assert self.faults(gap(900, 100)) == []
        assert self.faults(gap(900, 101)) == ["gap 0 ends at sample 1001 of the file, the audio at 1000"]
        assert self.faults(gap(-1, 10)) != []

    def test_silence_that_came_too_late_is_missing(self) -> None:
        assert self.faults(gap(900, 110), missingSamples=10) == []
        assert self.faults(gap(900, 111), missingSamples=10) != []

    def test_a_crash_may_have_come_before_the_silence(self) -> None:
        assert self.faults(gap(900, 5000), recovered={"missingFrom": START + 1000}) == []
        assert self.faults(recovered={"missingFrom": START + 999}) != []

    def test_a_disk_error_up_to_the_end_leaves_an_unfilled_gap(self) -> None:
        refused = gap(1000, 700, "disk", filled=False)
        assert self.faults(refused) == []
        assert self.faults(refused, gap(1500, 100)) == []
        assert self.faults(refused, recovered={"missingFrom": START + 1700}) == []

    def test_an_omitted_gap_shifts_later_positions(self) -> None:
        left_out = gap(100, 40, filled=False)
        after = gap(200, 10)
        assert self.faults(left_out, after) != []
        assert self.faults(left_out, after | {"start": after["start"] + 40}) == []

    def test_gaps_need_a_start_position(self) -> None:
        sidecar = copy.deepcopy(SILENT.sidecar)
        sidecar["recording"]["gaps"] = []
        del sidecar["recording"]["startPosition"]
        assert check_alone(sidecar) == []
        sidecar["recording"]["gaps"] = [gap(100, 50)]
        assert check_alone(sidecar) == ["recording.startPosition is missing, but there are gaps"]


def gap(offset: int, samples: int, cause: str = "paused", filled: bool = True, **more: Any) -> dict[str, Any]:
    place = {"start": START + offset, "samples": samples, "cause": cause, "filled": filled, "offset": offset}
    return place | more


class TestAudioAndSidecar:
    def test_missing_audio_is_found(self) -> None:
        assert check(SILENT.sidecar, None) == ["there is no audio"]
        assert check_alone(SILENT.sidecar) == []

    def test_unexpected_audio_is_found(self, tmp_path: Path) -> None:
        call = Call(tmp_path, None)
        call.close()
        assert check(call.sidecar(), io.BytesIO(SILENT.audio)) == [
            "there is audio, but the sidecar says that there is none"
        ]

    def test_a_stream_with_short_reads_is_read_to_its_end(self) -> None:
        class Drops(io.BytesIO):
            def read(self, count: int | None = -1, /) -> bytes:
                return super().read(min(7, count or 0))

        assert check(SILENT.sidecar, Drops(SILENT.audio)) == []

    def test_errors_of_reading_propagate(self) -> None:
        class Bad(io.BytesIO):
            def read(self, count: int | None = -1, /) -> bytes:
                raise OSError("the disk is ill")

        with pytest.raises(OSError, match="ill"):
            check(SILENT.sidecar, Bad())


class TestMalformed:
    @pytest.mark.parametrize("sidecar", [{}, {"header": {"id": "1", "timestamp": DAY}, "body": []}], ids=str)
    def test_a_sidecar_of_another_program_is_named_as_such(self, sidecar: dict[str, Any]) -> None:
        """Genesys' reference server gives its sidecars the same name, header and body."""
        (fault,) = check(sidecar, io.BytesIO(b"RIFF"))
        assert "audiohookd did not write it" in fault
        assert check_alone(sidecar) == quick_check(sidecar, Seen(4)) == [fault]

    @pytest.mark.parametrize("sidecar", [{"recording": 1}, {"header": [], "body": {}, "recording": {}}], ids=str)
    def test_errors_name_the_missing_members(self, sidecar: dict[str, Any]) -> None:
        faults = check(sidecar, None)
        assert all(any(member in fault for fault in faults) for member in ("header", "body", "recording"))

    def test_every_malformed_member_is_reported(self) -> None:
        sidecar = copy.deepcopy(SILENT.sidecar)
        sidecar["recording"] |= {"samples": -1, "media": {"format": "MP3"}, "audio": {"bytes": True}}
        assert [fault.partition(":")[0] for fault in check(sidecar, io.BytesIO(SILENT.audio))] == [
            "recording.media",
            "recording.samples",
            "recording.audio",
        ]

    @given(
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=5),
        st.sampled_from(sorted(SILENT.sidecar["recording"])),
    )
    def test_no_json_value_raises(self, value: object, member: str) -> None:
        sidecar = copy.deepcopy(SILENT.sidecar)
        sidecar["recording"][member] = value
        faults = check(json.loads(json.dumps(sidecar)), io.BytesIO(SILENT.audio))
        assert all(isinstance(fault, str) for fault in faults)


@given(st.binary(max_size=200))
def test_no_header_can_make_it_raise(junk: bytes) -> None:
    for audio in (junk, SILENT.audio[:4] + struct.pack("<L", 99) + b"WAVE" + junk):
        assert check(SILENT.sidecar, io.BytesIO(audio)) != []


def test_formats_are_silent_in_their_own_way() -> None:
    assert {form.silence[:1] * len(form.silence) for form in Format} == {form.silence for form in Format}
