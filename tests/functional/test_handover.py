"""Calls that move from one daemon to another: what is joined equals what was sent."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import PATIENCE, STEREO, Caller
from tests.functional.front_proxies import HAPROXY, Proxy
from tests.functional.place import Place
from tests.stores.ports import free_ports

#: Bytes of a frame of 200 ms, and of its samples per channel.
FRAME, SAMPLES = 3_200, 1_600
#: Frames of history that the client offers again: 2 s.
HISTORY = 10
#: ``HANDOVER_CALLS=200`` moves more.
CALLS = int(os.environ.get("HANDOVER_CALLS", "8"))
#: As in docs/proxies.rst, with faster checks.
BALANCED = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    default-server inter 100ms
frontend calls
    bind 127.0.0.1:{front}
    default_backend audiohookd
backend audiohookd
    balance leastconn
    option httpchk GET /ready
"""


class MovingCaller:
    """A client of Genesys Cloud with the option "Reconnections"."""

    def __init__(self, port: int) -> None:
        self.sent: list[bytes] = []
        self._conversation, self._participant = str(uuid4()), str(uuid4())
        self._random = random.Random(self._conversation)
        self._port = port
        self._caller = Caller(port)
        assert self._open(self._caller) == "opened"
        self._old: Caller | None = None

    def _open(self, caller: Caller, **more: Any) -> str:
        """Returns the type of the answer; empty if the proxy has none."""
        if caller.upgrade() != 101:
            return ""
        caller.say(
            "open",
            organizationId=caller.organization,
            conversationId=self._conversation,
            participant={"id": self._participant, "ani": "", "aniName": "", "dnis": ""},
            media=[STEREO],
            **more,
        )
        answer: str = caller.hear()["type"]
        return answer

    def speak(self, frames: int) -> None:
        """Sends new audio on the current connection."""
        for _ in range(frames):
            self.sent.append(self._random.randbytes(FRAME))
            self._caller.audio(self.sent[-1])

    def hear(self) -> str:
        kind: str = self._caller.hear()["type"]
        return kind

    def move(self) -> None:
        """Opens another connection, which repeats the history; the old one receives audio until then."""
        first = max(0, len(self.sent) - HISTORY)
        self.speak(3)
        self._old = self._caller
        self._continue(first)

    def move_after_loss(self) -> None:
        """Opens another connection after the old one was lost."""
        self._caller.socket.close()
        self._continue(max(0, len(self.sent) - HISTORY))

    def _continue(self, first: int) -> None:
        """Opens another connection, and repeats the audio from the frame ``first`` on.

        Retries as Genesys Cloud does, until the proxy knows which daemon accepts calls.
        """
        old, answer = self._caller, ""
        deadline = time.monotonic() + PATIENCE
        while answer != "opened":
            assert time.monotonic() < deadline, answer
            new = Caller(self._port)
            new.samples = first * SAMPLES
            continued = {"id": old.session, "serverseq": old.serverseq, "clientseq": old.seq}
            answer = self._open(new, continuedSessions=[continued])
            if answer != "opened":
                new.socket.close()
                time.sleep(0.1)
        for frame in self.sent[first:]:
            new.audio(frame)
        self._caller = new

    def leave_old(self) -> None:
        """Ends the old connection, as after a planned move."""
        assert self._old is not None
        self._old.say("close", reason="reconnect")
        assert self._old.hear()["type"] == "closed"
        self._old.socket.close()

    def close(self) -> None:
        assert self._caller.close()["type"] == "closed"
        self._caller.socket.close()

    @property
    def conversation(self) -> str:
        return self._conversation


@pytest.fixture
def two(bin: Path, tmp_path: Path) -> tuple[Place, Place]:  # noqa: A002
    """Two instances."""
    route = {"[route]": {"path": "/api/v1/audiohook/ws", "reconnect": True}}
    directories = tmp_path / "first", tmp_path / "second"
    for directory in directories:
        directory.mkdir()
    first, second = (Place(bin, directory, **route) for directory in directories)
    return first, second


def check_joined(callers: list[MovingCaller], places: tuple[Place, Place], directory: Path) -> list[dict[str, Any]]:
    """Joins the recordings of each call, and compares it with what was sent. Returns the sidecars of the second."""
    first, second = (there.sidecars(len(callers)) for there in places)
    for number, caller in enumerate(callers):
        parts = [one for one in (*first, *second) if one["recording"]["conversation"] == caller.conversation]
        assert len(parts) == 2
        out = directory / f"joined-{number}"
        command: list[Any] = [places[0].bin / "audiohookctl", "join", "--output", out]
        done = subprocess.run(
            [*command, *(part["wav"].with_suffix(".json") for part in parts)], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        content = out.with_name(out.name + ".wav").read_bytes()
        audio = content[content.index(b"data") + 8 :]
        assert audio == b"".join(caller.sent)
    return second


@pytest.fixture
def front(two: tuple[Place, Place], tmp_path: Path) -> Iterator[int]:
    """The port of HAProxy in front of both."""
    servers = [
        f"    server {number} 127.0.0.1:{there.port} check port {there.admin_port}"
        for number, there in enumerate(two)
    ]
    program = HAPROXY._replace(config="\n".join([BALANCED, *servers, ""]))
    (port,) = free_ports(1)
    with Proxy(program, tmp_path / "haproxy", port, two[0].port):
        yield port


def wait_until_used(front: int) -> None:
    """Waits until HAProxy sends calls to the daemon that runs."""
    deadline = time.monotonic() + PATIENCE
    status = 0
    while status != 101:
        assert time.monotonic() < deadline, status
        with Caller(front) as caller:
            status = caller.upgrade()
        time.sleep(0.1)


def test_a_drained_daemon_hands_its_calls_over(two: tuple[Place, Place], front: int, tmp_path: Path) -> None:
    first, second = two
    with first.daemon() as leaving:
        wait_until_used(front)
        callers = [MovingCaller(front) for _ in range(CALLS)]
        for caller in callers:
            caller.speak(25)
        with second.daemon():
            leaving.process.terminate()
            for caller in callers:
                assert caller.hear() == "reconnect"
                caller.move()
                caller.leave_old()
                caller.speak(5)
                caller.close()
            assert leaving.process.wait(30) in (0, -SIGTERM)
            continued = check_joined(callers, two, tmp_path)
    for sidecar in continued:
        assert len(sidecar["recording"]["continues"]) == 1
        assert sidecar["recording"]["startPosition"] == 15 * SAMPLES
    first_sessions = {sidecar["recording"]["session"] for sidecar in first.sidecars(CALLS)}
    assert {sidecar["recording"]["continues"][0] for sidecar in continued} == first_sessions


def test_a_killed_daemon_loses_nothing_that_the_client_repeats(
    two: tuple[Place, Place], front: int, tmp_path: Path
) -> None:
    first, second = two
    with first.daemon() as dying:
        wait_until_used(front)
        callers = [MovingCaller(front) for _ in range(CALLS)]
        for caller in callers:
            caller.speak(25)
        time.sleep(0.5)  # a commit is due every 0.1 s
        dying.process.kill()
        dying.process.wait(10)
    with second.daemon():
        for caller in callers:
            caller.move_after_loss()
            caller.speak(5)
            caller.close()
        with first.daemon():  # repairs the drafts
            check_joined(callers, two, tmp_path)
