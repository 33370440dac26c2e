"""WAV headers, checked with libsndfile and a strict RIFF reader."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav
from tests.spool import riff_layout
from tests.spool.spool_rig import ALL_MEDIA, L16_MONO, L16_STEREO, MONO, STEREO, shape

media = st.sampled_from(ALL_MEDIA)
SIZES = [0, 1, 2, 2**31, 2**32 - 200, 2**32 - 9, 2**32 - 1, 2**32, 2**40]


def mulaw(code: int) -> int:
    """Decodes mu-law by the definition of G.711."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def wav_file(form: Media, data: bytes) -> bytes:
    return wav.header(form, len(data)) + data + wav.padding(len(data))


def decoded(form: Media, data: bytes) -> list[int]:
    if form.format is Format.PCMU:
        return [mulaw(code) for code in data]
    return [sample for (sample,) in struct.iter_unpack("<h", data)]


@given(media, st.binary(max_size=2000))
def test_a_wav_file_reads_back_as_its_samples(form: Media, data: bytes) -> None:
    data = data[: len(data) // form.frame_bytes * form.frame_bytes]
    samples, rate = soundfile.read(io.BytesIO(wav_file(form, data)), dtype="int16", always_2d=True)
    assert rate == 8000
    assert samples.shape == (len(data) // form.frame_bytes, len(form.channels))
    assert samples.flatten().tolist() == decoded(form, data)


@given(media, st.integers(0, 5000))
def test_libsndfile_reads_the_format_and_length(form: Media, samples: int) -> None:
    info = soundfile.info(io.BytesIO(wav_file(form, form.silence(samples))))
    assert info.frames == samples
    assert info.channels == len(form.channels)
    assert info.subtype == {Format.PCMU: "ULAW", Format.L16: "PCM_16"}[form.format]
    assert info.format == "WAV"


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**50))
def test_the_header_length_depends_only_on_the_format(form: Media, data_bytes: int) -> None:
    assert len(wav.header(form, data_bytes)) == wav.header_bytes(form)


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**50))
def test_data_bytes_of_reads_the_size_of_the_audio(form: Media, data_bytes: int) -> None:
    assert wav.data_bytes_of(wav.header(form, data_bytes)) == data_bytes


@given(media, st.integers(0, 5000))
def test_a_growing_file_is_played_to_its_end(form: Media, samples: int) -> None:
    """A `kill -9` leaves such a file."""
    head = wav.growing_header(form)
    assert soundfile.info(io.BytesIO(head + form.silence(samples))).frames == samples
    assert len(head) == wav.header_bytes(form)
    assert wav.data_bytes_of(head) is None


@given(media, st.binary(max_size=99))
def test_the_riff_size_counts_all_following_bytes(form: Media, data: bytes) -> None:
    whole = wav_file(form, data)
    assert struct.unpack("<L", whole[4:8])[0] == len(whole) - 8
    assert len(whole) % 2 == 0


FMT_OF_STEREO_MULAW = struct.pack("<HHLLHHH", 7, 2, 8000, 16_000, 2, 8, 0)
FMT_OF_MONO_L16 = struct.pack("<HHLLHH", 1, 1, 8000, 16_000, 2, 16)


def test_a_finished_file_begins_with_its_format() -> None:
    audio = bytes(range(6))
    assert riff_layout.chunks(wav_file(STEREO, audio)) == [
        (b"fmt ", FMT_OF_STEREO_MULAW),
        (b"fact", struct.pack("<L", 3)),
        (b"JUNK", bytes(28)),
        (b"data", audio),
    ]
    assert riff_layout.chunks(wav_file(L16_MONO, audio)) == [
        (b"fmt ", FMT_OF_MONO_L16),
        (b"JUNK", bytes(28)),
        (b"data", audio),
    ]


def test_a_growing_file_has_no_length_to_trust() -> None:
    """ffprobe, mpv and Chromium showed a `fact` of 0xFFFFFFFF samples as 149 hours."""
    audio = bytes(range(6))
    assert riff_layout.growing_chunks(wav.growing_header(STEREO) + audio) == [
        (b"fmt ", FMT_OF_STEREO_MULAW),
        (b"JUNK", b"fact" + struct.pack("<LL", 4, 0) + bytes(28)),
        (b"data", audio),
    ]
    assert riff_layout.growing_chunks(wav.growing_header(L16_MONO) + audio) == [
        (b"fmt ", FMT_OF_MONO_L16),
        (b"JUNK", bytes(28)),
        (b"data", audio),
    ]


@given(media, st.binary(max_size=99))
def test_every_file_is_a_strict_riff(form: Media, data: bytes) -> None:
    """Includes empty files and files of odd length."""
    *head, (name, audio) = riff_layout.chunks(wav_file(form, data))
    assert (head[0][0], name, audio) == (b"fmt ", b"data", data)


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**50))
def test_the_audio_begins_at_an_even_position(form: Media, data_bytes: int) -> None:
    assert len(wav.header(form, data_bytes)) % 2 == 0


@pytest.mark.parametrize("form", ALL_MEDIA, ids=shape)
def test_headers_of_earlier_versions_have_the_same_length_and_sizes(form: Media) -> None:
    growing = riff_layout.junk_first_header(form, None)
    assert len(growing) == wav.header_bytes(form)
    assert wav.data_bytes_of(growing) is None
    assert wav.data_bytes_of(riff_layout.junk_first_header(form, 3200)) == 3200


@pytest.mark.parametrize("form", ALL_MEDIA, ids=shape)
def test_a_file_above_4_gib_is_rf64(form: Media) -> None:
    largest = 2**32 - 1 + 8 - wav.header_bytes(form)
    largest -= largest % 2
    assert wav.header(form, largest)[:4] == b"RIFF"
    beyond = wav.header(form, largest + 2)
    assert beyond[:16] == b"RF64" + b"\xff" * 4 + b"WAVE" + b"ds64"
    sizes = struct.unpack("<QQQL", beyond[20:48])
    assert sizes == (len(beyond) + largest + 2 - 8, largest + 2, (largest + 2) // form.frame_bytes, 0)


@pytest.mark.parametrize("form", [MONO, L16_STEREO], ids=shape)
def test_rf64_past_4_gib_is_read_to_its_last_sample(form: Media, tmp_path: Path) -> None:
    samples = (2**32 + 4096) // form.frame_bytes
    last = bytes(range(16, 16 + form.frame_bytes))
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav.header(form, samples * form.frame_bytes))
        file.seek((samples - 1) * form.frame_bytes, os.SEEK_CUR)
        file.write(last)
    with soundfile.SoundFile(path) as sound:
        assert sound.frames == samples
        sound.seek(samples - 1)
        read = sound.read(dtype="int16", always_2d=True)
    assert np.array_equal(read.flatten(), decoded(form, last))
