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
    ("key", "verdict", "told"),
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
def test_what_a_key_may_not_do(key: Key, verdict: RejectionReason, told: list[str], is_recorded: bool) -> None:
    """With the value, the allowed values and the remedy, with and without a recorded rejection."""
    found = diagnose(signed(), (SECRET,), CREATED, key=key, seen=verdict if is_recorded else None)
    assert (found.verdict, found.causes[0].kind, found.causes[0].is_certain) == (verdict, Kind.SCOPE, True)
    assert [part for part in told if part not in found.causes[0].text] == []


def test_what_an_unsigned_key_may_not_do() -> None:
    key = replace(LIMITED, secrets=(UNSIGNED,), not_after=None)
    assert diagnose(unsigned(), (UNSIGNED,), CREATED, key=key).verdict is RejectionReason.ORGANIZATION_NOT_ALLOWED


def test_of_a_forgery_nothing_is_said_about_what_its_key_may_do() -> None:
    assert "11111111" not in str(diagnose(signed(secret=b"forged"), (SECRET,), CREATED, key=LIMITED).lines())


def test_an_entry_that_has_become_wider_meanwhile() -> None:
    wider, seen = Key((SECRET,)), RejectionReason.ORGANIZATION_NOT_ALLOWED
    assert diagnose(signed(), (SECRET,), CREATED, key=wider, seen=seen).verdict is None
