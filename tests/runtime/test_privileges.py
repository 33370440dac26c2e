"""A daemon that root starts leaves nothing that the service's user cannot use. Each in a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="they need root")

#: A user that is in no list of users, and the group of its files.
UID, GID = 54_321, 54_322
#: Builds the tree with these options of twistd, starts it in part, makes a recording's files, and lists the owners.
PROGRAM = """
import os, sys
from pathlib import Path
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import globalLogPublisher, formatEvent
from twisted.scripts.twistd import ServerOptions
import audiohookd_plugins.recorder, audiohookd.auth.replay.sqlite
from audiohookd import tap

def show(event):
    if event["log_level"].name == "warn":
        print("warning", formatEvent(event))

globalLogPublisher.addObserver(show)
options = ServerOptions()
options.parseOptions([*sys.argv[2:], "audiohookd", "--config", sys.argv[1]])
service = tap.makeService(options.subOptions)
print("built", os.geteuid())
service.setServiceParent(Application("audiohookd"))
service.privilegedStartService()
if options["uid"] is not None:
    from twisted.python.util import switchUID
    os.setgid(options["gid"])
    os.setuid(options["uid"])
print("started", os.geteuid(), os.getegid(), os.getgroups())
"""


class Site:
    def __init__(self, directory: Path, owner: int) -> None:
        self.config = directory / "audiohookd.toml"
        self.spool = directory / "spool"
        text = '[auth]\nkeys_file = "keys.json"\n[spool]\ndirectory = "spool"\n[plugins.recorder]\n'
        self.config.write_text(text)
        (directory / "keys.json").touch(0o600)
        (directory / "keys.json").write_text('{"an-api-key": "TXlTdXBlclNlY3JldEtleQ=="}')
        self.spool.mkdir(0o750)
        if owner:
            os.chown(directory / "keys.json", UID, GID)
            os.chown(self.spool, owner, GID)

    def start(self, *options: str) -> subprocess.CompletedProcess[str]:
        command: list[Any] = [sys.executable, "-c", PROGRAM, self.config, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def owners(self) -> dict[str, tuple[int, int]]:
        paths = [self.spool, *self.spool.rglob("*")]
        return {path.name: (path.stat().st_uid, path.stat().st_gid) for path in paths}


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every user can get to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_root_becomes_the_owner_of_the_spool_and_says_so(directory: Path) -> None:
    site = Site(directory, UID)
    done = site.start()
    warning, *lines = done.stdout.splitlines()
    assert lines == ["built 0", f"started {UID} {GID} [{GID}]"], done.stderr
    assert warning.startswith(f"warning started as root: runs as user {UID}, the owner of {site.spool}")
    assert site.owners() == dict.fromkeys(["spool", "draft", "ready", "lock"], (UID, GID))


def test_root_stays_root_where_the_spool_is_its_own_and_says_so(directory: Path) -> None:
    done = Site(directory, 0).start()
    warning, *lines = done.stdout.splitlines()
    assert lines[0] == "built 0"
    assert lines[1].startswith("started 0 0 ")
    assert warning.startswith("warning started as root, and runs as root: ")
    assert "User=" in warning
    assert "--uid" in warning


def test_the_user_that_twistd_switches_to_can_use_the_spool(directory: Path) -> None:
    site = Site(directory, UID)
    done = site.start(f"--uid={UID}", f"--gid={GID}")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["built", "started"], done.stderr
    assert site.owners() == dict.fromkeys(["spool", "draft", "ready", "lock"], (UID, GID))


def test_a_file_that_the_user_cannot_read_is_named_at_a_trial_as_root(directory: Path) -> None:
    site = Site(directory, UID)
    os.chown(directory / "keys.json", 0, 0)
    done = site.start()
    assert done.returncode == 78
    assert f"'{directory}/keys.json': cannot be read by user {UID} (Permission denied): give it to the" in done.stderr
    assert f"(chown root:{GID} {directory}/keys.json && chmod 0640 {directory}/keys.json" in done.stderr


def test_a_list_of_networks_that_the_user_cannot_read_is_named_likewise(directory: Path) -> None:
    site = Site(directory, UID)
    (directory / "networks").write_text("127.0.0.0/8\n")
    (directory / "networks").chmod(0o600)
    site.config.write_text(f"[listen]\nallowed_networks_file = '{directory}/networks'\n{site.config.read_text()}")
    done = site.start()
    assert done.returncode == 78
    assert (
        f"listen.allowed_networks_file: {directory}/networks cannot be read by user {UID} (Permission denied)"
        in done.stderr
    )


def test_a_spool_that_root_wrote_to_before_is_named_with_what_to_do(directory: Path) -> None:
    site = Site(directory, UID)
    (site.spool / "draft").mkdir(0o750)
    done = site.start()
    assert done.returncode == 78
    assert f"cannot be used: Permission denied ({site.spool}/draft); give it to the user of the daemon" in done.stderr
    assert f"(chown -R {UID}: {site.spool})" in done.stderr


def test_a_replay_store_that_root_makes_belongs_to_the_owner_of_its_directory(directory: Path) -> None:
    os.chown(directory, UID, GID)
    program = """
import sys
from pathlib import Path
from audiohookd.auth.replay.sqlite import SqliteNonces
assert SqliteNonces(Path(sys.argv[1]), 60.0, lambda: 1.0, 1.0).add(b"nonce", 1.0)
"""
    subprocess.run([sys.executable, "-c", program, directory / "replay.sqlite"], check=True, timeout=60)
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in directory.iterdir()}
    assert owners
    assert set(owners.values()) == {(UID, GID)}


def test_root_without_the_right_to_switch_stays_root_and_says_so(directory: Path) -> None:
    site = Site(directory, UID)
    setpriv = ["setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid"]
    command = [*setpriv, sys.executable, "-c", PROGRAM, str(site.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    warning, *lines = done.stdout.splitlines()
    assert lines[0] == "built 0", done.stderr
    assert "it lacks CAP_SETUID or CAP_SETGID" in warning


def test_a_replay_store_in_a_directory_that_the_user_cannot_write_to_is_named(directory: Path) -> None:
    site = Site(directory, UID)
    (directory / "replay").mkdir(0o755)
    with site.config.open("a") as file:
        file.write('[auth.replay]\nstore = "sqlite"\npath = "replay/nonces"\n')
    done = site.start()
    assert done.returncode == 78
    assert f"{directory}/replay must be a directory that the daemon may write to" in done.stderr


def test_the_daemon_does_not_keep_the_group_of_root(directory: Path) -> None:
    site = Site(directory, UID)
    os.chown(site.spool, UID, 0)
    done = site.start()
    assert done.stdout.splitlines()[-1] == f"started {UID} {UID} [{UID}]", done.stderr
