"""``audiohookctl spool list``, ``show`` and ``stats``."""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.cli.formatting import counted, size, span
from audiohookd.cli.spool.lookup import Days, State, daemon_runs, place_of, recordings, search
from audiohookd.escaping import printable
from audiohookd.spool import catalog, paths
from tests.cli.kept_spool import (
    DAY,
    ENVIRONMENT,
    KeptSpool,
    audiohookctl,
    id_of,
    of_all_states,
    python,
    take_and_release,
)

CONFIG = """
[spool]
directory = "spool"
min_free = "512 MiB"
max_spool = "4 GiB"

[plugins.store]
class = "delivering_plugins:Carrier"

[plugins.tell]
class = "delivering_plugins:Notifier"

[plugins.absent]
"""


@pytest.fixture
def spool(tmp_path: Path) -> KeptSpool:
    return of_all_states(tmp_path / "spool")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "audiohookd.toml"
    path.write_text(CONFIG)
    return path


class TestList:
    def test_each_recording_is_one_line(self, spool: KeptSpool) -> None:
        said = spool.ctl("list")
        assert (said.code, said.err) == (0, "")
        assert [line.split()[:2] for line in said.lines] == [
            ["draft", id_of(1)],
            ["broken", id_of(7)],
            ["dead", id_of(5)],
            *(["ready", id_of(number)] for number in (2, 3, 4, 8)),
            ["done", id_of(6)],
        ]
        assert said.lines[4] == f"ready  {id_of(3)} 2026-01-31 12:00:03  0:00:01  16.2 KiB  stored store"
        assert said.lines[1].endswith("  there is no journal")
        assert said.lines[2].endswith("  2026-01-31T12:02:00Z s3: no such bucket")

    def test_json_is_printed(self, spool: KeptSpool) -> None:
        spool.mark(id_of(3), paths.notified_suffix("webhook"))
        by_id = {line["id"]: line for line in spool.ctl("list", "--json").json()}
        assert len(by_id) == 8
        assert by_id[id_of(3)] == {
            "id": id_of(3),
            "state": "ready",
            "started": "2026-01-31T12:00:03.000Z",
            "duration": 1.0,
            "bytes": sum(path.stat().st_size for path in (spool.layout.ready / DAY).glob(f"{id_of(3)}.*")),
            "stored": ["store"],
            "told": ["webhook"],
            "due": [],
            "recovered": False,
            "reason": None,
        }
        assert by_id[id_of(1)]["duration"] == 1.0
        assert by_id[id_of(8)]["duration"] == 0.0
        assert by_id[id_of(7)]["started"] is None

    def test_states_can_be_chosen(self, spool: KeptSpool) -> None:
        said = spool.ctl("list", "--state", "dead", "--state", "draft")
        assert [line.split()[0] for line in said.lines] == ["dead", "draft"]

    def test_days_can_be_chosen(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        for number in range(3):
            spool.ready(number, days=number)
        spool.draft(9)
        listed = {
            arguments: [line.split()[1] for line in spool.ctl("list", *arguments).lines]
            for arguments in [("--since", "2026-02-01"), ("--day", "2026-02-01"), ("--day", "2026-01-31"), ()]
        }
        assert list(listed.values()) == [
            [id_of(1), id_of(2)],
            [id_of(1)],
            [id_of(9), id_of(0)],
            [id_of(9), id_of(0), id_of(1), id_of(2)],
        ]

    def test_due_destinations_are_listed(self, spool: KeptSpool, config: Path) -> None:
        said = audiohookctl("spool", "list", "--config", config, "--state", "ready", "--json")
        assert [line["due"] for line in said.json()] == [["store", "tell"], ["tell"], ["tell"], ["store", "tell"]]
        assert said.err == (
            "audiohookctl: spool: plugins.absent cannot be imported: no plugin of this name is installed\n"
        )

    def test_a_carrier_configured_too_late_is_not_due(self, spool: KeptSpool, config: Path) -> None:
        config.write_text(CONFIG + '[plugins.copy]\nclass = "delivering_plugins:Carrier"\n')
        said = audiohookctl("spool", "list", "--config", config, "--state", "ready", "--json")
        by_id = {line["id"]: line["due"] for line in said.json()}
        assert by_id[id_of(3)] == ["copy", "tell"]
        assert by_id[id_of(4)] == ["tell"]

    def test_a_destination_that_rejected_it_is_not_due(self, spool: KeptSpool, config: Path) -> None:
        said = '{"reason": "too large", "at": "2026-01-31T12:02:00Z"}'
        spool.mark(id_of(2), paths.rejected_suffix("store"), said)
        spool.mark(id_of(3), paths.rejected_suffix("tell"), said)
        lines = audiohookctl("spool", "list", "--config", config, "--state", "ready").lines[:2]
        assert lines[0].endswith("B  2026-01-31T12:02:00Z store: too large")
        assert lines[1].endswith("B  stored store; 2026-01-31T12:02:00Z tell: too large")
        assert "too large" in audiohookctl("spool", "show", "--config", config, id_of(2)).out

    def test_a_sidecar_that_cannot_be_read_is_a_line_of_its_own(self, spool: KeptSpool) -> None:
        (spool.layout.ready / DAY / f"{id_of(2)}.json").write_text("{")
        said = spool.ctl("list")
        (line,) = [line for line in said.lines if id_of(2) in line]
        assert "cannot be read: the JSON text is truncated" in line
        assert len(said.lines) == 8

    def test_reasons_do_not_move_the_cursor(self, spool: KeptSpool) -> None:
        (spool.layout.dead / DAY / f"{id_of(5)}.{paths.REASON}").write_text("s3: \x1b[2J\nand more")
        (line,) = spool.ctl("list", "--state", "dead").lines
        assert line.endswith("s3: \\u001b[2J; and more")

    def test_incomplete_recordings_are_not_listed(self, tmp_path: Path) -> None:
        """Audio is moved before its sidecar, and receipts are deleted after it."""
        spool = KeptSpool(tmp_path)
        for number in (1, 2):
            spool.stored(spool.ready(number))
            (spool.layout.ready / DAY / f"{id_of(number)}.json").unlink()
        (spool.layout.ready / DAY / f"{id_of(1)}.wav").unlink()
        (spool.layout.ready / DAY / "notes.json").write_text("not ours")
        (spool.layout.dead / DAY).mkdir(parents=True)
        (spool.layout.dead / DAY / f"{id_of(2)}.{paths.REASON}").write_text("about to come")
        assert spool.ctl("list").lines == []

    def test_a_recording_delivered_during_the_listing_is_omitted(self, spool: KeptSpool) -> None:
        listing = recordings(spool.layout, (State.READY,))
        first = next(listing)
        for path in (spool.layout.ready / DAY).glob("*.json"):
            path.unlink()
        assert first.files.id == id_of(2)
        assert spool.ctl("list", "--state", "ready").lines == []
        assert [found.files.id for found in listing] == [id_of(number) for number in (3, 4, 8)]

    def test_names_of_one_day_are_in_memory(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        spool.ready(0)
        sidecar = (spool.layout.ready / DAY / f"{id_of(0)}.json").read_bytes()
        for day in range(10, 30):
            directory = spool.layout.ready / f"2026-01-{day}"
            directory.mkdir()
            for number in range(200):
                (directory / f"{id_of(1000 * day + number)}.json").write_bytes(sidecar)
        peaks = []
        for days in (Days("2026-01-10", "2026-01-10"), Days()):
            tracemalloc.start()
            count = sum(1 for _ in recordings(spool.layout, (State.READY,), days))
            peaks.append((count, tracemalloc.get_traced_memory()[1]))
            tracemalloc.stop()
        (few, small), (many, large) = peaks
        assert (few, many) == (200, 4001)
        assert large < 2 * small

    def test_a_closed_pipe_ends_the_command(self, spool: KeptSpool) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = python("-m", "audiohookd.cli.main", "spool", "list", "--spool", str(spool.directory))
        process = subprocess.run(command, stderr=subprocess.PIPE, stdout=writing, env=ENVIRONMENT, check=False)
        os.close(writing)
        assert (process.returncode, process.stderr) == (141, b"")


class TestShow:
    def test_everything_known_is_shown(self, spool: KeptSpool) -> None:
        said = spool.ctl("show", id_of(3))
        assert said.code == 0
        assert f"id         {id_of(3)}" in said.lines
        assert "state      ready" in said.lines
        assert any(line.endswith(f"{id_of(3)}.wav  16,094 bytes") for line in said.lines)
        assert 'stored     store  {"bucket": "calls", "at": "2026-01-31T12:01:00Z"}' in said.lines
        assert 'recording  closeReason  "end"' in said.lines

    def test_json_is_printed(self, spool: KeptSpool) -> None:
        spool.mark(id_of(3), paths.notified_suffix("webhook"))
        (shown,) = spool.ctl("show", id_of(3), "--json").json()
        sidecar = json.loads((spool.layout.ready / DAY / f"{id_of(3)}.json").read_text())
        assert shown["recording"] == sidecar["recording"]
        assert shown["told"] == ["webhook"]
        assert shown["receipts"]["store"]["bucket"] == "calls"
        assert len(shown["files"]) == 4

    def test_a_call_in_progress_is_shown(self, spool: KeptSpool) -> None:
        draft = spool.rig.spool.begin(id_of(20), 1_769_860_800.0, None)
        draft.add_entry(
            b'{"timestamp":"PT0S","type":"gap","data":{"start":0,"samples":80,"cause":"paused","offset":0}}'
        )
        spool.rig.commit()
        with (spool.layout.draft / f"{id_of(20)}.jsonl").open("ab") as journal:
            journal.write(b'{"timestamp":"PT1S","type":"rec')  # just being written
        (shown,) = spool.ctl("show", id_of(20), "--json").json()
        assert shown["state"] == "draft"
        assert [gap["samples"] for gap in shown["recording"]["gaps"]] == [80]
        (shown,) = spool.ctl("show", id_of(1), "--json").json()
        assert (shown["recording"]["session"], shown["recording"]["samples"]) == ("s", 8000)

    def test_the_reason_of_a_broken_recording_is_shown(self, spool: KeptSpool) -> None:
        assert "reason     there is no journal" in spool.ctl("show", id_of(7)[:8]).lines

    def test_a_malformed_draft_is_shown(self, spool: KeptSpool) -> None:
        (spool.layout.draft / f"{id_of(1)}.jsonl").write_text("")
        said = spool.ctl("show", id_of(1))
        assert "reason     cannot be read: the journal has no first line" in said.lines

    @pytest.mark.parametrize(
        ("prefix", "said"),
        [
            (
                "0000",
                f"0000 matches several recordings: {id_of(1)}, {id_of(2)}, {id_of(3)}, {id_of(4)}, {id_of(5)}, ...",
            ),
            ("abcd", "there is no recording abcd in draft/ or broken/ or dead/ or ready/ or done/"),
            ("000", "'000' is not an id: give at least 4 characters of one"),
            ("../../etc", "'../../etc' is not an id: give at least 4 characters of one"),
            ("", "'' is not an id: give at least 4 characters of one"),
        ],
    )
    def test_an_ambiguous_or_short_prefix_is_a_mistake(self, spool: KeptSpool, prefix: str, said: str) -> None:
        assert spool.ctl("show", prefix) == (2, "", f"audiohookctl: spool: {said}\n")

    @given(st.integers(4, 36))
    def test_an_unambiguous_prefix_will_do(self, length: int) -> None:
        wanted = "e160e428-53e2-487c-977d-96989bf5c99d"
        with tempfile.TemporaryDirectory() as directory:
            spool = paths.SpoolPaths(Path(directory))
            spool.broken.mkdir()
            for recording_id in (wanted, id_of(1)):
                (spool.broken / f"{recording_id}.wav").touch()
            assert search(spool, wanted[:length]).files.id == wanted


class TestStats:
    def test_lines_are_printed_for_people(self, spool: KeptSpool, config: Path) -> None:
        said = audiohookctl("spool", "stats", "--config", config)
        assert said.code == 0
        assert [line.split()[:3] for line in said.lines[:5]] == [
            ["draft", "1", "recording"],
            ["broken", "1", "recording"],
            ["dead", "1", "recording"],
            ["ready", "4", "recordings"],
            ["done", "1", "recording"],
        ]
        assert said.lines[3].endswith("  oldest 2026-01-31T12:00:02.000Z")
        assert said.lines[5].split() == ["waiting", "2", "recordings", "for", "store"]
        assert said.lines[6].split() == ["waiting", "4", "recordings", "for", "tell"]
        assert said.lines[7].endswith("of 4.0 GiB (max_spool)")
        assert said.lines[8].endswith(", min_free is 512.0 MiB")
        assert said.lines[9] == "daemon  runs"

    def test_json_is_printed_for_programs(self, spool: KeptSpool) -> None:
        (figures,) = spool.stop().ctl("stats", "--json").json()
        assert figures["bytes"] == sum(len(content) for content in spool.files().values())
        assert figures["states"]["ready"]["recordings"] == 4
        assert figures["states"]["dead"]["oldest"] == "2026-01-31T12:00:05.000Z"
        assert figures["states"]["broken"]["oldest"] is None
        assert figures["free"] == pytest.approx(shutil.disk_usage(spool.directory).free, rel=0.1)
        assert (figures["minFree"], figures["waiting"], figures["daemon"]) == (None, {}, False)

    def test_the_oldest_is_of_the_first_day(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        for number, days in ((3, 1), (2, 0), (1, 0)):
            spool.ready(number, days=days)
        (figures,) = spool.ctl("stats", "--json").json()
        assert figures["states"]["ready"]["oldest"] == "2026-01-31T12:00:01.000Z"

    def test_audio_without_a_sidecar_is_counted(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        audio = [Path(spool.layout.ready / DAY / f"{spool.ready(number)}.wav") for number in (1, 2, 3)]
        for path in audio[:2]:
            path.with_suffix(".json").unlink()
        (figures,) = spool.ctl("stats", "--json").json()
        assert figures["alone"] == {"files": 2, "example": str(audio[0])}
        assert figures["states"]["ready"]["recordings"] == 1
        (line,) = [line for line in spool.ctl("stats").lines if line.startswith("alone")]
        assert line == f"alone          2 audio files  in ready/ without a sidecar, such as {audio[0]}"
        for path in audio[:2]:
            path.unlink()
        assert not any(line.startswith("alone") for line in spool.ctl("stats").lines)

    def test_an_empty_spool_has_zero_counts(self, tmp_path: Path) -> None:
        said = audiohookctl("spool", "stats", "--spool", tmp_path)
        assert said.code == 0
        assert said.lines[-1] == "daemon  does not run"


class TestLocation:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--spool", "/nonexistent"], "/nonexistent is not a spool: no such directory"),
            (["--config", "/nonexistent.toml"], "/nonexistent.toml: cannot be read"),
            (["--spool", "/proc"], "/proc is not a spool: it has no draft/"),
        ],
    )
    def test_a_mistake_is_one_line(self, arguments: list[str], said: str) -> None:
        result = audiohookctl("spool", "list", *arguments)
        assert result.code == 2
        assert result.err.startswith(f"audiohookctl: spool: {said}")
        assert result.err.count("\n") == 1

    def test_an_action_is_needed(self) -> None:
        assert audiohookctl("spool").code == 2

    def test_an_inaccessible_directory_is_one_line(self, tmp_path: Path) -> None:
        result = audiohookctl("spool", "list", "--spool", tmp_path / ("x" * 300))
        assert result.code == 2
        assert result.err.endswith(": File name too long\n")
        assert result.err.count("\n") == 1

    def test_a_disk_error_is_one_line(self, spool: KeptSpool) -> None:
        loop = spool.layout.ready / "2026-01-01"
        loop.symlink_to(loop)
        said = spool.ctl("list")
        assert said.code == 2
        assert said.err == f"audiohookctl: spool: {loop}: Too many levels of symbolic links\n"

    def test_the_spool_on_the_command_line_counts_more(self, spool: KeptSpool, config: Path, tmp_path: Path) -> None:
        other = KeptSpool(tmp_path / "other").stop()
        said = audiohookctl("spool", "list", "--config", config, "--spool", other.directory)
        assert (said.code, said.lines) == (0, [])


class TestBesideADaemon:
    def test_a_daemon_is_detected_by_its_lock(self, spool: KeptSpool) -> None:
        assert daemon_runs(spool.layout)
        assert daemon_runs(spool.layout)
        spool.stop()
        assert not daemon_runs(spool.layout)

    def test_detecting_a_daemon_leaves_the_lock_free(self, spool: KeptSpool) -> None:
        spool.stop()
        assert not daemon_runs(spool.layout)
        take_and_release(spool)

    def test_listing_changes_no_file(self, spool: KeptSpool) -> None:
        before = spool.files()
        for action in ("list", "stats"):
            assert spool.ctl(action).code == 0
        assert spool.ctl("show", id_of(1)).code == 0
        assert spool.files() == before
        assert not spool.layout.wake.exists()

    def test_a_call_in_progress_continues(self, spool: KeptSpool) -> None:
        draft = spool.rig.spool.begin(id_of(30), 1_769_860_800.0, None)
        for action in ("list", "stats", "repair"):
            assert spool.ctl(action).code == 0
        spool.rig.finish(draft)
        assert f"{DAY}/{id_of(30)}.json" in spool.rig.ready()


def test_the_place_is_found_by_the_configuration(spool: KeptSpool, config: Path) -> None:
    place = place_of(argparse.Namespace(config=config, spool=None))
    assert place.spool == spool.layout
    assert place.config is not None
    assert place.config.spool.max_spool == 4 << 30


class TestFormatting:
    @given(st.integers(0, 2**60))
    def test_sizes_keep_their_first_digits(self, count: int) -> None:
        number, unit = size(count).split()
        factor = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
        assert float(number) * factor == pytest.approx(count, rel=0.1, abs=1)
        assert len(number) <= 6

    def test_times_and_counts_are_formatted(self) -> None:
        assert (span(3_723.9), span(0), span(59)) == ("1:02:03", "0:00:00", "0:00:59")
        assert [counted(count, "draft") for count in (0, 1, 1200)] == ["0 drafts", "1 draft", "1,200 drafts"]

    @given(st.text())
    def test_text_of_others_is_one_printable_line(self, text: str) -> None:
        assert printable(text).isprintable()
        assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_states_are_the_directories(spool: KeptSpool) -> None:
    found = {entry.state: entry.files.directory for entry in recordings(spool.layout)}
    assert {state: path.relative_to(spool.directory).parts[0] for state, path in found.items()} == {
        state: str(state) for state in State
    }
    assert list(catalog.iter_days(spool.layout.broken)) == []
