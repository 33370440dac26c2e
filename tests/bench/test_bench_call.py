"""A call to a server that does not read for a while."""

import socket

from audiohookd.cli.upgrade import Request
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.session import ClientSession
from audiohookd.protocol.messages import Open, Participant
from bench.generator.call import Call


class Owner:
    """Records the notifications."""

    def __init__(self) -> None:
        self.blocked: list[bool] = []
        self.files: list[int] = []  # of the socket, at each ``ended``

    def clock(self) -> float:
        return 0.0

    def opened(self, call: Call, seconds: float) -> None:
        raise AssertionError

    def answered(self, call: Call, seconds: float) -> None:
        raise AssertionError

    def watch(self, call: Call) -> None:
        self.blocked.append(call.is_blocked)

    def ended(self, call: Call) -> None:
        self.files.append(call.fileno())


def _call(server: socket.socket, owner: Owner) -> Call:
    opening = Open("o", "c", Participant("p", "", "", ""), offers(2))
    return Call(server.getsockname(), ClientSession("s", opening, owner.clock), Request(b"GET ", ""), 0, owner)


def test_bytes_that_a_socket_did_not_accept_follow_in_order_and_unblock_it() -> None:
    owner, received = Owner(), b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = _call(server, owner)
        far, _ = server.accept()
        frames = [bytes([number]) * 3_000_000 for number in (1, 2, 3)]
        call.finish(frames[0], 1)
        call.finish(frames[1], 0)
        call.finish(frames[2], 0)
        expected = b"GET " + frames[0][1:] + frames[1] + frames[2]
        while len(received) < len(expected):
            if call.is_blocked:
                call.writable()
            received += far.recv(1 << 20)
        far.close()
        assert received == expected
    assert (owner.blocked[0], owner.blocked[-1], call.is_blocked) == (True, False, False)
    call.drop("the test has ended")


def test_an_error_ends_the_call_before_its_socket_number_is_reused() -> None:
    owner = Owner()
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = _call(server, owner)
        call.finish(b"frame", -32)
    assert owner.files[0] >= 0
    assert call.is_disconnected
    assert call.failure == "connection lost: Broken pipe"
