"""API keys with their secrets and scope, from one source or several."""

import dataclasses

import pytest

from audiohookd.auth.keys.model import UNSIGNED, Key, Keys, fingerprint, merged

SECRET, OTHER = b"a very secret secret", b"another secret one"


class TestKey:
    @pytest.mark.parametrize("secrets", [(), (b"1", b"2", b"3")])
    def test_key_has_one_secret_or_two(self, secrets: tuple[bytes, ...]) -> None:
        with pytest.raises(ValueError, match="1 to 2 secrets"):
            Key(secrets)

    def test_previous_secrets_are_valid_for_a_time(self) -> None:
        key = Key((b"new",), previous=(b"old",), previous_until=1000.0)
        assert key.secrets_at(999.9) == (b"new", b"old")
        assert key.secrets_at(1000.0) == (b"new",)

    def test_secrets_have_no_duplicates(self) -> None:
        key = Key((b"new", b"old"), previous=(b"old", b"new"), previous_until=1.0)
        assert key.secrets_at(0.0) == (b"new", b"old")

    def test_key_shows_no_secret(self) -> None:
        key = Key((SECRET,), frozenset({"org"}), None, 5.0, (b"older secret",), 6.0)
        assert "secret" not in repr(key)
        assert "org" in repr(key)

    def test_key_is_immutable(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            Key((SECRET,)).secrets = (b"other",)  # type: ignore[misc]


class TestKeys:
    def test_lookup_returns_the_key(self) -> None:
        keys = Keys({"signed": Key((SECRET,)), "unsigned": Key((UNSIGNED,))})
        assert keys.lookup("signed") == Key((SECRET,))
        assert keys.lookup("unsigned") == Key((UNSIGNED,))
        assert keys.lookup("other") is None
        assert len(keys) == 2
        assert sorted(keys) == ["signed", "unsigned"]

    def test_keys_do_not_change_with_their_source(self) -> None:
        given = {"a": Key((SECRET,))}
        keys = Keys(given)
        given["b"] = Key((UNSIGNED,))
        assert keys.lookup("b") is None

    def test_show_no_secret_and_no_key(self) -> None:
        keys = Keys({"signed": Key((SECRET,)), "open": Key((UNSIGNED,))})
        assert repr(keys) == str(keys) == "<Keys: 2, of which 1 without a secret>"

    def test_keys_are_equal_if_all_parts_are(self) -> None:
        assert Keys({"a": Key((SECRET,))}) == Keys({"a": Key((SECRET,))})
        assert hash(Keys({"a": Key((SECRET,))})) == hash(Keys({"a": Key((SECRET,))}))
        assert Keys({"a": Key((SECRET,))}) != Keys({"a": Key((b"other",))})
        assert Keys({}) != {}


class TestMerged:
    def test_empty_source_is_warned_of(self) -> None:
        _, remarks = merged([("file", Keys({})), ("aws", Keys({"b": Key((OTHER,))}))])
        assert remarks == ["file: contains no keys"]

    def test_unknown_route_is_warned_of(self) -> None:
        limited = Key((SECRET,), routes=frozenset({"/nope", "/call"}))
        sources = [("file", Keys({"a": limited, "b": Key((SECRET,))}))]
        _, (remark,) = merged(sources, {"/call", "/"})
        assert remark.startswith(
            f"the API key {fingerprint('a')} in file allows the path '/nope', which no [[route]] has"
        )
        assert merged(sources)[1] == []

    def test_keys_of_all_sources_are_merged(self) -> None:
        keys, remarks = merged([("file", Keys({"a": Key((SECRET,))})), ("aws", Keys({"b": Key((OTHER,))}))])
        assert keys == Keys({"a": Key((SECRET,)), "b": Key((OTHER,))})
        assert remarks == []

    def test_the_first_source_with_a_key_is_used(self) -> None:
        sources = [("file", Keys({"a": Key((SECRET,))})), ("aws", Keys({"a": Key((b"2",)), "b": Key((OTHER,))}))]
        keys, (remark,) = merged(sources)
        assert keys.lookup("a") == Key((SECRET,))
        assert keys.lookup("b") == Key((OTHER,))
        assert remark == f"the API key {fingerprint('a')} is in file and in aws: the first is used"


class TestShortSecret:
    """It can be guessed; but to refuse it would break what works."""

    @pytest.mark.parametrize("secrets", [(b"x" * 15,), (b"1",), (SECRET, b"short"), (b"short", UNSIGNED)])
    def test_short_secret_is_warned_of_and_valid(self, secrets: tuple[bytes, ...]) -> None:
        keys, (remark,) = merged([("file", Keys({"a": Key(secrets)}))])
        assert keys.lookup("a") == Key(secrets)
        assert remark == (
            f"the API key {fingerprint('a')} in file has a secret of less than 16 bytes,"
            " which can be guessed: set a longer one"
        )

    @pytest.mark.parametrize("key", [Key((b"x" * 16,)), Key((UNSIGNED,)), Key((SECRET,), previous=(b"short",))])
    def test_other_secrets_are_not_warned_of(self, key: Key) -> None:
        assert merged([("file", Keys({"a": key}))])[1] == []


def test_a_fingerprint_equals_that_of_sha256sum() -> None:
    """``printf %s KEY | sha256sum``, its beginning."""
    assert fingerprint("abc") == "sha256:ba7816bf"
    assert fingerprint("\ud800").startswith("sha256:")
