"""Errors for an invalid endpoint; a valid endpoint is passed to Twisted unchanged."""

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
def test_a_valid_endpoint_is_accepted(description: str) -> None:
    assert endpoint_of(MemoryReactor(), description, "") is not None


#: Passes sockets to itself as systemd does, the first as file descriptor 3, and prints the error of the endpoint.
PROGRAM = """
import os, socket, sys
description, names, *kinds = sys.argv[1:]
pairs = [kind.split() for kind in kinds]
made = [socket.socket(getattr(socket, "AF_" + family), getattr(socket, "SOCK_" + kind)) for family, kind in pairs]
files = [os.dup(each.fileno()) for each in made]
for number, file in enumerate([os.dup2(file, 100 + file) for file in files], 3):
    os.dup2(file, number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kinds))}
if names:
    os.environ["LISTEN_FDNAMES"] = names
from twisted.internet.testing import MemoryReactor
from audiohookd.endpoint import endpoint_of
try:
    for _ in range(2):  # as the daemon does: for calls, and for the admin port
        endpoint_of(MemoryReactor(), description, "x.toml: listen.endpoint")
except ValueError as error:
    print(error)
"""


class TestSystemdSocket:
    def error(self, description: str, *kinds: str, names: str = "calls") -> str:
        command = [sys.executable, "-c", PROGRAM, description, names, *kinds]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.removeprefix(f"x.toml: listen.endpoint: {description!r}: ").rstrip("\n")

    @pytest.mark.parametrize("which", ["index=0", "name=calls"])
    def test_passed_socket_is_accepted(self, which: str) -> None:
        assert self.error(f"systemd:domain=INET6:{which}", "INET6 STREAM") == ""

    def test_wrong_family_is_reported_with_the_remedy(self) -> None:
        error = self.error("systemd:domain=INET:index=0", "INET6 STREAM")
        assert error == "the socket that systemd passed is INET6: write domain=INET6"

    def test_datagram_socket_is_reported_with_the_remedy(self) -> None:
        error = self.error("systemd:domain=INET:name=calls", "INET DGRAM")
        assert error == "the socket that systemd passed is not a stream: its unit needs ListenStream="

    @pytest.mark.parametrize("index", ["2", "-1", "first"])
    def test_missing_index_is_reported_with_the_valid_range(self, index: str) -> None:
        error = self.error(f"systemd:domain=INET:index={index}", "INET STREAM", "INET STREAM", names="calls:admin")
        assert error == f"index must be a number from 0 to 1, not {index!r}: systemd passed 2"

    def test_unknown_name_is_reported(self) -> None:
        error = self.error("systemd:domain=INET:name=call", "INET STREAM", "INET STREAM", names="calls:admin")
        assert error == "systemd passed no socket named 'call': see FileDescriptorName= of the .socket unit"

    def test_unnamed_socket_is_ignored_by_twisted(self) -> None:
        """systemd names all of its sockets, but systemd-socket-activate only with --fdname."""
        error = self.error("systemd:domain=INET:index=0", "INET STREAM", names="")
        assert error.startswith(
            "systemd passed no socket: start the daemon by a .socket unit (or systemd-socket-activate -l"
        )
