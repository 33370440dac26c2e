"""The audio of the calls: files, the tone, and µ-law."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiohookd.cli.call.source import Recording, encode, recording, tone
from audiohookd.cli.usage_error import UsageError
from audiohookd.protocol.media import Channel

BOTH: tuple[Channel, ...] = ("external", "internal")
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


def mulaw_by_libsndfile(samples: Any) -> bytes:
    """Encodes linear samples with libsndfile, without a header."""
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="RAW", subtype="ULAW")
    return file.getvalue()


def linear(data: bytes, channels: int) -> Any:
    """Decodes µ-law with libsndfile."""
    file = io.BytesIO(data)
    return soundfile.read(file, samplerate=8000, channels=channels, format="RAW", subtype="ULAW", dtype="int16")[0]


def speech(channels: int, rate: int = 8000, seconds: float = 1.5) -> Any:
    """Audio that is different in each channel."""
    time = np.arange(int(rate * seconds)) / rate
    waves = [0.5 * np.sin(2 * np.pi * hertz * time) for hertz in (300, 500)[:channels]]
    return np.stack(waves, axis=1)


def test_mulaw_is_that_of_libsndfile_for_every_sample() -> None:
    assert encode(ALL_SAMPLES).tobytes() == mulaw_by_libsndfile(ALL_SAMPLES)


def test_mulaw_silence_is_ff() -> None:
    assert encode(np.zeros(3, np.int16)).tobytes() == b"\xff\xff\xff"


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_mulaw_files_are_kept_byte_for_byte(tmp_path: Path, channels: int, container: str) -> None:
    every_byte = bytes(range(256)) * channels
    path = tmp_path / "call.wav"
    samples = linear(every_byte, channels)
    soundfile.write(path, samples, 8000, format=container, subtype="ULAW")
    content = path.read_bytes()
    assert content.endswith(mulaw_by_libsndfile(samples))
    # 0x7F and 0xFF are the same sample: a decoder would not keep them apart.
    path.write_bytes(content[: -len(every_byte)] + every_byte)
    taken = recording(path)
    assert taken.channels == channels
    assert taken.read(0, taken.samples, BOTH[:channels]) == every_byte


def test_chunks_that_are_no_audio_are_skipped(tmp_path: Path) -> None:
    chunks = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, 8000, 8000, 1, 8)
    chunks += struct.pack("<4sI", b"LIST", 5) + b"datax" + b"\0"  # of odd length, so padded
    chunks += struct.pack("<4sI", b"fact", 4) + struct.pack("<I", 3)
    chunks += struct.pack("<4sI", b"data", 3) + b"\x10\x20\x30" + b"\0"
    path = tmp_path / "chunks.wav"
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks)
    assert recording(path).data == b"\x10\x20\x30"


@pytest.mark.parametrize("channels", [1, 2])
def test_pcm16_is_encoded_sample_by_sample(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "call.wav"
    samples = ALL_SAMPLES.reshape(-1, channels)
    soundfile.write(path, samples, 8000, subtype="PCM_16")
    assert recording(path) == Recording(mulaw_by_libsndfile(samples), channels)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "PCM_U8", "ALAW", "ULAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_rates_and_widths_sound_the_same(tmp_path: Path, rate: int, subtype: str, channels: int) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, speech(channels, rate), rate, subtype=subtype)
    taken = recording(path)
    assert taken.channels == channels
    assert abs(taken.samples - 12_000) <= 1
    heard = linear(taken.data, channels).reshape(-1, channels) / 32768
    expected = speech(channels)
    middle = slice(1000, 11_000)  # a resampler has edges
    assert np.abs(heard[middle] - expected[middle]).max() < 0.03


def test_floats_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([2.0, -2.0]), 8000, subtype="FLOAT")
    assert recording(path).data == b"\x80\x00"


def test_a_channel_is_cut_out_of_two() -> None:
    stereo = Recording(b"EIEIEI", 2)
    assert stereo.samples == 3
    assert stereo.read(1, 2, ("external",)) == b"EE"
    assert stereo.read(0, 3, ("internal",)) == b"III"
    assert stereo.read(1, 2, BOTH) == b"EIEI"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "not a sound file"), (b"no sound at all" * 9, "not a sound file")],
)
def test_a_file_that_is_not_sound_is_a_mistake(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        recording(path)


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        recording(tmp_path / "nowhere.wav")


def test_no_audio_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros((0, 1)), 8000)
    with pytest.raises(UsageError, match="no audio"):
        recording(path)


def test_three_channels_are_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "three.wav"
    soundfile.write(path, np.zeros((10, 3)), 8000)
    with pytest.raises(UsageError, match="3 channels"):
        recording(path)


def test_the_tone_is_another_one_in_each_channel() -> None:
    sound = tone()
    assert sound.samples is None
    for channel, hertz in (("external", 440), ("internal", 660)):
        wave = linear(sound.read(0, 8000, (channel,)), 1)  # type: ignore[arg-type]
        assert np.abs(np.fft.rfft(wave)).argmax() == hertz


def test_the_tone_repeats_without_a_click() -> None:
    sound = tone()
    once = sound.read(0, 30_000, BOTH)
    assert len(once) == 60_000
    pieces = [sound.read(start, 1234, BOTH) for start in range(0, 24_680, 1234)]
    assert once.startswith(b"".join(pieces))
    assert sound.read(123_456_789_000, 800, BOTH) == sound.read(123_456_789_000 % 8000, 800, BOTH)
