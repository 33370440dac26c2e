"""``audiohookctl spool repair``, and the progress of long commands."""

import io
import subprocess
from pathlib import Path

import pytest

from audiohookd.cli.progress import LINE_EVERY, Progress
from tests.cli.kept_spool import DAY, ENVIRONMENT, KeptSpool, audiohookctl, id_of, python, take_and_release


@pytest.fixture
def spool(tmp_path: Path) -> KeptSpool:
    """A spool after a crash: two drafts, and audio without a journal."""
    spool = KeptSpool(tmp_path)
    for number in (1, 2):
        spool.draft(number)
    (spool.layout.draft / f"{id_of(3)}.wav").write_bytes(b"noise")
    return spool


def test_drafts_become_recordings(spool: KeptSpool) -> None:
    (spool.stop().layout.draft / f"{id_of(3)}.wav").unlink()
    said = spool.ctl("repair")
    assert (said.code, said.err) == (0, "")
    assert said.lines == [f"{id_of(1)} ready", f"{id_of(2)} ready", "2 drafts: 2 ready now"]
    assert list(spool.layout.draft.iterdir()) == []
    assert audiohookctl("verify", spool.directory).lines[-1].startswith("2 recordings: 2 ok")
    assert [line["recovered"] for line in spool.ctl("list", "--json").json()] == [True, True]


def test_broken_drafts_are_reported(spool: KeptSpool) -> None:
    said = spool.stop().ctl("repair")
    assert said.code == 1
    assert f"{id_of(3)} broken: there is no journal" in said.lines
    assert said.lines[-1] == "3 drafts: 2 ready now, 1 broken"


def test_the_lock_is_held_during_the_repair_and_released(spool: KeptSpool) -> None:
    spool.stop()
    assert spool.ctl("repair").code == 1
    take_and_release(spool)


def test_the_daemon_is_detected_without_its_lock_file(spool: KeptSpool) -> None:
    assert spool.rig.directory == spool.directory
    spool.layout.lock.unlink()
    before = spool.files()
    assert spool.ctl("repair").lines[0].startswith("nothing repaired: a daemon runs")
    assert spool.ctl("stats").lines[-1] == "daemon  runs"
    assert spool.files() == before


def test_a_running_daemon_repairs_instead(spool: KeptSpool) -> None:
    before = spool.files()
    said = spool.ctl("repair")
    assert said.code == 0
    (line,) = said.lines
    assert line.startswith(
        "nothing repaired: a daemon runs, which repairs drafts by itself and scans the spool now: 3 drafts, "
    )
    assert spool.layout.wake.exists()
    assert spool.files() == before


def test_a_daemon_in_another_process_is_detected(spool: KeptSpool) -> None:
    spool.stop()
    program = (
        "import sys; from pathlib import Path\n"
        "from audiohookd.spool.paths import SpoolPaths; from audiohookd.spool.lock import Lock\n"
        "Lock(SpoolPaths(Path(sys.argv[1]))).hold(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        python("-c", program, str(spool.directory)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path.cwd())},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert spool.ctl("repair").lines[0].startswith("nothing repaired: a daemon runs")
        assert spool.ctl("stats").lines[-1] == "daemon  runs"
        holder.communicate()
    assert spool.ctl("stats").lines[-1] == "daemon  does not run"


def test_an_empty_spool_needs_no_repair(tmp_path: Path) -> None:
    said = KeptSpool(tmp_path).stop().ctl("repair")
    assert (said.code, said.lines) == (0, ["0 drafts: 0 ready now"])


def test_ready_recordings_are_not_changed(tmp_path: Path) -> None:
    spool = KeptSpool(tmp_path)
    spool.ready(1)
    spool.stop()
    before = spool.files()
    assert spool.ctl("repair").code == 0
    assert spool.files() == before
    assert f"ready/{DAY}/{id_of(1)}.json" in before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def test_a_terminal_gets_a_bar(self) -> None:
        screen = Terminal()
        with Progress("verified", total=4, stream=screen, bar_after=0) as progress:
            for _ in range(3):
                progress.read(5 << 20)
                progress.done()
            progress._bar.refresh()
        assert "verified:  75%" in screen.getvalue()
        assert "3/4" in screen.getvalue()
        assert "15.0 MiB" in screen.getvalue()
        assert screen.getvalue().endswith("\r")

    def test_other_streams_get_a_line_at_intervals(self) -> None:
        stream = io.StringIO()
        times = iter([0.0, 1.0, LINE_EVERY, LINE_EVERY, LINE_EVERY + 1.0])
        with Progress("verified", total=1200, stream=stream, now=lambda: next(times)) as progress:
            progress.done()
            progress.read(2048)
            progress.done()
        assert stream.getvalue() == "verified 1 recording of 1,200, 2.0 KiB\n"

    def test_short_work_shows_no_progress(self) -> None:
        screen = Terminal()
        with Progress("verified", stream=screen) as progress:
            progress.done()
        assert screen.getvalue() == ""

    def test_lines_do_not_break_the_bar(self) -> None:
        screen, out = Terminal(), io.StringIO()
        with Progress("verified", stream=screen, bar_after=0) as progress:
            progress.say("a line", out)
        assert out.getvalue() == "a line\n"
