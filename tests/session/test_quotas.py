"""How many sessions an organization, and an API key, may have."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.session.quotas import Owner, Quotas

OWNERS = st.builds(Owner, st.sampled_from(["acme", "globex"]), st.sampled_from(["one", "two"]))


@given(st.lists(OWNERS), st.integers(1, 4), st.integers(1, 4))
def test_nobody_ever_has_more_than_the_quota(asking: list[Owner], per_organization: int, per_key: int) -> None:
    quotas = Quotas(per_organization, per_key)
    organizations, keys = Counter[str](), Counter[str]()
    for owner in asking:
        full = organizations[owner.organization] == per_organization or keys[owner.key] == per_key
        assert (quotas.exhausted(owner) is not None) == full
        if not full:
            quotas.acquire(owner)
            organizations[owner.organization] += 1
            keys[owner.key] += 1


def test_a_place_that_is_given_back_is_free() -> None:
    quotas = Quotas(per_organization=1)
    owner = Owner("acme", "one")
    quotas.acquire(owner)
    assert quotas.exhausted(owner) == "sessions-per-organization"
    quotas.release(owner)
    assert quotas.exhausted(owner) is None


@pytest.mark.parametrize("count", [0, 1000])
def test_without_a_quota_there_is_no_end(count: int) -> None:
    quotas = Quotas()
    for _ in range(count):
        quotas.acquire(Owner("acme", "one"))
    assert quotas.exhausted(Owner("acme", "one")) is None


def test_a_key_is_not_shown() -> None:
    assert "one" not in repr(Owner("acme", "one"))
