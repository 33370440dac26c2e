"""The record of rejected requests: bounded, and safe to show."""

import json
from typing import Any

import pytest

from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from audiohookd.diagnostics.explain import NO_HINTS
from audiohookd.diagnostics.hypotheses import Hints
from audiohookd.diagnostics.recent import RecentRejections
from tests.auth.foreign_signer import API_KEY, CREATED, HOST, SECRET, TARGET, replaced, signed, unsigned

KEYS = Keys({API_KEY: Key((SECRET,))})
REWRITTEN = replaced(signed(), host="backend:3000", x_forwarded_host=HOST)


def explained(refused: RecentRejections, keys: Keys = KEYS, hints: Hints = NO_HINTS) -> list[dict[str, Any]]:
    return [rejection.explained(keys, hints) for rejection in refused]


@pytest.fixture
def refused() -> RecentRejections:
    return RecentRejections(limit=3)


def test_the_newest_comes_first(refused: RecentRejections) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.SIGNATURE_WRONG, REWRITTEN)
    refused.note(CREATED + 500, "192.0.2.2", RejectionReason.TOO_OLD, signed())
    newest, oldest = explained(refused)
    assert (newest["at"], newest["peer"], newest["reason"]) == (CREATED + 500, "192.0.2.2", "too-old")
    assert (oldest["host"], oldest["target"]) == ("backend:3000", TARGET)
    assert any(line.startswith("    certain: Host was rewritten") for line in oldest["explanation"])


def test_the_record_is_bounded(refused: RecentRejections) -> None:
    for number in range(10):
        refused.note(CREATED, f"192.0.2.{number}", RejectionReason.SIGNATURE_WRONG, signed())
    assert [one.peer for one in refused] == ["192.0.2.9", "192.0.2.8", "192.0.2.7"]


def test_one_peer_does_not_push_out_the_others(refused: RecentRejections) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.TOO_OLD, signed())
    for later in range(100):
        refused.note(CREATED + later, "192.0.2.66", RejectionReason.SIGNATURE_WRONG, REWRITTEN)
    assert [(one.peer, one.times, one.at) for one in refused] == [
        ("192.0.2.66", 100, CREATED + 99),
        ("192.0.2.1", 1, CREATED),
    ]


def test_noise_without_a_key_is_not_kept(refused: RecentRejections) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.API_KEY_MISSING, unsigned(x_api_key=None))
    assert len(refused) == 0


def test_new_keys_are_taken_into_account(refused: RecentRejections) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.API_KEY_UNKNOWN, signed())
    before = explained(refused, Keys({}))
    assert "not among the keys" in str(before)
    assert explained(refused, Keys({}))[0] == before[0]
    assert "the request is valid" in str(explained(refused))


def test_a_scope_violation_shows_the_entry(refused: RecentRejections) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.ROUTE_NOT_ALLOWED, signed())
    text = str(explained(refused, Keys({API_KEY: Key((SECRET,), routes=frozenset({"/partner"}))})))
    assert f"'{TARGET}' is not in routes of the key's entry ('/partner')" in text
    assert "the request is valid" in str(explained(refused))


def test_hints_are_tried_for_one_question_only(
    refused: RecentRejections,
) -> None:
    refused.note(CREATED, "192.0.2.1", RejectionReason.SIGNATURE_WRONG, replaced(signed(), host="hook.example.org"))
    assert "certain" not in str(explained(refused))
    with_it = explained(refused, hints=Hints((HOST,)))
    assert f"certain: Host was rewritten on the way to 'hook.example.org': with '{HOST}'" in str(with_it)
    assert "certain" not in str(explained(refused))


@pytest.mark.parametrize("request_", [REWRITTEN, signed(), unsigned(), replaced(signed(), x_api_key="Q" * 32)])
@pytest.mark.parametrize("reason", RejectionReason)
def test_the_record_shows_no_credentials(reason: RejectionReason, request_: UpgradeRequest) -> None:
    refused = RecentRejections()
    refused.note(CREATED, "192.0.2.1", reason, request_)
    shown = json.dumps(explained(refused)) + repr(list(refused))
    mac = request_.headers.get("signature", "sig1=:nothing-at-all:").split(":")[1]
    for hidden in (API_KEY, "Q" * 32, SECRET.decode(), mac, mac[:10], "VGhpc0lzQVVuaXF1ZU5vbmNl"):
        assert hidden not in shown
