"""WAV files of telephony systems for `audiohookctl call --wav`: played, or rejected with the reason."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.call.source import Recording, recording
from audiohookd.cli.call.wav_reader import MalformedWav, find
from audiohookd.cli.usage_error import UsageError
from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from tests.spool.riff_layout import junk_first_header
from tests.spool.spool_rig import ALL_MEDIA, MONO, STEREO

SAMPLES = 2000
MULAW = bytes(range(1, 251)) * (2 * SAMPLES // 250)
PCM = struct.pack("<4000h", *range(-20_000, 20_000, 10))
MAX = 0xFFFF_FFFF
#: The GUID of an extensible format after its first two bytes, which are the format tag.
GUID = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes, order: str = "<", is_padded: bool = True) -> bytes:
    return name + struct.pack(order + "L", len(content)) + content + b"\0" * (is_padded and len(content) % 2)


def fmt(tag: int, bits: int, channels: int = 2, rate: int = 8000, more: bytes = b"", order: str = "<") -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack(order + "HHLLHH", tag, channels, rate, rate * frame, frame, bits) + more, order)


def data(content: bytes, size: int | None = None, order: str = "<") -> bytes:
    return b"data" + struct.pack(order + "L", len(content) if size is None else size) + content


def riff(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF", order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack(order + "L", len(body) if size is None else size) + body


def played(directory: Path, content: bytes) -> Recording:
    path = directory / "call.wav"
    path.write_bytes(content)
    return recording(path)


def by_libsndfile(content: bytes, subtype: str, channels: int = 2) -> bytes:
    """Converts raw audio of another encoding to µ-law with libsndfile."""
    raw = {"samplerate": 8000, "channels": channels, "format": "RAW", "subtype": subtype}
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16", **raw)
    made = io.BytesIO()
    soundfile.write(made, samples, 8000, format="RAW", subtype="ULAW")
    return made.getvalue()


ENCODINGS = pytest.mark.parametrize(
    ("head", "audio", "heard"),
    [
        (fmt(7, 8), MULAW, MULAW),
        (fmt(6, 8), MULAW, by_libsndfile(MULAW, "ALAW")),
        (fmt(1, 16), PCM, by_libsndfile(PCM, "PCM_16")),
        (fmt(0xFFFE, 8, more=struct.pack("<HHLH", 22, 8, 3, 7) + GUID), MULAW, MULAW),
        (fmt(0xFFFE, 8, more=struct.pack("<HHLH", 22, 8, 3, 6) + GUID), MULAW, by_libsndfile(MULAW, "ALAW")),
        (fmt(0xFFFE, 16, more=struct.pack("<HHLH", 22, 16, 3, 1) + GUID), PCM, by_libsndfile(PCM, "PCM_16")),
    ],
    ids=["mulaw", "alaw", "pcm", "extensible-mulaw", "extensible-alaw", "extensible-pcm"],
)


@ENCODINGS
@pytest.mark.parametrize(
    ("riff_size", "data_size"),
    [
        (None, 0),
        (0, 0),
        (36, 0),
        (MAX, MAX),
        (None, MAX),
        (0x7FFFF024, 0x7FFFF000),  # sox, to a pipe
        (0x80000024, 0x80000000),
        (36, None),
    ],
)
def test_an_unfinished_file_is_played_to_its_end(
    tmp_path: Path, head: bytes, audio: bytes, heard: bytes, riff_size: int | None, data_size: int | None
) -> None:
    assert played(tmp_path, riff(head, data(audio, data_size), size=riff_size)) == Recording(heard, 2)


NOTE = b"INFOISFT" + struct.pack("<L", 6) + b"hello\0"


@ENCODINGS
@pytest.mark.parametrize(
    "before",
    [
        chunk(b"LIST", NOTE),
        chunk(b"LIST", b"INFOI"),
        chunk(b"LIST", b"INFOI", is_padded=False),
        chunk(b"bext", bytes(70_001)),
        chunk(b"JUNK", bytes(28)) + chunk(b"fact", struct.pack("<L", SAMPLES)),
    ],
    ids=["LIST", "odd", "odd-without-padding", "long", "JUNK"],
)
@pytest.mark.parametrize("after", [b"", chunk(b"LIST", NOTE), b"no chunk at all"], ids=["end", "LIST", "trailing"])
def test_chunks_around_the_audio_are_not_played(
    tmp_path: Path, head: bytes, audio: bytes, heard: bytes, before: bytes, after: bytes
) -> None:
    assert played(tmp_path, riff(head, before, data(audio), after)) == Recording(heard, 2)
    assert played(tmp_path, riff(before, head, data(audio), after)) == Recording(heard, 2)


@pytest.mark.parametrize("size", [None, 0, MAX])
def test_big_endian_rifx_is_played(tmp_path: Path, size: int | None) -> None:
    mulaw = riff(fmt(7, 8, order=">"), data(MULAW, size, ">"), size=size, name=b"RIFX", order=">")
    assert played(tmp_path, mulaw) == Recording(MULAW, 2)
    swapped = np.frombuffer(PCM, "<i2").astype(">i2").tobytes()
    pcm = riff(fmt(1, 16, order=">"), data(swapped, size, ">"), size=size, name=b"RIFX", order=">")
    assert played(tmp_path, pcm) == Recording(by_libsndfile(PCM, "PCM_16"), 2)


def tone(seconds: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(8000 * seconds)) / 8000)


def gsm(samples: int) -> bytearray:
    made = io.BytesIO()
    soundfile.write(made, tone(samples / 8000), 8000, format="WAV", subtype="GSM610")
    return bytearray(made.getvalue())


def heard_in(taken: Recording) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    raw = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "ULAW"}
    samples: np.ndarray[tuple[int], np.dtype[np.float64]] = soundfile.read(io.BytesIO(taken.data), **raw)[0]
    return samples


@pytest.mark.parametrize("blocks", [1, 2, 25, 26])
@pytest.mark.parametrize("is_finished", [True, False])
def test_gsm_is_played_without_a_block_too_many(tmp_path: Path, blocks: int, is_finished: bool) -> None:
    """libsndfile 1.2.2 appends 40 ms if the number of blocks is odd."""
    file = gsm(320 * blocks)
    if not is_finished:
        at = file.index(b"data") + 4
        file[at : at + 4] = file[4:8] = bytes(4)
    taken = played(tmp_path, bytes(file))
    assert (taken.channels, taken.samples) == (1, 320 * blocks)
    assert np.abs(np.fft.rfft(heard_in(taken))).argmax() == round(440 * 320 * blocks / 8000)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "G721_32", "NMS_ADPCM_32", "DOUBLE"])
def test_other_encodings_are_played(tmp_path: Path, subtype: str) -> None:
    made = io.BytesIO()
    soundfile.write(made, tone(1.0), 8000, format="WAV", subtype=subtype)
    taken = played(tmp_path, made.getvalue())
    assert taken.samples is not None
    assert 8000 <= taken.samples <= 8160  # whole blocks
    assert np.abs(np.fft.rfft(heard_in(taken)[:8000])).argmax() == 440


@pytest.mark.filterwarnings("error")
def test_nan_becomes_silence(tmp_path: Path) -> None:
    made = io.BytesIO()
    strange = np.array([np.nan, np.inf, -np.inf, 0.0], np.float32)
    soundfile.write(made, strange, 8000, format="WAV", subtype="FLOAT")
    assert played(tmp_path, made.getvalue()).data == b"\xff\x80\x00\xff"


def test_16_khz_is_resampled(tmp_path: Path) -> None:
    assert played(tmp_path, riff(fmt(7, 8, rate=16_000), data(MULAW))).samples == SAMPLES // 2


@pytest.mark.parametrize("form", ALL_MEDIA, ids=lambda form: f"{form.format}-{len(form.channels)}")
def test_recordings_of_audiohookd_are_played(tmp_path: Path, form: Media) -> None:
    """Finished and unfinished recordings, of this version and of earlier ones."""
    audio = MULAW[: 7 * form.frame_bytes]
    whole = audio + wav.padding(len(audio))
    files = [wav.header(form, len(audio)) + whole, wav.growing_header(form) + audio]
    files += [junk_first_header(form, len(audio)) + whole, junk_first_header(form, None) + audio]
    (taken,) = {played(tmp_path, file) for file in files}
    assert (taken.channels, taken.samples) == (len(form.channels), 7)


def test_rf64_is_played(tmp_path: Path) -> None:
    """A file over 4 GiB, truncated."""
    assert played(tmp_path, wav.header(STEREO, 2**33) + MULAW) == Recording(MULAW, 2)


def test_audio_ends_with_a_whole_sample_of_all_channels(tmp_path: Path) -> None:
    assert played(tmp_path, riff(fmt(7, 8), data(b"\x01\x02\x03"))) == Recording(b"\x01\x02", 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (riff(fmt(0x0133, 8, 1, more=b"\0\0"), data(MULAW)), r"does not read WAV format 0x0133 \(8 bits, 1 channels"),
        (riff(fmt(7, 8, channels=3), data(MULAW)), "3 channels, but a call has one or two"),
        (riff(fmt(7, 8, channels=0), data(MULAW)), "0 channels"),
        (riff(fmt(7, 8, rate=0), data(MULAW)), "0 Hz"),
        (riff(fmt(7, 8)), "has no data chunk"),
        (riff(fmt(7, 8))[:30], "has no data chunk"),
        (riff(data(MULAW)), "has no fmt chunk before its audio"),
        (riff(data(MULAW), fmt(7, 8)), "has no fmt chunk before its audio"),
        (riff(chunk(b"fmt ", b"\7\0\1\0"), data(MULAW)), "incomplete fmt chunk"),
        (riff(fmt(7, 8), data(b"")), "the file contains no audio"),
        (riff(fmt(7, 8), data(b""), chunk(b"LIST", NOTE)), "the file contains no audio"),
        (riff(fmt(7, 8), b"\0" * 1000), "has no data chunk"),
    ],
)
def test_a_file_that_cannot_be_played_is_rejected_with_the_reason(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        played(tmp_path, content)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=120), st.sampled_from([b"RIFF", b"RIFX", b"RF64"]))
def test_any_bytes_are_read_or_rejected(content: bytes, name: bytes) -> None:
    for file in (content, name + bytes(4) + b"WAVE" + content, riff(fmt(7, 8, 1), content, name=name)):
        try:
            found = find(io.BytesIO(file))
        except MalformedWav:
            continue
        assert found is None or 0 <= found.data_at <= found.data_at + found.data_bytes <= len(file)


@given(st.lists(st.tuples(st.sampled_from([b"LIST", b"abcd", b"JUNK"]), st.binary(max_size=9)), max_size=4))
def test_any_chunks_before_the_audio_are_skipped(before: list[tuple[bytes, bytes]]) -> None:
    content = riff(fmt(7, 8, 1), *(chunk(*each) for each in before), data(MULAW))
    found = find(io.BytesIO(content))
    assert found is not None
    assert found.audio(io.BytesIO(content)) == MULAW


def test_mono_of_odd_length_is_read_without_its_pad_byte(tmp_path: Path) -> None:
    assert played(tmp_path, wav.header(MONO, 3) + b"\1\2\3\0").data == b"\1\2\3"
