"""The audio of the calls: a file or a tone, as µ-law at 8,000 Hz. It is read once, and all calls share it."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiohookd.cli.call import wav_reader
from audiohookd.cli.usage_error import UsageError
from audiohookd.protocol.client.session import RATE
from audiohookd.protocol.media import RecordedChannel

_TONES = (440, 660)  # Hz, external and internal
_LEVEL = 0.25  # of full scale: -12 dB
_CHANNELS = (1, 2)  # of a call
_BLOCK = 1 << 20  # samples per channel that are decoded at a time


@dataclass(frozen=True, repr=False)
class Recording:
    """Audio of one channel (external) or two (external and internal), with random access.

    :param data: interleaved µ-law.
    :param repeats: whether it repeats forever.
    """

    data: bytes
    channels: int
    repeats: bool = False

    @property
    def samples(self) -> int | None:
        """Samples per channel. None if the audio never ends."""
        return None if self.repeats else len(self.data) // self.channels

    def read(self, start: int, samples: int, channels: tuple[RecordedChannel, ...]) -> bytes:
        """Interleaved µ-law of ``channels``, a subset of those offered, from sample ``start`` on."""
        first, size = start * self.channels, samples * self.channels
        data = self.data
        if self.repeats:
            first %= len(data)
            data *= (first + size) // len(data) + 1
        part = data[first : first + size]
        if len(channels) == self.channels:
            return part
        return part[channels[0] == "internal" :: self.channels]


def tone() -> Recording:
    """An endless stereo tone, with a different frequency on each channel."""
    time = np.arange(RATE) / RATE
    waves = np.stack([np.sin(2 * np.pi * frequency * time) for frequency in _TONES], axis=1)
    # One second holds whole periods of both tones, so the loop has no click.
    return Recording(_encode(_linear(waves * _LEVEL)), len(_TONES), repeats=True)


def recording(path: Path) -> Recording:
    """Reads the audio of a file: a WAV, or another format that libsndfile reads.

    Keeps the bytes of a WAV file that is µ-law at 8,000 Hz. Blocks, so it is for the start of a program.

    :raises UsageError: the file cannot be read, or is not audio of one or two channels.
    """
    try:
        with path.open("rb") as file:
            audio = _recording(file)
    except OSError as error:
        raise UsageError(f"call: {path}: {error.strerror or error}") from None
    except _Unplayable as error:
        raise UsageError(f"call: {path}: {error}") from None
    if not audio.data:
        raise UsageError(f"call: {path}: the file contains no audio")
    return audio


class _Unplayable(ValueError):
    """The file cannot be used as audio. The text says why."""


def _recording(file: BinaryIO) -> Recording:
    try:
        wav = wav_reader.find(file)
    except wav_reader.MalformedWav as error:
        raise _Unplayable(str(error)) from None
    if wav is None:
        file.seek(0)
    elif wav.is_mulaw and wav.rate == RATE and wav.channels in _CHANNELS:
        audio = wav.audio(file)
        return Recording(audio[: len(audio) // wav.channels * wav.channels], wav.channels)
    try:
        return _decoded(file) if wav is None else _decoded(wav.rewritten(file), wav.most_samples)
    except soundfile.SoundFileError as error:
        problem = "not a sound file that libsndfile reads" if wav is None else f"libsndfile does not read {wav.codec}"
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise _Unplayable(f"{problem}: {reason}") from None


def _decoded(file: BinaryIO, most_samples: int | None = None) -> Recording:
    with soundfile.SoundFile(file) as sound:
        if sound.channels not in _CHANNELS:
            raise _Unplayable(f"{sound.channels} channels, but a call has one or two")
        is_exact = (sound.samplerate, sound.subtype) == (RATE, "PCM_16")
        samples = _samples(sound, "int16" if is_exact else "float32")[:most_samples]
        if not is_exact:
            samples = np.nan_to_num(samples, nan=0, posinf=1, neginf=-1)
            if sound.samplerate != RATE:
                samples = soxr.resample(samples, sound.samplerate, RATE)
            samples = _linear(samples)
        return Recording(_encode(samples), sound.channels)


def _samples(sound: soundfile.SoundFile, dtype: str) -> "NDArray[Any]":
    """Reads all samples, in blocks: libsndfile can neither seek in GSM nor find its end."""
    blocks = [sound.read(0, dtype=dtype)]
    while len(block := sound.read(_BLOCK, dtype=dtype)):
        blocks.append(block)
    return np.concatenate(blocks)


def _linear(samples: "NDArray[np.floating]") -> "NDArray[np.int16]":
    linear: NDArray[np.int16] = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    return linear


def _encode(samples: "NDArray[np.int16]") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="RAW", subtype="ULAW")
    return file.getvalue()
