"""What is said of an endpoint that cannot be listened on, and that the others are taken as they are."""

import subprocess
import sys

import pytest
from twisted.internet.testing import MemoryReactor

from audiohookd.endpoint import endpoint_of


@pytest.mark.parametrize(
    "description",
    [
        "tcp:3000",
        "tcp:0",
        "tcp:65535",
        "tcp:port=3000",
        "tcp:3000:interface=localhost:backlog=9",
        r"tcp6:3000:interface=\:\:1",
        "unix:/run/x.sock:mode=660",
        "haproxy:tcp:3000",
        "HAPROXY:tcp:3000",
    ],
)
def test_an_endpoint_is_taken_as_twisted_takes_it(description: str) -> None:
    assert endpoint_of(MemoryReactor(), description, "") is not None


#: Passes sockets to itself as systemd does, the first as file 3, and says why the endpoint is none.
PROGRAM = """
import os, socket, sys
description, names, *kinds = sys.argv[1:]
pairs = [kind.split() for kind in kinds]
made = [socket.socket(getattr(socket, "AF_" + one), getattr(socket, "SOCK_" + two)) for one, two in pairs]
files = [os.dup(one.fileno()) for one in made]
for number, file in enumerate([os.dup2(file, 100 + file) for file in files], 3):
    os.dup2(file, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kinds))}
if names:
    os.environ["LISTEN_FDNAMES"] = names
from twisted.internet.testing import MemoryReactor
from audiohookd.endpoint import endpoint_of
try:
    for _ in range(2):  # that of the calls, and that of the admin port
        endpoint_of(MemoryReactor(), description, "x.toml: listen.endpoint")
except ValueError as fault:
    print(fault)
"""


class TestASocketOfSystemd:
    def said(self, description: str, *kinds: str, names: str = "calls") -> str:
        command = [sys.executable, "-c", PROGRAM, description, names, *kinds]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.removeprefix(f"x.toml: listen.endpoint: {description!r}: ").rstrip("\n")

    @pytest.mark.parametrize("which", ["index=0", "name=calls"])
    def test_is_taken(self, which: str) -> None:
        assert self.said(f"systemd:domain=INET6:{which}", "INET6 STREAM") == ""

    def test_of_another_family_is_named_with_what_to_write(self) -> None:
        said = self.said("systemd:domain=INET:index=0", "INET6 STREAM")
        assert said == "the socket that systemd passed is INET6: write domain=INET6"

    def test_that_is_no_stream_is_named_with_what_to_write(self) -> None:
        said = self.said("systemd:domain=INET:name=calls", "INET DGRAM")
        assert said == "the socket that systemd passed is not a stream: its unit needs ListenStream="

    @pytest.mark.parametrize("index", ["2", "-1", "first"])
    def test_that_there_is_not_is_named_with_those_there_are(self, index: str) -> None:
        said = self.said(f"systemd:domain=INET:index={index}", "INET STREAM", "INET STREAM", names="calls:admin")
        assert said == f"index must be a number from 0 to 1, not {index!r}: systemd passed 2"

    def test_of_an_unknown_name_is_named_with_those_there_are(self) -> None:
        said = self.said("systemd:domain=INET:name=call", "INET STREAM", "INET STREAM", names="calls:admin")
        assert said == "systemd passed no socket named 'call': see FileDescriptorName= of the .socket unit"

    def test_without_a_name_is_ignored_by_twisted(self) -> None:
        """systemd names all of them, but systemd-socket-activate only with --fdname."""
        said = self.said("systemd:domain=INET:index=0", "INET STREAM", names="")
        assert said.startswith("systemd passed no socket: start it by a .socket unit (or systemd-socket-activate -l")
