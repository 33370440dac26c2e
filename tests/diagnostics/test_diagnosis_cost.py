"""The cost of a diagnosis is bounded for any request, because its thread takes the interpreter from calls."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.request import UpgradeRequest
from audiohookd.diagnostics import explain
from audiohookd.diagnostics.explain import MAX_HASHED, diagnose
from audiohookd.diagnostics.hypotheses import Hints
from audiohookd.websocket.http_head import MAX_HEAD
from tests.auth.foreign_signer import API_KEY, CREATED, replaced, signed

#: As many as a key can have.
A, B, C, D = (bytes([number]) * 32 for number in range(1, 5))
KEY = Key((A, B), previous=(C, D), previous_until=2**40)
KEYS = Keys({API_KEY: KEY, **{f"key{n:04d}": Key((n.to_bytes(20),)) for n in range(1, 2_001)}})
HINTS = Hints(tuple(f"h{n}.example" for n in range(4)), tuple(f"/p{n}" for n in range(4)))
LONG = MAX_HEAD - 1_500
#: Seconds of processor time. It was up to 0.1 s, and takes 0.01 s on the machine on which the limits were chosen.
ENOUGH = 0.08


def forged(**parameters: Any) -> UpgradeRequest:
    """A request with an unknown secret, spelled so that two renderings are tried."""
    request = signed(secret=b"of nobody", **parameters)
    spelled = request.headers["signature-input"].replace(";nonce", "; nonce")
    return replaced(request, signature_input=spelled)


def at(target: str, headers: Mapping[str, str] | None = None) -> UpgradeRequest:
    return UpgradeRequest(target, {**forged().headers, **(headers or {})})


REQUESTS = {
    "ordinary": forged(),
    "a long target": at("/" + "a" * LONG),
    "segments": at("/a" * (LONG // 2)),
    "escapes": at("/%41" * (LONG // 4)),
    "bad escapes": at("/" + "%" * LONG),
    "slashes": at("/" * LONG),
    "a long query": at("/?" + "x=aaaaaaaaaaaa&" * (LONG // 15)),
    "quotes": at("/?" + "aaaaaaaa'" * (LONG // 9)),
    "a long host": at("/a/b/c", {"host": "a." * (LONG // 2)}),
    "ports": at("/a/b/c", {"host": ":1" * (LONG // 2)}),
    "forwarded": at("/a/b/c", {"forwarded": "host=a;" * (LONG // 7)}),
    "names": at("/a/b/c", {"x-forwarded-host": "a," * (LONG // 2)}),
    "a long prefix": at("/a/b/c", {"x-forwarded-prefix": "/a" * (LONG // 2)}),
    "a long id": at("/a/b/c", {"audiohook-session-id": "a" * LONG}),
    "folds": at("/a/b/c", {"audiohook-session-id": "a" + "\r\n " * (LONG // 3) + "b"}),
    "lines of one character": at("/a/b/c", {"audiohook-session-id": "a\r\n " * (LONG // 4)}),
    "white space": at("/a/b/c", {"audiohook-session-id": "a" + " \t" * (LONG // 2) + "b"}),
    "values": at("/a" * 5_000, {"signature-input": 'sig1=();a="abcdefgh"' * 100}),
}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes of each MAC that was computed for a hypothesis."""
    sizes: list[int] = []
    mac = explain.mac  # type: ignore[attr-defined]

    def counted(secret: bytes, lines: str, rendering: str) -> bytes:
        sizes.append(len(lines) + len(rendering))
        return mac(secret, lines, rendering)

    monkeypatch.setattr(explain, "mac", counted)
    return sizes


def diagnosed(request: UpgradeRequest) -> explain.Diagnosis:
    return diagnose(request, KEYS, CREATED, HINTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_number_and_size_of_macs_are_limited(name: str, hashed: list[int]) -> None:
    diagnosed(REQUESTS[name])
    assert len(hashed) <= 8 * 400
    assert sum(hashed) <= MAX_HASHED + 10 * MAX_HEAD


@pytest.mark.parametrize("name", REQUESTS)
def test_a_diagnosis_takes_some_milliseconds(name: str) -> None:
    best = min(_seconds(REQUESTS[name]) for _ in range(3))
    assert best < ENOUGH


def _seconds(request: UpgradeRequest) -> float:
    begun = time.process_time()
    diagnosed(request)
    return time.process_time() - begun


def test_all_hypotheses_of_an_ordinary_request_are_tried(hashed: list[int]) -> None:
    found = diagnosed(REQUESTS["ordinary"])
    assert len(hashed) > 8 * 200
    assert not any("not all" in line for line in found.lines())


def test_a_diagnosis_that_did_not_try_all_says_so() -> None:
    found = diagnosed(REQUESTS["a long target"])
    assert any("the request is long: not all of the known causes were tried" in line for line in found.lines())
