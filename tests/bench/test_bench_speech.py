"""Frames into sockets when they are due, compiled and in Python: the same bytes, and the same that is left over."""

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
from bench.generator.audio_sender import CLOGGED, SILENT, AudioSender, Left, Voices, talk_in_python
from tests.programs import needs_compiler

FRAMES = (b"one", b"three", b"seventeen" * 400)
TICK = 0.001
KINDS = ("free", "silent", "clogged", "full", "gone")


class Pair:
    """A socket that is spoken into, and its other end."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            end.setblocking(False)

    def heard(self) -> bytes:
        """All that came out."""
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""

    def fill(self) -> None:
        """Until it takes nothing any more."""
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
def test_where_there_is_a_compiler_it_was_used() -> None:
    assert audio_sender.talk is not talk_in_python


slots = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 5000)),
    min_size=1,
    max_size=6,
)


@given(slots, st.data())
def test_both_say_the_same(slots: list[tuple[str, int, int]], data: st.DataObject) -> None:
    kinds = [kind for kind, _, _ in slots]
    ages = sorted((age / 10 for _, _, age in slots), reverse=True)  # how long ago in s, nearly all of it due
    future = data.draw(st.integers(0, len(slots)))
    phases = [600.0 - age if slot < future else 1e6 for slot, age in enumerate(ages)]
    start = data.draw(st.integers(0, len(slots)))
    turns = [turn for _, turn, _ in slots]
    seen = [_said(talk, kinds, turns, phases, start) for talk in (audio_sender.talk, talk_in_python)]
    assert seen[0] == seen[1]
    (slot, _), _, late, _ = seen[0]
    assert slot == max(start, future)
    assert late == sum(kind != "silent" for kind in kinds[start:future])


def _said(talk: Any, kinds: list[str], turns: list[int], phases: list[float], start: int) -> Any:
    """What comes of it, which slots' turns have gone on how far, how many frames were late, and what was heard."""
    pairs = [Pair() for _ in kinds]
    files, said, late = array("i", map(_file, pairs, kinds)), array("i", turns), array("q", bytes(8 * 4096))
    now = time.monotonic()
    with select.epoll() as epoll:
        voices = Voices(FRAMES, array("d", phases), files, said, late)
        result = talk(voices, start, now - 600, now, TICK, epoll.fileno())
    heard = [pair.heard() for pair, kind in zip(pairs, kinds, strict=True) if kind == "free"]
    for pair in pairs:
        pair.close()
    return result, said, sum(late), heard


def _file(pair: Pair, kind: str) -> int:
    if kind == "full":
        pair.fill()
    elif kind == "gone":
        pair.far.close()
    return {"silent": SILENT, "clogged": CLOGGED}.get(kind, pair.near.fileno())


def _takes(end: socket.socket, data: bytes) -> int:
    try:
        return end.send(data)
    except BlockingIOError:
        return 0


def _speech(frames: tuple[bytes, ...], firsts: list[int], rounds: int) -> AudioSender:
    """Whose next ``rounds`` rounds are due, and the one after not for a long time."""
    period = 1000.0
    start = time.monotonic() - period * rounds + period / 2
    return AudioSender(frames, firsts, start, period, [0.002 - 0.001 * number for number in range(len(firsts))])


@both
def test_frames_come_round(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0, 2], 4)
    calls.into(1, pair.near.fileno())
    for _ in range(5):
        assert calls.talk(0.0, TICK, epoll.fileno()) == []
    assert pair.heard() == FRAMES[2] + FRAMES[0] + FRAMES[1] + FRAMES[2]
    assert [calls.frames(0), calls.frames(1), calls.total(), calls.first(1)] == [0, 4, 4, 2]
    assert sum(calls.lateness.counts) == calls.lateness.counts[-1] == 4


@both
def test_what_a_socket_does_not_take_is_told(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [1], 3)

    def left(file: int) -> list[Left]:
        calls.into(0, file)
        return calls.talk(0.0, TICK, epoll.fileno())

    assert left(CLOGGED) == [(0, FRAMES[1], 0)]
    assert left(_file(pair, "full")) == [(0, FRAMES[2], 0)]
    ((_, frame, taken),) = left(_file(pair, "gone"))
    assert frame == FRAMES[0]
    assert os.strerror(-taken) == os.strerror(errno.EPIPE)


@both
def test_part_of_a_frame_is_told_as_well(epoll: select.epoll) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(server.getsockname())
        near.setblocking(False)
        calls = _speech((b"x" * 8_000_000,), [0], 1)
        calls.into(0, near.fileno())
        ((member, _, taken),) = calls.talk(0.0, TICK, epoll.fileno())
    assert member == 0
    assert 0 < taken < 8_000_000


@both
def test_it_goes_on_until_there_is_something_to_hear(pair: Pair, epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0], 0)
    epoll.register(pair.far, select.EPOLLIN)
    pair.near.send(b"?")
    assert calls.talk(time.monotonic() + 600.0, TICK, epoll.fileno()) == []


@both
def test_it_goes_on_until_there_is_something_else_to_do(epoll: select.epoll) -> None:
    calls = _speech(FRAMES, [0], 0)
    until = time.monotonic() + 5 * TICK
    assert calls.talk(until, TICK, epoll.fileno()) == []
    assert time.monotonic() >= until


@both
def test_a_round_goes_on_where_it_was_left(pair: Pair, epoll: select.epoll) -> None:
    later = 0.05
    calls = AudioSender((b"a", b"b"), [0, 1], time.monotonic() - 500.0, 1000.0, [500.0 + later, 1.0])
    for member in (0, 1):
        calls.into(member, pair.near.fileno())
    assert calls.talk(0.0, TICK, epoll.fileno()) == []
    assert pair.heard() == b"b"
    assert calls.talk(time.monotonic() + 10.0, TICK, epoll.fileno()) == []  # until the end of the round
    assert pair.heard() == b"a"
    assert [calls.frames(0), calls.frames(1)] == [1, 1]


@needs_compiler
def test_arrays_that_do_not_belong_together_are_a_mistake(epoll: select.epoll) -> None:
    one, none, late = array("i", [0]), array("i"), array("q", [0])
    for voices in (
        Voices(FRAMES, array("d", [0.0]), none, one, late),
        Voices(FRAMES, array("d", [0.0]), one, none, late),
        Voices(FRAMES, array("d", [0.0]), one, one, array("q")),
        Voices((), array("d", [0.0]), one, one, late),
    ):
        with pytest.raises(ValueError, match="voices"):
            audio_sender.talk(voices, 0, 0.0, 0.0, TICK, epoll.fileno())


def test_nothing_to_say_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        AudioSender((), [0], 0.0, 0.2, [0.1])
