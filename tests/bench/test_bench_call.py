"""One call whose server does not read for a while."""

import socket

from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import Open, Participant
from bench.generator.call import Call
from bench.generator.upgrade import Upgrade


class Owner:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.clogged: list[bool] = []
        self.files: list[int] = []  # of the leg when it was told to have ended

    def clock(self) -> float:
        return 0.0

    def opened(self, leg: Call, seconds: float) -> None:
        raise AssertionError

    def answered(self, leg: Call, seconds: float) -> None:
        raise AssertionError

    def watch(self, leg: Call) -> None:
        self.clogged.append(leg.is_clogged)

    def ended(self, leg: Call) -> None:
        self.files.append(leg.fileno())


def _leg(server: socket.socket, owner: Owner) -> Call:
    opening = Open("o", "c", Participant("p", "", "", ""), offers(2))
    upgrade = Upgrade(b"GET ", b"")
    return Call(server.getsockname(), ClientSession("s", opening, owner.clock), upgrade, 0, owner)


def test_what_a_socket_does_not_take_follows_in_order_and_frees_it() -> None:
    owner, heard = Owner(), b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        leg = _leg(server, owner)
        far, _ = server.accept()
        frames = [bytes([number]) * 3_000_000 for number in (1, 2, 3)]
        leg.finish(frames[0], 1)
        leg.finish(frames[1], 0)
        leg.finish(frames[2], 0)
        wanted = b"GET " + frames[0][1:] + frames[1] + frames[2]
        while len(heard) < len(wanted):
            if leg.is_clogged:
                leg.writable()
            heard += far.recv(1 << 20)
        far.close()
        assert heard == wanted
    assert (owner.clogged[0], owner.clogged[-1], leg.is_clogged) == (True, False, False)
    leg.drop("that is all")


def test_a_fault_ends_it_before_its_socket_is_another_ones() -> None:
    owner = Owner()
    with socket.create_server(("127.0.0.1", 0)) as server:
        leg = _leg(server, owner)
        leg.finish(b"frame", -32)
    assert owner.files[0] >= 0
    assert leg.is_gone
    assert leg.failure == "connection lost: Broken pipe"
