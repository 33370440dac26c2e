"""Links and FIFOs in the spool, planted by a local user to make the daemon read or write other files."""

import errno
import os
from pathlib import Path

import pytest

from audiohookd.spool.catalog import stat_recording
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import first_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd.spool.write.draft_files import DraftPaths
from tests.spool.left_behind import DAY, ID, NOTE, OTHER, empty_spool, leave_behind, names, sidecar
from tests.spool.spool_rig import MONO, STARTED_AT, STEREO, SpoolRig

SECRET = b"root:x:0:0"


@pytest.fixture
def spool(tmp_path: Path) -> SpoolPaths:
    return empty_spool(tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "passwd"
    target.write_bytes(SECRET)
    return target


def test_a_link_in_place_of_the_unfinished_sidecar_is_replaced(spool: SpoolPaths, target: Path) -> None:
    paths = leave_behind(spool, b"\x01\x02")
    paths.partial_sidecar.symlink_to(target)
    path = finalize_draft(paths, spool.ready)
    assert target.read_bytes() == SECRET
    assert sidecar(spool)["recording"]["samples"] == 1
    assert not path.with_suffix(".json").is_symlink()


@pytest.mark.parametrize("suffix", ["wav", "jsonl"])
@pytest.mark.parametrize("make", ["symlink_to", "mkfifo"])
def test_a_link_or_a_fifo_in_place_of_a_file_is_not_opened(
    spool: SpoolPaths, target: Path, suffix: str, make: str
) -> None:
    paths = leave_behind(spool, b"\x01\x02")
    target.write_bytes(paths.journal.read_bytes())  # a valid journal, so only the link is wrong
    path = spool.draft / f"{ID}.{suffix}"
    path.unlink()
    path.symlink_to(target) if make == "symlink_to" else os.mkfifo(path)
    with pytest.raises(OSError, match=suffix) as refused:
        finalize_draft(paths, spool.ready)
    assert refused.value.errno == (errno.ELOOP if make == "symlink_to" else errno.EINVAL)
    assert target.read_bytes() == first_line(journal_header(ID, STARTED_AT, STEREO)) + NOTE
    assert {name for name in names(spool.ready) if name.endswith("json")} == set()
    assert list(repair_drafts(spool)) == []


def test_a_link_in_place_of_a_sidecar_of_an_earlier_attempt_is_not_read(spool: SpoolPaths, target: Path) -> None:
    target.write_text('{"header": {"timestamp": "2026-01-01T00:00:00Z"}}')
    paths = DraftPaths(spool.draft, ID)
    paths.sidecar.symlink_to(target)
    with pytest.raises(OSError, match=r"json") as refused:
        finalize_draft(paths, spool.ready)
    assert refused.value.errno == errno.ELOOP


def test_a_link_at_the_target_of_the_audio_is_replaced(spool: SpoolPaths, target: Path) -> None:
    (spool.ready / DAY).mkdir()
    (spool.ready / DAY / f"{ID}.wav").symlink_to(target)
    path = finalize_draft(leave_behind(spool, b"\x01\x02"), spool.ready)
    assert not path.is_symlink()
    assert path.read_bytes() == wav.header(STEREO, 2) + b"\x01\x02"
    assert target.read_bytes() == SECRET


def test_a_link_at_the_path_of_the_reason_is_replaced(spool: SpoolPaths, target: Path) -> None:
    spool.broken.mkdir()
    (spool.broken / f"{ID}.reason.txt").symlink_to(target)
    leave_behind(spool, b"\x01").journal.unlink()
    assert [result.outcome for result in repair_drafts(spool)] == ["broken"]
    assert (spool.broken / f"{ID}.reason.txt").read_text() == "there is no journal\n"
    assert target.read_bytes() == SECRET


@pytest.mark.parametrize("suffix", ["wav", "jsonl"])
def test_a_link_at_the_path_of_a_new_draft_is_not_followed(tmp_path: Path, target: Path, suffix: str) -> None:
    rig = SpoolRig(tmp_path / "spool")
    rig.draft_file(f"{ID}.{suffix}").symlink_to(target)
    absent = rig.draft_file(f"{OTHER}.{suffix}")
    absent.symlink_to(tmp_path / "absent")
    for id_ in (ID, OTHER):
        rig.begin(id_, MONO).audio(b"\x01")
    rig.commit()
    assert target.read_bytes() == SECRET
    assert not (tmp_path / "absent").exists()


def test_a_link_is_not_a_file_of_a_recording(spool: SpoolPaths, target: Path) -> None:
    path = finalize_draft(leave_behind(spool, b"\x01\x02"), spool.ready)
    path.with_suffix(".stored.s3.json").symlink_to(target)
    os.mkfifo(path.with_suffix(".told.hook.json"))
    suffixes = ["json", "wav", "stored.s3.json", "told.hook.json", "refused.s3.json"]
    assert stat_recording(path.parent, ID, suffixes).suffixes == {"json", "wav"}
