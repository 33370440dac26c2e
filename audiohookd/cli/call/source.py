"""Where the audio of the calls comes from: a file or a tone, as µ-law at 8,000 Hz. Read once, shared by all calls."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiohookd.cli.call.mulaw import encode
from audiohookd.cli.mistake import Mistake
from audiohookd.protocol.client import RATE
from audiohookd.protocol.media import Channel

_TONES = (440, 660)  # Hz, external and internal
_LEVEL = 0.25  # of full scale: -12 dB


class Source(Protocol):
    """Audio of one or two channels (external, or external and internal), addressed by position."""

    @property
    def channels(self) -> int:
        """One or two."""

    @property
    def samples(self) -> int | None:
        """Samples per channel; None when it never ends."""

    def read(self, start: int, samples: int, channels: tuple[Channel, ...]) -> bytes:
        """Interleaved µ-law of ``channels``, which were offered, from the sample ``start`` on."""


@dataclass(frozen=True, repr=False)
class Recording:
    """A :class:`Source` that ends."""

    data: bytes
    channels: int

    @property
    def samples(self) -> int:
        """See :class:`Source`."""
        return len(self.data) // self.channels

    def read(self, start: int, samples: int, channels: tuple[Channel, ...]) -> bytes:
        """See :class:`Source`."""
        part = self.data[start * self.channels : (start + samples) * self.channels]
        return _pick(part, self.channels, channels)


@dataclass(frozen=True, repr=False)
class Loop:
    """A :class:`Source` that begins anew for ever."""

    data: bytes
    channels: int
    samples: None = None

    def read(self, start: int, samples: int, channels: tuple[Channel, ...]) -> bytes:
        """See :class:`Source`."""
        first = start * self.channels % len(self.data)
        end = first + samples * self.channels
        part = (self.data * (end // len(self.data) + 1))[first:end]
        return _pick(part, self.channels, channels)


def _pick(interleaved: bytes, available: int, channels: tuple[Channel, ...]) -> bytes:
    if len(channels) == available:
        return interleaved
    return interleaved[channels[0] == "internal" :: available]


def tone() -> Loop:
    """Two tones, one for each channel, for ever."""
    time = np.arange(RATE) / RATE
    waves = np.stack([np.sin(2 * np.pi * frequency * time) for frequency in _TONES], axis=1)
    # A second holds whole periods of all of them: the loop has no click.
    return Loop(encode(_linear(waves * _LEVEL)).tobytes(), len(_TONES))


def recording(path: Path) -> Recording:
    """The audio of a file in any format that libsndfile reads.

    µ-law at 8,000 Hz in a WAV file is taken byte for byte. Blocks: for the start of a program.

    :raises Mistake: it cannot be read, or is no audio of one or two channels.
    """
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            if sound.channels > 2:
                raise Mistake(f"call: {path}: {sound.channels} channels, and a call has one or two")
            data = _mulaw(file, sound)
            channels: int = sound.channels
    except OSError as fault:
        raise Mistake(f"call: {path}: {fault.strerror or fault}") from None
    except soundfile.SoundFileError:
        raise Mistake(f"call: {path}: not a sound file that libsndfile knows") from None
    if not data:
        raise Mistake(f"call: {path}: no audio in it")
    return Recording(data, channels)


def _mulaw(file: BinaryIO, sound: soundfile.SoundFile) -> bytes:
    if sound.samplerate == RATE and sound.subtype == "ULAW" and sound.format in {"WAV", "WAVEX", "RF64"}:
        return _wav_data(file, sound.frames * sound.channels)
    if sound.samplerate == RATE and sound.subtype == "PCM_16":
        return encode(sound.read(dtype="int16")).tobytes()
    samples = sound.read(dtype="float32")
    if sound.samplerate != RATE:
        samples = soxr.resample(samples, sound.samplerate, RATE)
    return encode(_linear(samples)).tobytes()


def _wav_data(file: BinaryIO, size: int) -> bytes:
    """The first ``size`` bytes of the data chunk: libsndfile itself would decode them."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            return file.read(size)
        file.seek(length + length % 2, 1)
    return b""


def _linear(samples: "NDArray[np.floating]") -> "NDArray[np.int16]":
    linear: NDArray[np.int16] = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    return linear
