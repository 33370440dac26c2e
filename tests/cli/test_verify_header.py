"""The parser of WAV headers, which is independent of the writer."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.verify import wav_reader
from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from tests.spool.riff_layout import junk_first_header
from tests.spool.spool_rig import ALL_MEDIA, L16_MONO, MONO, STEREO

media = st.sampled_from(ALL_MEDIA)
SIZES = [0, 1, 2**31, 2**32 - 200, 2**32 - 1, 2**32, 2**40]
#: The largest size that fits RIFF's 32 bits.
LARGE = 2**33


def size_of(form: Media, data_bytes: int) -> int:
    return wav.header_bytes(form) + data_bytes + len(wav.padding(data_bytes))


def whole(form: Media, samples: int) -> tuple[bytes, int]:
    """A header, and the size of its file in bytes."""
    data_bytes = samples * form.frame_bytes
    return wav.header(form, data_bytes), size_of(form, data_bytes)


@given(media, st.sampled_from(SIZES) | st.integers(0, 2**40))
def test_the_header_of_the_writer_is_accepted(form: Media, samples: int) -> None:
    head, size = whole(form, samples)
    found = wav_reader.read(head)
    assert (found.data_at, found.data_bytes) == (len(head), samples * form.frame_bytes)
    assert found.size == size
    assert list(wav_reader.faults(found, form, size)) == []


@pytest.mark.parametrize("form", ALL_MEDIA, ids=lambda form: f"{form.format} {len(form.channels)}")
def test_a_header_of_an_earlier_version_is_accepted(form: Media) -> None:
    head = junk_first_header(form, 1001 * form.frame_bytes)
    found = wav_reader.read(head)
    assert (found.data_at, found.data_bytes) == (len(head), 1001 * form.frame_bytes)
    assert list(wav_reader.faults(found, form, size_of(form, found.data_bytes))) == []
    with pytest.raises(wav_reader.NotWav, match="unfinished recording"):
        wav_reader.read(junk_first_header(form, None))


@given(media, st.sampled_from([1000, LARGE]), st.integers(-1000, 1000).filter(bool))
def test_another_size_is_found(form: Media, samples: int, by: int) -> None:
    head, size = whole(form, samples)
    assert len(list(wav_reader.faults(wav_reader.read(head), form, size + by))) == 2


def places_that_count(head: bytes) -> list[int]:
    """The offsets of all bytes of fields: format, sizes, and the length if present."""
    form, data = head.index(b"fmt ") + 8, len(head) - 4
    fields = [*range(form, form + 16)]
    if head.startswith(b"RF64"):
        return [*fields, *range(20, 44)]
    fields += [*range(4, 8), *range(data, data + 4)]
    fact = head.find(b"fact")
    return fields if fact < 0 else [*fields, *range(fact + 8, fact + 12)]


@pytest.mark.parametrize("samples", [1000, LARGE])
@pytest.mark.parametrize("form", ALL_MEDIA, ids=lambda form: f"{form.format} {len(form.channels)}")
def test_every_byte_of_every_field_counts(form: Media, samples: int) -> None:
    head, size = whole(form, samples)
    for place in places_that_count(head):
        other = bytearray(head)
        other[place] ^= 0x11
        assert faults_of(bytes(other), form, size), place


def faults_of(head: bytes, form: Media, size: int) -> list[str]:
    try:
        return list(wav_reader.faults(wav_reader.read(head), form, size))
    except wav_reader.NotWav as fault:
        return [str(fault)]


@pytest.mark.parametrize("form", ALL_MEDIA, ids=lambda form: f"{form.format} {len(form.channels)}")
def test_an_unfinished_recording_is_rejected(form: Media) -> None:
    with pytest.raises(wav_reader.NotWav, match="unfinished recording"):
        wav_reader.read(wav.growing_header(form))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"", "is not a WAV file"),
        (b"OggS" + bytes(100), "is not a WAV file"),
        (b"RIFF" + bytes(4) + b"WAVE", "has no data chunk"),
        (b"RIFF" + bytes(4) + b"WAVE" + b"data" + struct.pack("<L", 4), "has an incomplete header"),
        (b"RF64" + bytes(4) + b"WAVE" + b"ds64" + bytes(4) + b"data" + bytes(4), "has an incomplete header"),
        (b"RIFF" + bytes(4) + b"WAVE" + b"LIST" + struct.pack("<L", 9999) + bytes(9999), "has no data chunk"),
    ],
)
def test_a_file_that_is_not_a_recording_is_rejected(start: bytes, said: str) -> None:
    with pytest.raises(wav_reader.NotWav, match=said):
        wav_reader.read(start)


def test_a_header_of_another_writer_is_read() -> None:
    """Other writers reserve no space for RF64, and put chunks of their own before the audio."""
    form = struct.pack("<4sLHHLLHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, 16)
    note = b"LIST" + struct.pack("<L", 3) + b"abc\0"
    body = b"WAVE" + form + note + b"data" + struct.pack("<L", 8)
    head = b"RIFF" + struct.pack("<L", len(body) + 8) + body
    assert list(wav_reader.faults(wav_reader.read(head), L16_MONO, len(head) + 8)) == []
    assert list(wav_reader.faults(wav_reader.read(head), MONO, len(head) + 8)) != []


def test_audio_that_ends_inside_a_sample_is_found() -> None:
    head, size = wav.header(STEREO, 3), size_of(STEREO, 3)
    assert list(wav_reader.faults(wav_reader.read(head), STEREO, size)) == ["the audio ends inside a sample: 3 bytes"]
