"""The compiled loop and the Python loop send the same frames, and return the same unsent frames."""

import errno
import os
import select
import socket
import time
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator import audio_sender
from bench.generator.audio_sender import BLOCKED, SILENT, AudioSender, Left, Voices, talk_in_python
from tests.programs import needs_compiler

FRAMES = (b"one", b"three", b"seventeen" * 400)
TICK = 0.001
KINDS = ("free", "silent", "clogged", "full", "gone")


class Pair:
    """A socket that receives the audio, and its other end."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)

    def received(self) -> bytes:
        """All bytes that arrived at the other end."""
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    def fill(self) -> None:
        """Writes until the socket accepts no more."""
        for size in (4096, 1):
            while _takes(self.near, b"?" * size):
                pass

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as epoll:
        yield epoll


@pytest.fixture(params=[audio_sender.talk, talk_in_python], ids=["as-installed", "in-python"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_sender, "talk", request.param)


both = pytest.mark.usefixtures("_both")


@needs_compiler
def test_the_compiled_loop_is_used_if_there_is_a_compiler() -> None:
    assert audio_sender.talk is not talk_in_python


slots = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 5000)),
    min_size=1,
    max_size=6,
)


@given(slots, st.data())
def test_both_loops_send_the_same(slots: list[tuple[str, int, int]], data: st.DataObject) -> None:
    kinds = [kind for kind, _, _ in slots]
    ages = sorted((age / 10 for _, _, age in slots), reverse=True)  # how long ago in s, nearly all of it due
    future = data.draw(st.integers(0, len(slots)))
    phases = [600.0 - age if slot < future else 1e6 for slot, age in enumerate(ages)]
    start = data.draw(st.integers(0, len(slots)))
    turns = [turn for _, turn, _ in slots]
    seen = [_sent(talk, kinds, turns, phases, start) for talk in (audio_sender.talk, talk_in_python)]
    assert seen[0] == seen[1]
    (slot, _), _, late, _ = seen[0]
    assert slot == max(start, future)
    assert late == sum(kind != "silent" for kind in kinds[start:future])


def _sent(talk: Any, kinds: list[str], turns: list[int], phases: list[float], start: int) -> Any:
    """Returns the result of ``talk``, the turns of the slots, the number of late frames, and the received bytes."""
    pairs = [Pair() for _ in kinds]
    files, said, late = array("i", map(_file, pairs, kinds)), array("i", turns), array("q", bytes(8 * 4096))
    now = time.monotonic()
    with select.epoll() as epoll:
        voices = Voices(FRAMES, array("d", phases), files, said, late)
        result = talk(voices, start, now - 600, now, TICK, epoll.fileno())
    received = [pair.received() for pair, kind in zip(pairs, kinds, strict=True) if kind == "free"]
    for pair in pairs:
        pair.close()
    return result, said, sum(late), received


def _file(pair: Pair, kind: str) -> int:
    if kind == "full":
        pair.fill()
    elif kind == "gone":
        pair.far.close()
    return {"silent": SILENT, "clogged": BLOCKED}.get(kind, pair.near.fileno())


def _takes(end: socket.socket, data: bytes) -> int:
    try:
        return end.send(data)
    except BlockingIOError:
        return 0


def _speech(frames: tuple[bytes, ...], firsts: list[int], rounds: int) -> AudioSender:
    """A sender that has its next ``rounds`` rounds due, and the round after them not for a long time."""
    period = 1000.0
    start = time.monotonic() - period * rounds + period / 2
    return AudioSender(frames, firsts, start, period, [0.002 - 0.001 * number for number in range(len(firsts))])


@both
def test_frames_repeat_after_the_last(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0, 2], 4)
    calls.set_socket(1, pair.near.fileno())
    for _ in range(5):
        assert calls.talk(0.0, TICK, epoll.fileno()) == []
    assert pair.received() == FRAMES[2] + FRAMES[0] + FRAMES[1] + FRAMES[2]
    assert [calls.frames(0), calls.frames(1), calls.total(), calls.first(1)] == [0, 4, 4, 2]
    assert sum(calls.lateness.counts) == calls.lateness.counts[-1] == 4


@both
def test_a_frame_that_a_socket_does_not_accept_is_returned(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [1], 3)

    def left(file: int) -> list[Left]:
        calls.set_socket(0, file)
        return calls.talk(0.0, TICK, epoll.fileno())

    assert left(BLOCKED) == [(0, FRAMES[1], 0)]
    assert left(_file(pair, "full")) == [(0, FRAMES[2], 0)]
    ((_, frame, taken),) = left(_file(pair, "gone"))
    assert frame == FRAMES[0]
    assert os.strerror(-taken) == os.strerror(errno.EPIPE)


@both
def test_a_partly_accepted_frame_is_returned(epoll: select.epoll) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(server.getsockname())
        near.setblocking(False)
        calls = _speech((b"x" * 8_000_000,), [0], 1)
        calls.set_socket(0, near.fileno())
        ((member, _, taken),) = calls.talk(0.0, TICK, epoll.fileno())
    assert member == 0
    assert 0 < taken < 8_000_000


@both
def test_the_loop_runs_until_there_is_something_to_read(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0], 0)
    epoll.register(pair.far, select.EPOLLIN)
    pair.near.send(b"?")
    assert calls.talk(time.monotonic() + 600.0, TICK, epoll.fileno()) == []


@both
def test_the_loop_runs_until_there_is_other_work(epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0], 0)
    until = time.monotonic() + 5 * TICK
    assert calls.talk(until, TICK, epoll.fileno()) == []
    assert time.monotonic() >= until


@both
def test_a_round_continues_at_the_next_slot(pair: Pair, epoll: select.epoll) -> None:
    later = 0.05
    calls = AudioSender((b"a", b"b"), [0, 1], time.monotonic() - 500.0, 1000.0, [500.0 + later, 1.0])
    for member in (0, 1):
        calls.set_socket(member, pair.near.fileno())
    assert calls.talk(0.0, TICK, epoll.fileno()) == []
    assert pair.received() == b"b"
    assert calls.talk(time.monotonic() + 10.0, TICK, epoll.fileno()) == []  # until the end of the round
    assert pair.received() == b"a"
    assert [calls.frames(0), calls.frames(1)] == [1, 1]


@needs_compiler
def test_arrays_of_different_lengths_are_an_error(epoll: select.epoll) -> None:
    one, none, late = array("i", [0]), array("i"), array("q", [0])
    for voices in (
        Voices(FRAMES, array("d", [0.0]), none, one, late),
        Voices(FRAMES, array("d", [0.0]), one, none, late),
        Voices(FRAMES, array("d", [0.0]), one, one, array("q")),
        Voices((), array("d", [0.0]), one, one, late),
    ):
        with pytest.raises(ValueError, match="voices"):
            audio_sender.talk(voices, 0, 0.0, 0.0, TICK, epoll.fileno())


def test_a_sender_without_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frames to send"):
        AudioSender((), [0], 0.0, 0.2, [0.1])
