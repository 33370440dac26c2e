"""Frames into sockets, compiled and in Python: the same bytes, and the same that is left over."""

import errno
import os
import socket
from array import array
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator import speech
from bench.generator.speech import CLOGGED, SILENT, Left, Speech, say_in_python

FRAMES = (b"one", b"three", b"seventeen" * 400)
SAY = pytest.mark.parametrize("say", [speech.say, say_in_python], ids=["as-installed", "in-python"])


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

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_it_is_compiled_here() -> None:
    assert speech.say is not say_in_python


kinds = st.lists(st.sampled_from(["free", "silent", "clogged", "full", "gone"]), min_size=1, max_size=6)


@given(kinds, st.data())
def test_both_say_the_same(kinds: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(kinds))))
    firsts = data.draw(st.lists(st.integers(0, 2), min_size=len(kinds), max_size=len(kinds)))
    start = data.draw(st.integers(0, len(kinds)))
    end = data.draw(st.integers(start, len(kinds)))
    pairs = [(Pair(), Pair()) for _ in kinds]
    seen = []
    for number, say in enumerate((speech.say, say_in_python)):
        own = [both[number] for both in pairs]
        files = array("i", [_file(pair, kind) for pair, kind in zip(own, kinds, strict=True)])
        turns = array("i", firsts)
        result = say(FRAMES, array("i", order), start, end, files, turns)
        seen.append((result, turns, [pair.heard() for pair, kind in zip(own, kinds, strict=True) if kind == "free"]))
    for both in pairs:
        for pair in both:
            pair.close()
    assert seen[0] == seen[1]
    assert seen[0][0][0] == sum(kinds[member] != "silent" for member in order[start:end])


def _file(pair: Pair, kind: str) -> int:
    if kind == "full":
        while _takes(pair.near, b"?" * 4096):
            pass
        while _takes(pair.near, b"?"):
            pass
    elif kind == "gone":
        pair.far.close()
    return {"silent": SILENT, "clogged": CLOGGED}.get(kind, pair.near.fileno())


def _takes(end: socket.socket, data: bytes) -> int:
    try:
        return end.send(data)
    except BlockingIOError:
        return 0


@SAY
def test_frames_come_round(say: object, monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    monkeypatch.setattr(speech, "say", say)
    calls = Speech(FRAMES, [0, 2])
    calls.into(1, pair.near.fileno())
    for _ in range(4):
        assert calls.say(array("i", [1, 0]), 0, 2) == (1, [])
    assert pair.heard() == FRAMES[2] + FRAMES[0] + FRAMES[1] + FRAMES[2]
    assert [calls.frames(0), calls.frames(1), calls.total(), calls.first(1)] == [0, 4, 4, 2]


@SAY
def test_what_a_socket_does_not_take_is_told(say: object, monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    monkeypatch.setattr(speech, "say", say)
    calls = Speech(FRAMES, [1])
    members = array("i", [0])

    def left() -> list[Left]:
        return calls.say(members, 0, 1)[1]

    calls.into(0, CLOGGED)
    assert left() == [(0, FRAMES[1], 0)]
    calls.into(0, _file(pair, "full"))
    assert left() == [(0, FRAMES[2], 0)]
    calls.into(0, _file(pair, "gone"))
    ((_, frame, taken),) = left()
    assert frame == FRAMES[0]
    assert os.strerror(-taken) == os.strerror(errno.EPIPE)


@SAY
def test_part_of_a_frame_is_told_as_well(say: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "say", say)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(server.getsockname())
        near.setblocking(False)
        calls = Speech((b"x" * 8_000_000,), [0])
        calls.into(0, near.fileno())
        said, ((member, _, taken),) = calls.say(array("i", [0]), 0, 1)
    assert (said, member) == (1, 0)
    assert 0 < taken < 8_000_000


def test_nothing_to_say_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        Speech((), [0])
