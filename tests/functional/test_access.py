"""Which requests the daemon accepts, and how it rejects the others."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.functional.caller import API_KEY, Caller, signed_head
from tests.functional.place import Place


def test_a_valid_signature_is_accepted_once(served: Place) -> None:
    head = signed_head(served.port, str(uuid4()))
    with Caller(served.port, head) as first, Caller(served.port, head) as second:
        assert first.upgrade() == 101
        assert second.upgrade() == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"x_api_key": "c3RyYW5nZXI="},
        {"host": "elsewhere.example.com"},
        {"audiohook_organization_id": "30b0e395-84d3-4570-ac13-9a62d8f514c0"},
        {"signature": "sig1=:AA==:"},
        {"signature": "sig1=:" + "A" * 4000 + ":"},
        {"signature": ""},
        {"signature_input": "sig1=" + "(" * 3000},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_other_requests_are_rejected_after_half_a_second(served: Place, changed: dict[str, Any]) -> None:
    began = time.monotonic()
    with Caller(served.port, signed_head(served.port, str(uuid4()), **changed)) as caller:
        assert caller.upgrade() == 401
    assert time.monotonic() - began >= 0.5
    assert "Server:" not in caller.answer


def test_an_unsigned_request_needs_a_key_without_secret(place: Any) -> None:
    there = place()
    (there.directory / "keys.json").write_text(json.dumps({API_KEY: None}))
    with there.daemon():
        with Caller(there.port, signed_head(there.port, str(uuid4()), secret=None)) as caller:
            assert caller.upgrade() == 101
        with Caller(there.port, signed_head(there.port, str(uuid4()), secret=b"")) as caller:
            assert caller.upgrade() == 401


def test_a_rejection_in_the_session_is_a_disconnect(place: Any) -> None:
    there = place()
    there.write(auth={"keys_file": "keys.json", "rejection": "disconnect"})
    with there.daemon():
        caller = Caller(there.port)
        caller._head = caller._head.replace(b"signature: sig1=:", b"signature: sig1=:AAAA")
        with caller:
            answer = caller.open()
            assert (answer["type"], answer["seq"], answer["clientseq"]) == ("disconnect", 1, 0)
            assert answer["parameters"]["reason"] == "unauthorized"
            assert caller.close()["type"] == "closed"
    assert list(there.spool.glob("*/*")) == []


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /?redirect=https%3A%2F%2Fevil.example HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x0bX-Forwarded-For: 1.2.3.4\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x85X-Forwarded-For: 1.2.3.4\r\n\r\n", 426),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: \r\n" * 65 + b"\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000, 431),
    ],
    ids=["redirect", "smuggled", "obs-text", "folded", "a body", "chunks", "many headers", "nothing", "endless head"],
)
def test_malformed_requests_are_rejected(served: Place, request_: bytes, status: int) -> None:
    with Caller(served.port, request_ + b"\r\naudiohook-organization-id: \r\n") as caller:
        caller._head = request_
        assert caller.upgrade() == status


def test_organizations_must_agree(served: Place) -> None:
    with Caller(served.port) as caller:
        caller.organization = str(uuid4())
        answer = caller.open()
        assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "unauthorized")
