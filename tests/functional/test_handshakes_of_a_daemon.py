"""The opening handshake, clause by clause, with the installed daemon over real sockets."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from tests.functional.caller import Caller, signed_head
from tests.functional.place import Place
from tests.websocket.handshake_clauses import ACCEPTED, REJECTED, Change, with_line

#: Bytes that are sent at a time: a longer head arrives in several pieces.
PIECE = 1_000


@pytest.fixture(scope="module")
def place(bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: A002
    there = Place(bin, tmp_path_factory.mktemp("handshake"))
    limits = {"handshakes_per_second": 0, "handshakes_per_second_total": 0}
    there.write(limits=limits)
    with there.daemon():
        yield there


def status(port: int, change: Change) -> int:
    """The status of the response to a request that is changed after it is signed."""
    head = change(signed_head(port, str(uuid4())))
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for at in range(0, len(head), PIECE):
            connection.sendall(head[at : at + PIECE])
        answer = b""
        while b"\r\n\r\n" not in answer and (piece := connection.recv(4096)):
            answer += piece
    return int(answer[9:12])


def statuses(port: int, changes: dict[str, Change]) -> dict[str, int]:
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda change: status(port, change), changes.values())
        return dict(zip(changes, found, strict=True))


def test_handshakes_that_the_rfcs_allow_are_accepted(place: Place) -> None:
    assert statuses(place.port, ACCEPTED) == dict.fromkeys(ACCEPTED, 101)


def test_handshakes_that_the_rfcs_forbid_are_rejected(place: Place) -> None:
    changes = {clause: case.change for clause, case in REJECTED.items()}
    assert statuses(place.port, changes) == {clause: case.status for clause, case in REJECTED.items()}


def test_a_call_with_obs_text_in_a_header_is_recorded(place: Place) -> None:
    before = len(list(place.spool.glob("ready/*/*.json")))
    session = str(uuid4())
    head = with_line("Cf-Ipcity: S\u00e3o Paulo".encode())(signed_head(place.port, session))
    head = head.replace(b"GenesysCloud-AudioHook-Client", "Genesys \u00e0 la carte".encode())
    with Caller(place.port, head) as caller:
        caller.session = session
        assert caller.open()["type"] == "opened"
        caller.audio(bytes(1600))
        assert caller.close()["type"] == "closed"
    sidecars = place.sidecars(before + 1)
    (sidecar,) = (sidecar for sidecar in sidecars if sidecar["recording"]["session"] == session)
    (about,) = (entry["data"] for entry in sidecar["body"] if entry["type"] == "httpInfo")
    assert about["headers"]["user-agent"] == "Genesys \u00e0 la carte"
    assert "cf-ipcity" not in about["headers"]
