"""``audiohookctl join``."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.join import Part, Piece, _Recording, plan
from audiohookd.cli.main import main
from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav

STEREO = Media(Format.PCMU, ("external", "internal"))
#: The audio of a whole call: every sample is different from its neighbours.
CALL = bytes(range(250)) * 40


def part(directory: Path, name: str, start: int, end: int, **members: Any) -> Path:
    """A recording of the positions ``start`` to ``end`` of the call."""
    audio = CALL[2 * start : 2 * end]
    (directory / f"{name}.wav").write_bytes(wav.header(STEREO, len(audio)) + audio)
    recording = {
        "session": f"session-{name}",
        "conversation": "a conversation",
        "startedAt": "2026-01-31T10:00:00.000Z",
        "startPosition": start,
        "samples": end - start,
        "media": {"format": "PCMU", "channels": ["external", "internal"], "rate": 8000},
        "gaps": [],
    }
    sidecar = directory / f"{name}.json"
    sidecar.write_text(json.dumps({"header": {}, "body": [], "recording": recording | members}))
    return sidecar


def joined(tmp_path: Path, *parts: Path) -> tuple[bytes, dict[str, Any]]:
    assert main(["join", *map(str, parts), "--output", str(tmp_path / "call")]) == 0
    content = (tmp_path / "call.wav").read_bytes()
    recording: dict[str, Any] = json.loads((tmp_path / "call.json").read_text())["recording"]
    start = wav.header_bytes(STEREO)
    return content[start : start + 2 * recording["samples"]], recording


def test_an_overlap_is_taken_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = part(tmp_path, "b", 1_500, 4_000), part(tmp_path, "a", 100, 2_000)
    audio, recording = joined(tmp_path, *parts)
    assert audio == CALL[200:8_000]
    assert recording["joined"] == ["a", "b"]
    assert recording["sessions"] == ["session-a", "session-b"]
    assert (recording["startPosition"], recording["samples"], recording["gaps"]) == (100, 3_900, [])
    assert "call.wav: 2 recordings, 0.5 s" in capsys.readouterr().out


def test_a_hole_is_silence_and_a_gap(tmp_path: Path) -> None:
    audio, recording = joined(tmp_path, part(tmp_path, "a", 0, 1_000), part(tmp_path, "b", 1_200, 2_000))
    assert audio == CALL[:2_000] + b"\xff" * 400 + CALL[2_400:4_000]
    assert recording["gaps"] == [{"start": 1_000, "samples": 200, "cause": "handover"}]


def test_a_part_within_another_adds_nothing(tmp_path: Path) -> None:
    audio, _ = joined(tmp_path, part(tmp_path, "a", 0, 3_000), part(tmp_path, "b", 1_000, 2_000))
    assert audio == CALL[:6_000]


def test_gaps_of_the_parts_are_kept_where_their_audio_is(tmp_path: Path) -> None:
    gap = {"start": 900, "samples": 300, "cause": "paused", "filled": True, "offset": 900}
    first = part(tmp_path, "a", 0, 1_000, gaps=[gap | {"samples": 100}])
    second = part(tmp_path, "b", 500, 2_000, gaps=[gap])
    _, recording = joined(tmp_path, first, second)
    assert recording["gaps"] == [
        {"start": 900, "samples": 100, "cause": "paused"},
        {"start": 1_000, "samples": 200, "cause": "paused"},
    ]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"conversation": "another"}, "recordings of different conversations"),
        ({"media": None}, "the recording has no audio"),
        ({"media": {"format": "L16", "channels": ["external"], "rate": 8000}}, "different formats or channels"),
        ({"gaps": [{"start": 0, "samples": 5, "cause": "paused", "filled": False}]}, 'record with gaps = "silence"'),
        ({"samples": 5_000}, "is shorter than its sidecar says"),
        ({"samples": "many"}, "not a sidecar of audiohookd"),
    ],
)
def test_recordings_that_do_not_fit_are_rejected(
    tmp_path: Path, members: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = part(tmp_path, "a", 0, 1_000), part(tmp_path, "b", 500, 2_000, **members)
    assert main(["join", *map(str, parts), "-o", str(tmp_path / "call")]) == 2
    assert reason in capsys.readouterr().err
    assert list(tmp_path.glob("call.*")) == []


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["join", str(tmp_path / "none.json"), "-o", str(tmp_path / "call")]) == 2
    assert "none.json: No such file or directory" in capsys.readouterr().err


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), min_size=1, max_size=8))
def test_the_pieces_cover_the_call_once(spans: list[tuple[int, int]]) -> None:
    parts = sorted(
        (
            Part(_Recording(samples, start_position=start), STEREO, Path(f"{number}.wav"))
            for number, (start, samples) in enumerate(spans)
        ),
        key=lambda one: (one.start, one.end),
    )
    pieces: list[Piece] = list(plan(parts))
    covered = {position for start, samples in spans for position in range(start, start + samples)}
    position = parts[0].start
    for piece in pieces:
        assert piece.samples > 0
        for at in range(piece.samples):
            if piece.part is None:
                assert position not in covered
            else:
                assert piece.part.start + piece.first + at == position
                assert position < piece.part.end
            position += 1
    assert position == max(start + samples for start, samples in spans)


def test_a_part_without_audio_adds_nothing(tmp_path: Path) -> None:
    audio, _ = joined(tmp_path, part(tmp_path, "a", 0, 1_000), part(tmp_path, "b", 3_000, 3_000))
    assert audio == CALL[:2_000]
    audio, _ = joined(tmp_path, part(tmp_path, "c", 10, 10))
    assert audio == b""
