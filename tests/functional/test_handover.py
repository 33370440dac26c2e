"""Calls that move from one daemon to another: what is joined equals what was sent."""

import os
import random
import subprocess
import time
from pathlib import Path
from signal import SIGTERM
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import STEREO, Caller
from tests.functional.place import Place

#: Bytes of a frame of 200 ms, and of its samples per channel.
FRAME, SAMPLES = 3_200, 1_600
#: Frames of history that the client offers again: 2 s.
HISTORY = 10
#: ``HANDOVER_CALLS=200`` moves more.
CALLS = int(os.environ.get("HANDOVER_CALLS", "8"))


class MovingCaller:
    """A client of Genesys Cloud with the option "Reconnections"."""

    def __init__(self, port: int) -> None:
        self.sent: list[bytes] = []
        self._conversation, self._participant = str(uuid4()), str(uuid4())
        self._random = random.Random(self._conversation)
        self._caller = Caller(port)
        self._open(self._caller)
        self._old: Caller | None = None

    def _open(self, caller: Caller, **more: Any) -> None:
        assert caller.upgrade() == 101
        caller.say(
            "open",
            organizationId=caller.organization,
            conversationId=self._conversation,
            participant={"id": self._participant, "ani": "", "aniName": "", "dnis": ""},
            media=[STEREO],
            **more,
        )
        assert caller.hear()["type"] == "opened"

    def speak(self, frames: int) -> None:
        """Sends new audio on the current connection."""
        for _ in range(frames):
            self.sent.append(self._random.randbytes(FRAME))
            self._caller.audio(self.sent[-1])

    def hear(self) -> str:
        kind: str = self._caller.hear()["type"]
        return kind

    def move(self, port: int) -> None:
        """Opens another connection, which repeats the history; the old one receives audio until then."""
        first = max(0, len(self.sent) - HISTORY)
        self.speak(3)
        self._old = self._caller
        self._continue(port, first)

    def move_after_loss(self, port: int) -> None:
        """Opens another connection after the old one was lost."""
        self._caller.socket.close()
        self._continue(port, max(0, len(self.sent) - HISTORY))

    def _continue(self, port: int, first: int) -> None:
        """Opens another connection, and repeats the audio from the frame ``first`` on."""
        old, new = self._caller, Caller(port)
        new.samples = first * SAMPLES
        continued = {"id": old.session, "serverseq": old.serverseq, "clientseq": old.seq}
        self._open(new, continuedSessions=[continued])
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


def test_a_drained_daemon_hands_its_calls_over(two: tuple[Place, Place], tmp_path: Path) -> None:
    first, second = two
    with second.daemon():
        with first.daemon() as leaving:
            callers = [MovingCaller(first.port) for _ in range(CALLS)]
            for caller in callers:
                caller.speak(25)
            leaving.process.terminate()
            for caller in callers:
                assert caller.hear() == "reconnect"
                caller.move(second.port)
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


def test_a_killed_daemon_loses_nothing_that_the_client_repeats(two: tuple[Place, Place], tmp_path: Path) -> None:
    first, second = two
    with second.daemon():
        with first.daemon() as dying:
            callers = [MovingCaller(first.port) for _ in range(CALLS)]
            for caller in callers:
                caller.speak(25)
            time.sleep(0.5)  # a commit is due every 0.1 s
            dying.process.kill()
            dying.process.wait(10)
        for caller in callers:
            caller.move_after_loss(second.port)
            caller.speak(5)
            caller.close()
        with first.daemon():  # repairs the drafts
            check_joined(callers, two, tmp_path)
