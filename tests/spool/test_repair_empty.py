"""Repair removes drafts without data, quietly."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd.spool.write.draft_files import DraftPaths
from tests.spool.left_behind import ID, empty_spool, leave_behind, names, of_earlier_version
from tests.spool.spool_rig import ALL_MEDIA, SpoolRig, shape


@pytest.fixture
def spool(tmp_path: Path) -> SpoolPaths:
    return empty_spool(tmp_path)


@pytest.mark.parametrize("growing_header", [wav.growing_header, of_earlier_version])
@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
@pytest.mark.parametrize("journal", [b"", None])
def test_an_empty_draft_is_removed(
    spool: SpoolPaths, media: Media, journal: bytes | None, growing_header: Callable[[Media], bytes]
) -> None:
    header = growing_header(media)
    for audio in (None, *(header[:size] for size in range(len(header) + 1))):
        paths = DraftPaths(spool.draft, ID)
        files = {paths.journal: journal, paths.audio: audio, paths.partial_sidecar: journal}
        for path, content in files.items():
            if content is not None:
                path.write_bytes(content)
        outcomes = [(result.outcome, result.path, result.reason) for result in repair_drafts(spool)]
        assert outcomes == ([] if journal is audio is None else [("empty", None, "")])
        assert names(spool.directory) == set()


@pytest.mark.parametrize("header", [wav.growing_header, of_earlier_version])
@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
def test_a_draft_with_one_byte_of_audio_is_not_empty(
    spool: SpoolPaths, media: Media, header: Callable[[Media], bytes]
) -> None:
    leave_behind(spool, b"\0", media=media, header=header).journal.write_bytes(b"")
    assert [result.outcome for result in repair_drafts(spool)] == ["broken"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "json.tmp"])
def test_a_draft_with_one_byte_of_text_is_not_empty(spool: SpoolPaths, suffix: str) -> None:
    leave_behind(spool).journal.write_bytes(b"")
    (spool.draft / f"{ID}.{suffix}").write_bytes(b"{")
    assert [result.outcome for result in repair_drafts(spool)] == ["broken"]


@pytest.mark.parametrize("audio", [b"noise", b"R\0", bytes(20), bytes(80)])
def test_audio_with_another_header_is_not_empty(spool: SpoolPaths, audio: bytes) -> None:
    DraftPaths(spool.draft, ID).audio.write_bytes(audio)
    assert [result.outcome for result in repair_drafts(spool)] == ["broken"]
    assert (spool.broken / f"{ID}.wav").read_bytes() == audio


def test_a_journal_with_a_first_line_is_not_empty(spool: SpoolPaths) -> None:
    leave_behind(spool, journal=b"").audio.unlink()
    assert [result.outcome for result in repair_drafts(spool)] == ["ready"]


def test_a_failed_removal_is_retried(spool: SpoolPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_behind(spool).journal.write_bytes(b"")

    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert [result.outcome for result in repair_drafts(spool)] == ["failed"]
    assert [result.outcome for result in repair_drafts(spool)] == ["empty"]


def test_empty_drafts_are_removed_with_one_line(tmp_path: Path) -> None:
    rig = SpoolRig(tmp_path / "spool")
    for number in range(20):
        rig.draft_file(f"{number:08}{ID[8:]}.jsonl").write_bytes(b"")
    with capturedLogs() as logged:
        rig.spool._repairer.start()
        rig.finishing.run()
    lines = [(event["log_level"], formatEvent(event)) for event in logged]
    assert lines == [(LogLevel.info, "removed 20 empty drafts that a crash left behind")]
    assert rig.counters.items() == [("drafts_recovered", "empty", 20)]
    assert rig.drafted() == set()
