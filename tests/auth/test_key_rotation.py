"""Two versions of one secret, both valid for a time."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.keys.model import UNSIGNED, Key, Keys
from audiohookd.auth.keys.rotation import Rotation, merge_versions

UNTIL = 1000.0


class TestRotationTime:
    def test_first_version_has_its_creation_time(self) -> None:
        assert Rotation().since("1", created=100.0, now=500.0) == 100.0

    def test_creation_time_is_not_in_the_future(self) -> None:
        """The clock of the source may be ahead."""
        assert Rotation().since("1", created=501.0, now=500.0) == 500.0

    def test_later_version_has_the_time_it_was_seen(self) -> None:
        rotation = Rotation()
        rotation.since("1", 100.0, 500.0)
        assert rotation.since("1", 100.0, 600.0) == 100.0
        assert rotation.since("2", 150.0, 700.0) == 700.0
        assert rotation.since("2", 150.0, 800.0) == 700.0


class TestMergedKeys:
    def test_new_and_old_secret_are_valid(self) -> None:
        keys = merge_versions(Keys({"a": Key((b"new",))}), Keys({"a": Key((b"old",))}), UNTIL)
        key = keys.lookup("a")
        assert key is not None
        assert key.secrets_at(UNTIL - 1) == (b"new", b"old")
        assert key.secrets_at(UNTIL) == (b"new",)
        assert key.not_after is None

    def test_a_first_secret_still_allows_unsigned_requests(self) -> None:
        """The moment from which requests are signed is unknown."""
        key = merge_versions(Keys({"a": Key((b"new",))}), Keys({"a": Key((UNSIGNED,))}), UNTIL).lookup("a")
        assert key is not None
        assert UNSIGNED in key.secrets_at(UNTIL - 1)
        assert UNSIGNED not in key.secrets_at(UNTIL)

    def test_a_removed_key_expires_with_the_overlap(self) -> None:
        assert merge_versions(Keys({}), Keys({"a": Key((b"old",))}), UNTIL).lookup("a") == Key(
            (b"old",), not_after=UNTIL
        )

    def test_a_removed_key_expires_at_an_earlier_not_after(self) -> None:
        keys = merge_versions(Keys({}), Keys({"a": Key((b"old",), not_after=5.0)}), UNTIL)
        assert keys.lookup("a") == Key((b"old",), not_after=5.0)

    def test_the_scope_is_that_of_the_new_version(self) -> None:
        """So a key can be revoked at once."""
        current = Keys({"a": Key((b"new",), frozenset({"x"}), frozenset({"/r"}), 7.0)})
        key = merge_versions(current, Keys({"a": Key((b"old",))}), UNTIL).lookup("a")
        assert key is not None
        assert (key.organizations, key.routes, key.not_after) == ({"x"}, {"/r"}, 7.0)


keys_of = st.dictionaries(st.sampled_from("abc"), st.sampled_from([b"", b"1", b"2"]).map(lambda one: Key((one,))))


@given(keys_of, keys_of, st.floats(0, 2000))
def test_exactly_the_keys_of_both_versions_are_accepted(
    current: dict[str, Key], previous: dict[str, Key], now: float
) -> None:
    keys = merge_versions(Keys(current), Keys(previous), UNTIL)
    versions = [current, previous] if now < UNTIL else [current]
    for api_key in "abc":
        key = keys.lookup(api_key)
        ended = key is None or (key.not_after is not None and now >= key.not_after)
        found = set() if key is None or ended else set(key.secrets_at(now))
        assert found == {secret for version in versions if api_key in version for secret in version[api_key].secrets}
