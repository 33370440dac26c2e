"""A violation of a key's scope is explained with the value, the allowed values, and the remedy."""

from dataclasses import replace

import pytest

from audiohookd.auth.keys.model import UNSIGNED, Key
from audiohookd.auth.rejection import RejectionReason
from audiohookd.diagnostics.explain import diagnose
from audiohookd.diagnostics.hypotheses import Kind
from tests.auth.foreign_signer import CREATED, ORGANIZATION, SECRET, TARGET, signed, unsigned

LIMITED = Key(
    (SECRET,),
    organizations=frozenset({"11111111-0972-4844-938e-9060eef73d05"}),
    routes=frozenset({"/partner", "/b", "/c", "/d"}),
    not_after=CREATED - 60.0,
)


@pytest.mark.parametrize(
    ("key", "verdict", "expected"),
    [
        (LIMITED, RejectionReason.KEY_EXPIRED, ["at 2022-01-01 04:59:00 UTC", "a later not_after", "overlap"]),
        (
            replace(LIMITED, not_after=None),
            RejectionReason.ORGANIZATION_NOT_ALLOWED,
            [f"'{ORGANIZATION}' is not in", "('11111111-0972-4844-938e-9060eef73d05'): add it there"],
        ),
        (
            replace(LIMITED, not_after=None, organizations=None),
            RejectionReason.ROUTE_NOT_ALLOWED,
            [f"'{TARGET}' is not in", "('/b', '/c', '/d' and 1 more): add it there"],
        ),
    ],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_scope_violation_is_explained(
    key: Key, verdict: RejectionReason, expected: list[str], is_recorded: bool
) -> None:
    """With the value, the allowed values and the remedy, with and without a recorded rejection."""
    found = diagnose(signed(), (SECRET,), CREATED, key=key, seen=verdict if is_recorded else None)
    assert (found.verdict, found.causes[0].kind, found.causes[0].is_certain) == (verdict, Kind.SCOPE, True)
    assert [part for part in expected if part not in found.causes[0].text] == []


def test_the_scope_of_an_unsigned_key_is_checked() -> None:
    key = replace(LIMITED, secrets=(UNSIGNED,), not_after=None)
    assert diagnose(unsigned(), (UNSIGNED,), CREATED, key=key).verdict is RejectionReason.ORGANIZATION_NOT_ALLOWED


def test_a_forgery_reveals_no_scope() -> None:
    assert "11111111" not in str(diagnose(signed(secret=b"forged"), (SECRET,), CREATED, key=LIMITED).lines())


def test_a_wider_scope_makes_the_request_valid() -> None:
    wider, seen = Key((SECRET,)), RejectionReason.ORGANIZATION_NOT_ALLOWED
    assert diagnose(signed(), (SECRET,), CREATED, key=wider, seen=seen).verdict is None
