"""WAV headers, read back by libsndfile."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from spool_rig import ALL_MEDIA, L16_MONO, L16_STEREO, MONO, STEREO, shape

from audiohookd.protocol.media import Format, Media
from audiohookd.spool import wav

media = st.sampled_from(ALL_MEDIA)
SIZES = [0, 1, 2, 2**31, 2**32 - 200, 2**32 - 9, 2**32 - 1, 2**32, 2**40]


def mulaw(code: int) -> int:
    """G.711, by its definition."""
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
def test_reads_back_as_the_samples_that_went_in(form: Media, data: bytes) -> None:
    data = data[: len(data) // form.frame_bytes * form.frame_bytes]
    samples, rate = soundfile.read(io.BytesIO(wav_file(form, data)), dtype="int16", always_2d=True)
    assert rate == 8000
    assert samples.shape == (len(data) // form.frame_bytes, len(form.channels))
    assert samples.flatten().tolist() == decoded(form, data)


@given(media, st.integers(0, 5000))
def test_is_what_libsndfile_takes_it_for(form: Media, samples: int) -> None:
    info = soundfile.info(io.BytesIO(wav_file(form, form.silence(samples))))
    assert info.frames == samples
    assert info.channels == len(form.channels)
    assert info.subtype == {Format.PCMU: "ULAW", Format.L16: "PCM_16"}[form.format]
    assert info.format == "WAV"


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**50))
def test_length_depends_on_the_format_alone(form: Media, data_bytes: int) -> None:
    assert len(wav.header(form, data_bytes)) == wav.header_bytes(form)


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**50))
def test_tells_how_much_audio_it_speaks_of(form: Media, data_bytes: int) -> None:
    assert wav.data_bytes_of(wav.header(form, data_bytes)) == data_bytes


@given(media, st.integers(0, 5000))
def test_what_still_grows_is_played_to_its_end(form: Media, samples: int) -> None:
    """As a file is left by `kill -9`."""
    head = wav.growing_header(form)
    assert soundfile.info(io.BytesIO(head + form.silence(samples))).frames == samples
    assert len(head) == wav.header_bytes(form)
    assert wav.data_bytes_of(head) is None


@given(media, st.binary(max_size=99))
def test_riff_size_counts_all_that_follows_it(form: Media, data: bytes) -> None:
    whole = wav_file(form, data)
    assert struct.unpack("<L", whole[4:8])[0] == len(whole) - 8
    assert len(whole) % 2 == 0


def test_mulaw_has_tag_7_an_empty_extension_and_a_fact() -> None:
    head = wav.header(STEREO, 3200)
    assert head[12:16] == b"JUNK"
    assert head[48:52] == b"fmt "
    assert struct.unpack("<LHHLLHHH", head[52:74]) == (18, 7, 2, 8000, 16000, 2, 8, 0)
    assert head[74:] == b"fact" + struct.pack("<LL", 4, 1600) + b"data" + struct.pack("<L", 3200)


def test_linear_has_tag_1_and_no_fact() -> None:
    head = wav.header(L16_MONO, 3200)
    assert struct.unpack("<LHHLLHH", head[52:72]) == (16, 1, 1, 8000, 16000, 2, 16)
    assert head[72:] == b"data" + struct.pack("<L", 3200)


@pytest.mark.parametrize("form", ALL_MEDIA, ids=shape)
def test_becomes_rf64_where_32_bits_end(form: Media) -> None:
    largest = 2**32 - 1 + 8 - wav.header_bytes(form)
    largest -= largest % 2
    assert wav.header(form, largest)[:4] == b"RIFF"
    beyond = wav.header(form, largest + 2)
    assert (beyond[:4], beyond[12:16]) == (b"RF64", b"ds64")
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
