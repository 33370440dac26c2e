"""Protocol section 2.1: API keys and base64 secrets in JSON, and the errors in such a file."""

import base64
import json
import traceback
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.keys.model import UNSIGNED, Key, Keys, fingerprint
from audiohookd.auth.keys.parse import BadKeys, read_keys

SECRET = "U2VjcmV0U2VjcmV0"
DECODED = b"SecretSecret"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"


def one(entry: object) -> Key:
    """Parses one entry of a file."""
    key = read_keys(json.dumps({"key": entry})).lookup("key")
    assert key is not None
    return key


class TestSecrets:
    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            ('"c2VjcmV0"', b"secret"),
            ('"c2VjcmV0cw=="', b"secrets"),
            ('"c2VjcmV0cw"', b"secrets"),
            ('"c2VjcmV0c2U="', b"secretse"),
            ('"c2VjcmV0c2U"', b"secretse"),
            ('"+/+/"', b"\xfb\xff\xbf"),
            ('""', UNSIGNED),
            ("null", UNSIGNED),
        ],
    )
    def test_secrets_are_base64(self, text: str, secret: bytes) -> None:
        longer = (f'{{"secret": {text}}}', f'{{"secret": [{text}]}}') if text != '""' else ()
        for entry in (text, *longer):
            assert read_keys(f'{{"key": {entry}}}').lookup("key") == Key((secret,))

    def test_two_secrets_are_allowed(self) -> None:
        assert one({"secret": [SECRET, None]}) == Key((DECODED, UNSIGNED))

    @pytest.mark.parametrize("api_key", ["a", "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", "a+b/c_d-e", "a=", "a=="])
    def test_valid_api_keys_are_read(self, api_key: str) -> None:
        assert read_keys(f'{{"{api_key}": null}}').lookup(api_key) == Key((UNSIGNED,))

    @pytest.mark.parametrize("api_key", ["", "=", "a===", "a=b", "a b", "a\\n", "\\u00e4", "a,b"])
    def test_invalid_api_key_is_rejected(self, api_key: str) -> None:
        with pytest.raises(BadKeys, match=r"^API key of entry 2: use only letters, digits"):
            read_keys(f'{{"good": null, "{api_key}": "{SECRET}"}}')

    @pytest.mark.parametrize("text", ["{}", b"\xef\xbb\xbf{}", " {\n} "])
    def test_empty_object_has_no_keys(self, text: str | bytes) -> None:
        assert len(read_keys(text)) == 0


class TestScope:
    def test_scope_is_unlimited_by_default(self) -> None:
        assert one({"secret": SECRET}) == one(SECRET) == Key((DECODED,))

    def test_scope_is_read(self) -> None:
        limits = {
            "organizations": [ORGANIZATION.upper(), "30b0e395-84d3-4570-ac13-9a62d8f514c0"],
            "routes": ["/a", "/a/b"],
            "not_after": "2026-01-31T00:00:00Z",
        }
        key = one({"secret": SECRET, **limits})
        assert key.organizations == {ORGANIZATION, "30b0e395-84d3-4570-ac13-9a62d8f514c0"}
        assert key.routes == {"/a", "/a/b"}
        assert key.not_after == 1_769_817_600.0

    @pytest.mark.parametrize(
        "text", ["2026-01-31T01:00:00+01:00", "2026-01-31t00:00:00z", "2026-01-31T00:00:00.000000Z"]
    )
    def test_times_are_those_of_rfc_3339(self, text: str) -> None:
        assert one({"secret": SECRET, "not_after": text}).not_after == 1_769_817_600.0

    @pytest.mark.parametrize(
        "text",
        [
            "2026-01-31",
            "2026-01-31T00:00:00",
            "2026-13-31T00:00:00Z",
            "2026-01-30T23:59:60Z",
            "20260131T000000Z",
            "now",
            "",
            5,
            None,
        ],
    )
    def test_invalid_time_is_rejected(self, text: object) -> None:
        with pytest.raises(BadKeys, match="not_after"):
            one({"secret": SECRET, "not_after": text})

    @pytest.mark.parametrize("value", [[], "x", ORGANIZATION, [ORGANIZATION, 5], ["x"], [[ORGANIZATION]], None, {}])
    def test_invalid_organizations_are_rejected(self, value: object) -> None:
        with pytest.raises(BadKeys, match='"organizations" must be a list of UUIDs'):
            one({"secret": SECRET, "organizations": value})

    @pytest.mark.parametrize("value", [[], "/a", ["a"], ["/a?b"], ["/a#b"], ["/ä"], [""], [None]])
    def test_invalid_routes_are_rejected(self, value: object) -> None:
        with pytest.raises(BadKeys, match='"routes" must be a list of paths'):
            one({"secret": SECRET, "routes": value})


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", 'is empty: write {"API key": "secret in base64"}'),
            (b" \n\t\r\n", 'is empty: write {"API key": "secret in base64"}'),
            (f'{{\n"a": "{SECRET}",}}', "not JSON: correct line 2"),
            (f'{{"a": "{SECRET}"', "not JSON"),
            (b"\xff\xfe\xfd", "not JSON"),
            (b'{"a": "\xe4"}', "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("9" * 5000, "not JSON"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            (f'["{SECRET}"]', "not a JSON object"),
            (f'{{"twin": "{SECRET}", "b": null, "twin": "{SECRET}"}}', "occurs twice"),
            ('{"number": 12345678}', "is not text"),
            ('{"bool": false}', "is not text"),
            (f'{{"list": ["{SECRET}"]}}', "is not text"),
            (f'{{"object": {{"secret": {{"secret": "{SECRET}"}}}}}}', "is not text"),
            ('{"empty": {}}', '"secret" is missing'),
            (f'{{"typo": {{"secert": "{SECRET}"}}}}', "known members: secret, organizations, routes, not_after"),
            (f'{{"swapped": {{"{SECRET}": "secret"}}}}', "has an unknown member"),
            (f'{{"k": {{"secret": null, "secret": "{SECRET}"}}}}', "a member occurs twice"),
            ('{"none": {"secret": []}}', "has 0 secrets"),
            ('{"lost": {"secret": ""}}', "its secret is empty: write null"),
            (f'{{"lost": {{"secret": ["{SECRET}", ""]}}}}', "its secret is empty: write null"),
            (f'{{"many": {{"secret": ["{SECRET}", "{SECRET}", null]}}}}', "has 3 secrets"),
            (f'{{"k": "{SECRET}="}}', "is not base64"),
            (f'{{"k": "{SECRET}A"}}', "is not base64"),
            (f'{{"k": "{SECRET}\\n"}}', "is not base64"),
            (f'{{"k": " {SECRET}"}}', "is not base64"),
            (f'{{"k": "{SECRET}-_=="}}', "is not base64"),
            (f'{{"k": "{SECRET}AA="}}', "is not base64"),
            ('{"k": "\\u00e4\\u00e4\\u00e4\\u00e4"}', "is not base64"),
        ],
    )
    def test_mistake_is_one_line_without_secrets(self, text: str | bytes, says: str) -> None:
        with pytest.raises(BadKeys) as caught:
            read_keys(text)
        message = str(caught.value)
        assert says in message
        assert len(message.splitlines()) == 1
        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in shown
        assert "12345678" not in shown
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_error_names_the_entry_and_not_the_key(self) -> None:
        """An API key is a password for unsigned requests."""
        with pytest.raises(BadKeys) as caught:
            read_keys('{"first": null, "a-password": "&"}')
        where = f"entry 2 (API key {fingerprint('a-password')})"
        assert str(caught.value) == f"{where}: its secret is not base64: copy it again from the integration"

    @given(
        st.one_of(
            st.binary(),
            st.text(alphabet='{}[]":,\\=an1 ').map(str.encode),
            st.dictionaries(
                st.sampled_from(["a", "b=", "c d"]),
                st.recursive(
                    st.none() | st.booleans() | st.floats() | st.sampled_from([SECRET, "", "/a", ORGANIZATION]),
                    lambda inner: (
                        st.lists(inner, max_size=3)
                        | st.dictionaries(st.sampled_from(["secret", "routes", "organizations", "not_after"]), inner)
                    ),
                    max_leaves=6,
                ),
            ).map(json.dumps),
        )
    )
    def test_no_input_shows_a_secret(self, content: bytes | str) -> None:
        try:
            keys = read_keys(content)
        except BadKeys as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - it may also succeed
            assert SECRET not in str(error)  # noqa: PT017
        else:
            assert isinstance(keys, Keys)


unpadded = st.binary(min_size=1, max_size=64)


@given(
    st.dictionaries(
        st.from_regex(r"\A[a-zA-Z0-9+/_-]{1,40}={0,2}\Z"),
        st.tuples(unpadded, st.none() | st.integers(0, 4_000_000_000)),
        max_size=5,
    )
)
def test_written_keys_are_read_back(wanted: dict[str, tuple[bytes, int | None]]) -> None:
    written = {
        api_key: {"secret": base64.b64encode(secret).decode()}
        | ({} if end is None else {"not_after": datetime.fromtimestamp(end, UTC).isoformat()})
        for api_key, (secret, end) in wanted.items()
    }
    keys = read_keys(json.dumps(written))
    assert keys == Keys({api_key: Key((secret,), not_after=end) for api_key, (secret, end) in wanted.items()})
