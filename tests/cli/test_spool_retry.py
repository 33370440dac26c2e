"""``audiohookctl spool retry``: dead letters are moved back to ready/, also after crashes in between."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohookd.cli.spool.lookup import as_owner
from audiohookd.cli.spool.retry import NotRevived, revive, suffixes_of
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from tests.cli.kept_spool import DAY, KeptSpool, Said, audiohookctl, id_of

NOBODY = 65_534


@pytest.fixture
def spool(tmp_path: Path) -> KeptSpool:
    """A spool in which 1 and 2 are dead, 2 was stored by one carrier, and 3 is ready."""
    spool = KeptSpool(tmp_path)
    for number in (1, 2, 3):
        spool.ready(number)
    spool.stored(id_of(2))
    for number in (1, 2):
        spool.bury(id_of(number))
    return spool


def dead(spool: KeptSpool) -> list[str]:
    """The names of all files in dead/."""
    return sorted(path.name for path in (spool.layout.dead / DAY).iterdir())


def whole(spool: KeptSpool) -> list[str]:
    """The ids of the recordings that the daemon would find."""
    return [found.id for found in catalog.iter_recordings(spool.layout.ready) if paths.SIDECAR in found.suffixes]


class TestRetry:
    def test_named_dead_letters_are_moved(self, spool: KeptSpool) -> None:
        before = spool.files()
        assert spool.ctl("retry", id_of(2)) == Said(
            0,
            f"{id_of(2)} is ready again\n1 dead letter moved back to ready/; the daemon retries everything now\n",
            "",
        )
        assert {name.partition(".")[0] for name in dead(spool)} == {id_of(1)}
        after = spool.files()
        for suffix in ("wav", "json", "stored.store.json"):
            assert after[f"ready/{DAY}/{id_of(2)}.{suffix}"] == before[f"dead/{DAY}/{id_of(2)}.{suffix}"]
        assert not any("reason" in name for name in after if id_of(2) in name)

    @pytest.mark.parametrize("which", ["--dead", "--all"])
    def test_all_dead_letters_are_moved(self, spool: KeptSpool, which: str) -> None:
        assert spool.ctl("retry", which).code == 0
        assert dead(spool) == []
        assert whole(spool) == [id_of(1), id_of(2), id_of(3)]
        assert audiohookctl("verify", "--quiet", spool.directory).code == 0

    def test_ready_recordings_are_retried_at_once(self, spool: KeptSpool) -> None:
        said = spool.ctl("retry", id_of(3))
        assert said.lines[0] == f"{id_of(3)} waits in ready/"
        assert spool.layout.wake.exists()
        assert len(dead(spool)) > 0

    def test_the_number_of_ready_recordings_is_printed(self, spool: KeptSpool) -> None:
        spool.stop()
        assert spool.ctl("retry", "--all").lines[-1] == (
            "2 dead letters moved back to ready/; no daemon runs: it retries all 3 recordings in ready/"
            " when it starts"
        )

    def test_the_daemon_is_woken_each_time(self, spool: KeptSpool) -> None:
        assert spool.ctl("retry", "--all").code == 0
        os.utime(spool.layout.wake, (0, 0))
        assert spool.ctl("retry", "--all").code == 0
        assert spool.layout.wake.stat().st_mtime > 0

    def test_a_deleted_day_is_created_again(self, spool: KeptSpool) -> None:
        for path in (spool.layout.ready / DAY).iterdir():
            path.unlink()
        (spool.layout.ready / DAY).rmdir()
        assert spool.ctl("retry", "--dead").code == 0
        assert whole(spool) == [id_of(1), id_of(2)]


def test_a_day_is_listed_no_more_often_for_many(spool: KeptSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day may have tens of thousands of recordings, and as many dead letters."""
    list_directory, listed = os.scandir, []

    def listing(path: "str | os.PathLike[str]" = ".") -> "os._ScandirIterator[str]":
        listed.append(Path(path).parent.name)
        return list_directory(path)

    def retried() -> int:
        listed.clear()
        assert spool.ctl("retry", "--dead").code == 0
        return sum(place in ("ready", "dead") for place in listed)

    monkeypatch.setattr(os, "scandir", listing)
    for_two = retried()
    for number in range(4, 9):
        spool.ready(number)
    for number in range(1, 9):
        spool.bury(id_of(number))
    assert retried() == for_two
    assert len(whole(spool)) == 8


class TestRejections:
    """A destination that rejected a recording is tried again."""

    def test_rejections_of_dead_letters_are_deleted(self, spool: KeptSpool) -> None:
        for shelf_ in ("dead", "ready"):  # a crash during the move leaves the second one
            (spool.directory / shelf_ / DAY / f"{id_of(2)}.{paths.rejected_suffix(shelf_)}").write_text("{}")
        spool.stop()
        assert spool.ctl("retry", id_of(2)).code == 0
        left = {name.partition(".")[2] for name in spool.files() if id_of(2) in name}
        assert left == {"wav", "json", "stored.store.json"}

    @pytest.mark.parametrize("which", [id_of(3), "--all"])
    def test_rejections_of_ready_recordings_are_deleted(self, spool: KeptSpool, which: str) -> None:
        spool.mark(id_of(3), paths.rejected_suffix("store"))
        assert spool.ctl("retry", which).code == 0
        assert {name.partition(".")[2] for name in spool.files() if id_of(3) in name} == {"wav", "json"}

    @pytest.mark.parametrize("steps", range(7))
    def test_rejections_are_deleted_after_a_crash(self, spool: KeptSpool, steps: int) -> None:
        (spool.layout.dead / DAY / f"{id_of(2)}.{paths.rejected_suffix('tape')}").write_text("{}")
        try:
            revive(spool.layout, crashing(spool, steps), suffixes_of(spool.layout, DAY))
        except Crash:
            assert spool.ctl("retry", id_of(2)).code == 0
        assert id_of(2) in whole(spool)
        assert not any("refused" in name for name in spool.files())


class TestErrors:
    @pytest.mark.parametrize("arguments", [(), ("--all", "--dead"), ("00000001", "--dead")])
    def test_exactly_one_selection_is_required(self, spool: KeptSpool, arguments: tuple[str, ...]) -> None:
        said = spool.ctl("retry", *arguments)
        assert (said.code, said.err) == (2, "audiohookctl: spool retry: give ids, --dead or --all\n")

    def test_an_unknown_id_moves_nothing(self, spool: KeptSpool) -> None:
        before = spool.files()
        assert spool.ctl("retry", id_of(1), "abcdef").code == 2
        assert spool.files() == before

    def test_a_dead_letter_with_files_in_ready_is_not_moved(self, spool: KeptSpool) -> None:
        (spool.layout.ready / DAY / f"{id_of(1)}.wav").write_bytes(b"another")
        before = spool.files()
        said = spool.ctl("retry", "--dead")
        assert said.code == 1
        assert f"{id_of(1)}: {spool.layout.ready / DAY} already has its wav" in said.err
        assert said.lines[-1].startswith("1 dead letter moved back")
        after = spool.files()
        assert {name: after[name] for name in before if id_of(1) in name} == {
            name: content for name, content in before.items() if id_of(1) in name
        }

    def test_a_dead_letter_that_the_daemon_is_moving_is_not_moved(self, spool: KeptSpool) -> None:
        """The daemon moves the sidecar first."""
        name = f"{id_of(1)}.wav"
        (spool.layout.dead / DAY / name).rename(spool.layout.ready / DAY / name)
        said = spool.ctl("retry", id_of(1))
        assert said.code == 1
        assert "the daemon is moving it: retry in a moment" in said.err
        assert f"{id_of(1)}.json" in dead(spool)

    def test_a_dead_letter_of_a_crashed_daemon_is_moved(self, spool: KeptSpool) -> None:
        name = f"{id_of(1)}.wav"
        (spool.layout.dead / DAY / name).rename(spool.layout.ready / DAY / name)
        spool.stop()
        assert spool.ctl("retry", id_of(1)).code == 0
        assert id_of(1) in whole(spool)


class Crash(BaseException):
    """Stands for the end of the process."""


class Crashing(Recording):
    """A dead letter that ends the process after a number of requests for its paths."""

    left = 0

    def path(self, suffix: str) -> Path:
        if self.left == 0:
            raise Crash
        self.left -= 1
        return super().path(suffix)


def crashing(spool: KeptSpool, steps: int) -> Crashing:
    (found,) = [found for found in catalog.iter_recordings(spool.layout.dead) if found.id == id_of(2)]
    letter = Crashing(found.directory, found.id, found.suffixes)
    letter.left = steps
    return letter


@pytest.mark.parametrize("steps", range(5))
def test_a_crash_at_any_step_is_recovered_by_a_retry(spool: KeptSpool, steps: int) -> None:
    before = {name.rpartition("/")[2]: content for name, content in spool.files().items() if id_of(2) in name}
    try:
        revive(spool.layout, crashing(spool, steps), suffixes_of(spool.layout, DAY))
    except Crash:
        # The place of the sidecar decides, and it is in one place only.
        assert id_of(2) not in whole(spool)
        assert spool.ctl("retry", id_of(2)).code == 0
    assert id_of(2) in whole(spool)
    after = {name.rpartition("/")[2]: content for name, content in spool.files().items() if id_of(2) in name}
    assert after == {name: content for name, content in before.items() if "reason" not in name}
    assert not any(id_of(2) in name for name in dead(spool))


def test_a_crash_happens_at_each_step(spool: KeptSpool) -> None:
    with pytest.raises(Crash):
        revive(spool.layout, crashing(spool, 3), suffixes_of(spool.layout, DAY))
    assert spool.ctl("retry", id_of(2)).code == 0


def test_a_dead_letter_does_not_overwrite_another_file(spool: KeptSpool) -> None:
    (found,) = [found for found in catalog.iter_recordings(spool.layout.dead) if found.id == id_of(1)]
    (spool.layout.ready / DAY / f"{id_of(1)}.json").write_text("{}")
    with pytest.raises(NotRevived, match="already has its json"):
        revive(spool.layout, found, suffixes_of(spool.layout, DAY))


class TestOwner:
    """Root switches to the owner of the spool, because the daemon could not use root's files."""

    @pytest.fixture
    def owned(self) -> Iterator[KeptSpool]:
        # Not below tmp_path, which the owner may not enter.
        with tempfile.TemporaryDirectory() as directory:
            spool = KeptSpool(Path(directory))
            spool.ready(1)
            spool.bury(id_of(1))
            spool.draft(2)
            spool.stop()
            (spool.layout.ready / DAY).rmdir()
            spool.layout.lock.unlink()
            if os.geteuid() == 0:
                for path in (spool.directory, *spool.directory.rglob("*")):
                    os.chown(path, NOBODY, NOBODY)
            yield spool

    def test_new_files_belong_to_the_owner(self, owned: KeptSpool) -> None:
        assert owned.ctl("retry", "--all").code == 0
        assert owned.ctl("repair").code == 0
        assert len(whole(owned)) == 2
        owner = owned.directory.stat().st_uid
        assert owner == (NOBODY if os.geteuid() == 0 else os.geteuid())
        assert {path.stat().st_uid for path in owned.directory.rglob("*")} == {owner}
        assert {path.stat().st_gid for path in owned.directory.rglob("*")} == {owned.directory.stat().st_gid}

    def test_the_process_is_root_again_afterwards(self, owned: KeptSpool) -> None:
        before = (os.geteuid(), os.getegid(), os.getgroups())
        inside = []
        with contextlib.suppress(RuntimeError), as_owner(owned.layout):
            inside.append((os.geteuid(), os.getegid()))
            raise RuntimeError
        owner = owned.directory.stat()
        assert inside == [(owner.st_uid, owner.st_gid)]
        assert (os.geteuid(), os.getegid(), os.getgroups()) == before
