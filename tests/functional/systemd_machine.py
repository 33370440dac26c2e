"""Runs systemd as PID 1 in namespaces of its own, so that tests run units with the real systemd.

Files below /etc, /opt, /srv and /var are those on the host; changes are discarded with the machine. It uses the
network of the host.
"""

import os
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.functional.wheel import ROOT
from tests.programs import program

#: Seconds to wait for a start or a command before the test fails.
PATIENCE = 60.0
SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")

#: The commands of a shell in the new namespaces before it executes systemd. Debian's own start-up is disabled: its
#: tmpfiles would empty the host's /tmp.
BOOT = """
set -eu
mount -t proc proc /proc
umount -l /sys/fs/cgroup
if [ "$CGROUPS" = unified ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi
mount -t tmpfs tmpfs "$PLACE"
for name in etc opt srv var; do
  mkdir -p "$PLACE/$name/upper" "$PLACE/$name/work"
  mount -t overlay overlay -o "lowerdir=/$name,upperdir=$PLACE/$name/upper,workdir=$PLACE/$name/work" "/$name"
done
mkdir -p "$PLACE/units"
cp $KEPT "$PLACE/units"
for name in sysinit basic sockets network multi-user shutdown umount; do
  printf '[Unit]\\nDescription=%s\\nDefaultDependencies=no\\n' "$name" > "$PLACE/units/$name.target"
done
printf 'Wants=%s\\n' systemd-journald.service >> "$PLACE/units/basic.target"
mount --bind "$PLACE/units" /lib/systemd/system
rm -rf /etc/systemd/system
mkdir /etc/systemd/system
rm -f /etc/machine-id
cat /proc/sys/kernel/random/uuid | tr -d - > /etc/machine-id
mkdir -p /opt/python /opt/libraries /opt/installed /opt/clone
mount --bind "$LIBRARIES" /opt/libraries
mount --bind "$INSTALLED" /opt/installed
mount --bind "$CLONE" /opt/clone
if [ -n "$PYTHON" ]; then
  mount --bind "$PYTHON" /opt/python
  # Where it looks for its library itself, only root may look.
  echo /opt/python/lib > /etc/ld.so.conf.d/00-python.conf
  ldconfig
fi
mount -t tmpfs tmpfs /run
mkdir /run/lock
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount --make-rshared /
exec /lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=journal
"""
#: The units of Debian that are enabled: the journal.
KEPT = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket", "-.slice")


class Machine:
    """A machine that is booted inside the block, with the sources in ``/opt/clone``.

    :param place: a directory that does not exist yet.
    :param installed: the directory with the installed wheel; mounted as ``/opt/installed``.
    """

    def __init__(self, place: Path, installed: Path) -> None:
        self._place = place
        self._installed = installed
        self._groups = [path / f"audiohookd-test-{os.getpid()}-{place.name}" for path in _hierarchies()]

    def __enter__(self) -> "Machine":
        self._place.mkdir(parents=True)
        script = self._place.with_suffix(".boot")
        script.write_text(BOOT)
        base = Path(sys.base_prefix)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "PLACE": str(self._place),
            "LIBRARIES": sysconfig.get_path("purelib"),
            "INSTALLED": str(self._installed),
            "CLONE": str(ROOT),
            "PYTHON": "" if base.is_relative_to("/usr") else str(base),
            "KEPT": " ".join(str(UNITS / name) for name in KEPT if (UNITS / name).exists()),
            "CGROUPS": "hybrid" if Path("/sys/fs/cgroup/systemd").exists() else "unified",
            "container": "lxc",
        }
        joined = "".join(f"echo $$ > {group}/cgroup.procs; " for group in self._groups)
        for group in self._groups:
            group.mkdir()
        spaces = "unshare --mount --propagation private --pid --fork --kill-child --cgroup --uts --ipc"
        self._log = script.with_suffix(".log").open("w+b")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"{joined}exec {spaces} /bin/sh {script}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while True:
            said = Path(self._log.name).read_text("utf-8", "replace")
            assert self._process.poll() is None, f"systemd ended: {said}"
            assert time.monotonic() < deadline, f"systemd does not come up: {said}"
            self._pid = children.read_text().strip()
            if self._pid and Path(f"/proc/{self._pid}/comm").read_text().strip() == "systemd":
                state = self.run("systemctl is-system-running", check=False)
                if state.strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # --kill-child also ends all processes that it has started
        self._process.wait(PATIENCE)
        self._log.close()
        for group in self._groups:
            _remove(group)

    def run(self, commands: str, check: bool = True) -> str:
        """Runs shell commands in the machine as root, and returns their output."""
        inside = ["nsenter", "--target", self._pid, "--mount", "--pid", "--cgroup", "--uts", "--ipc"]
        done = subprocess.run(
            [*inside, "/bin/sh", "-ec", commands],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not check or done.returncode == 0, f"{commands}\n{done.stdout}\n{self.journal()}"
        return done.stdout

    def connect(self, path: str) -> socket.socket:
        """Connects to a UNIX socket in the file system of the machine."""
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(PATIENCE)
        connected.connect(f"/proc/{self._pid}/root{path}")
        return connected

    def write(self, path: str, text: str) -> None:
        """Writes a file in the machine."""
        self.run(f"mkdir -p $(dirname {path}); cat > {path} <<'END OF FILE'\n{text}\nEND OF FILE")

    def install(self) -> None:
        """Makes the environment ``/opt/audiohookd``, as pip would from the wheel and its lock."""
        self.run(
            f"""
            {_python()} -m venv --without-pip /opt/audiohookd
            printf '/opt/installed\\n/opt/libraries\\n' > "$(echo /opt/audiohookd/lib/python*/site-packages)/all.pth"
            for name in twistd:twisted.scripts.twistd:run audiohookctl:audiohookd.cli.main:main; do
              IFS=: read -r program module function <<END
$name
END
              printf '#!/opt/audiohookd/bin/python\\nfrom %s import %s\\n%s()\\n' "$module" "$function" "$function" \\
                > "/opt/audiohookd/bin/$program"
              chmod 755 "/opt/audiohookd/bin/$program"
            done
            """
        )

    def journal(self, unit: str = "audiohookd") -> str:
        """The log lines of the unit, and systemd's lines about it."""
        return self.run(f"journalctl --no-pager --output=cat --unit={unit}", check=False)


def needed() -> None:
    """Skips the test if this system cannot boot a machine."""
    program("systemctl", "systemd")
    spaces = [program("unshare", "util-linux"), "--mount", "--pid", "--fork", "--cgroup", "true"]
    if os.getuid() != 0 or not SYSTEMD.exists() or subprocess.run(spaces, check=False).returncode != 0:
        pytest.skip("they need root, to start systemd in namespaces of its own")


def _hierarchies() -> list[Path]:
    """The directory of our own control group in each hierarchy."""
    places = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
    return places if places[0].exists() else [Path("/sys/fs/cgroup")]


def _remove(group: Path) -> None:
    """Removes a control group after its children. This takes a moment, until its last process has ended."""
    for _ in range(100):
        try:
            for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                below.rmdir()
            group.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _python() -> str:
    """The path of the tests' interpreter inside the machine."""
    base = Path(sys.base_prefix)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefix = base if base.is_relative_to("/usr") else Path("/opt/python")
    return str(prefix / "bin" / name)
