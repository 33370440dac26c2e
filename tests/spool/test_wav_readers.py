"""Common audio programs read recordings: finished, growing, and over 4 GiB."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav
from tests.programs import program
from tests.spool.spool_rig import ALL_MEDIA, MONO, SpoolRig, shape

SAMPLES = 8001  # one second and one sample: an odd number of bytes in mono mu-law
BOTH = pytest.mark.parametrize("make", ["finished", "growing"])
EACH_MEDIA = pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
CODEC = {Format.PCMU: "ITU G.711 mu-law", Format.L16: "Microsoft PCM, 16 bit"}
NAMED_CHANNELS = {1: "mono", 2: "stereo"}

Make = Callable[[str, Media], Path]


@pytest.fixture
def recording(tmp_path: Path) -> Make:
    """Records with the spool's writer. A growing file is the draft of a running call."""

    def make(state: str, media: Media) -> Path:
        rig = SpoolRig(tmp_path / "spool")
        draft = rig.begin("a", media)
        draft.audio(os.urandom(SAMPLES * media.frame_bytes))
        rig.commit()
        return rig.draft_file("a.wav") if state == "growing" else rig.finish(draft)

    return make


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@BOTH
@EACH_MEDIA
def test_ffprobe_reads_codec_channels_and_length(recording: Make, make: str, media: Media) -> None:
    ffprobe = program("ffprobe", package="ffmpeg")
    wanted = "stream=codec_name,channels,duration:format=duration"
    told = output(ffprobe, "-v", "quiet", "-show_entries", wanted, "-of", "csv=p=0", recording(make, media))
    codec = {Format.PCMU: "pcm_mulaw", Format.L16: "pcm_s16le"}[media.format]
    assert told.split() == [f"{codec},{len(media.channels)},1.000125", "1.000125"]


@BOTH
@EACH_MEDIA
def test_ffmpeg_decodes_all_samples(recording: Make, make: str, media: Media) -> None:
    ffmpeg = program("ffmpeg", package="ffmpeg")
    command: list[Any] = [ffmpeg, "-v", "quiet", "-nostdin", "-i", recording(make, media), "-f", "s16le", "-"]
    decoded = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert len(decoded) == SAMPLES * 2 * len(media.channels)


@BOTH
@EACH_MEDIA
def test_file_names_the_codec(recording: Make, make: str, media: Media) -> None:
    file = program("file", package="file")
    channels = NAMED_CHANNELS[len(media.channels)]
    told = output(file, "--brief", recording(make, media))
    assert told == f"RIFF (little-endian) data, WAVE audio, {CODEC[media.format]}, {channels} 8000 Hz"


@EACH_MEDIA
def test_soxi_reads_the_samples_of_a_finished_file(recording: Make, media: Media) -> None:
    assert output(program("soxi", package="sox"), "-s", recording("finished", media)) == str(SAMPLES)


@BOTH
@EACH_MEDIA
def test_sox_decodes_all_samples(recording: Make, make: str, media: Media) -> None:
    sox = program("sox", package="sox")
    command: list[Any] = [sox, recording(make, media), "-t", "s16", "-"]
    decoded = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert len(decoded) == SAMPLES * 2 * len(media.channels)


@BOTH
@EACH_MEDIA
def test_libsndfile_reads_codec_channels_and_length(recording: Make, make: str, media: Media) -> None:
    info = soundfile.info(recording(make, media))
    subtype = {Format.PCMU: "ULAW", Format.L16: "PCM_16"}[media.format]
    assert (info.subtype, info.channels, info.frames) == (subtype, len(media.channels), SAMPLES)


def test_ffprobe_reads_the_length_of_a_file_over_4_gib(tmp_path: Path) -> None:
    ffprobe = program("ffprobe", package="ffmpeg")
    path = tmp_path / "long.wav"
    samples = 2**32 + 8000
    with path.open("wb") as file:
        file.write(wav.header(MONO, samples))
        file.truncate(wav.header_bytes(MONO) + samples)
    told = output(ffprobe, "-v", "quiet", "-show_entries", "stream=duration", "-of", "csv=p=0", path)
    assert float(told) == samples / 8000
