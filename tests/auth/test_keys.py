"""Protocol section 2.1: API keys, their base64 secrets, and a file that a user may get wrong in many ways."""

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from audiohookd.auth.keys import IKeySource, KeyFile, KeyFileError, Keys

SECRET = "U2VjcmV0U2VjcmV0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def load(path: Path, text: str | bytes) -> Keys:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return KeyFile(str(path)).load()


class TestKeys:
    def test_lookup(self) -> None:
        keys = Keys({"signed": b"secret", "unsigned": b""})
        assert [keys.lookup(name) for name in ("signed", "unsigned", "other")] == [b"secret", b"", None]
        assert len(keys) == 2

    def test_do_not_change_with_what_they_were_made_of(self) -> None:
        secrets = {"a": b"secret"}
        keys = Keys(secrets)
        secrets["b"] = b""
        assert keys.lookup("b") is None

    def test_show_no_secret(self) -> None:
        keys = Keys({"signed": b"secret", "unsigned": b""})
        assert repr(keys) == str(keys) == "<Keys: 2, of which 1 without a secret>"


class TestKeyFile:
    def test_is_a_key_source(self) -> None:
        verifyObject(IKeySource, KeyFile("keys.json"))

    @pytest.mark.parametrize(
        ("text", "secret"),
        [
            ('"c2VjcmV0"', b"secret"),
            ('"c2VjcmV0cw=="', b"secrets"),
            ('"c2VjcmV0cw"', b"secrets"),
            ('"c2VjcmV0c2U="', b"secretse"),
            ('"c2VjcmV0c2U"', b"secretse"),
            ('"+/+/"', b"\xfb\xff\xbf"),
            ('""', b""),
            ("null", b""),
        ],
    )
    def test_secrets(self, path: Path, text: str, secret: bytes) -> None:
        assert load(path, f'{{"key": {text}}}').lookup("key") == secret

    @pytest.mark.parametrize("api_key", ["a", "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", "a+b/c_d-e", "a=", "a=="])
    def test_api_keys(self, path: Path, api_key: str) -> None:
        assert load(path, f'{{"{api_key}": null}}').lookup(api_key) == b""

    @pytest.mark.parametrize("api_key", ["", "=", "a===", "a=b", "a b", "a\\n", "\\u00e4", "a,b"])
    def test_what_is_no_api_key(self, path: Path, api_key: str) -> None:
        with pytest.raises(KeyFileError, match="use letters, digits"):
            load(path, f'{{"{api_key}": "{SECRET}"}}')

    @pytest.mark.parametrize("text", ["{}", "\ufeff{}", " {\n} "])
    def test_may_be_empty(self, path: Path, text: str) -> None:
        assert len(load(path, text)) == 0

    def test_is_read_anew_each_time(self, path: Path) -> None:
        earlier = load(path, '{"a": null}')
        later = load(path, '{"b": null}')
        assert (earlier.lookup("a"), earlier.lookup("b")) == (b"", None)
        assert (later.lookup("a"), later.lookup("b")) == (None, b"")


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "not JSON: correct line 1, column 1"),
            (f'{{\n"a": "{SECRET}",}}', "not JSON: correct line 2"),
            (f'{{"a": "{SECRET}"', "not JSON"),
            (b"\xff\xfe\xfd", "not JSON"),
            (b'{"a": "\xe4"}', "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("9" * 5000, "not JSON"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            (f'["{SECRET}"]', "not a JSON object"),
            (f'{{"twin": "{SECRET}", "b": null, "twin": "{SECRET}"}}', "'twin' is there twice"),
            ('{"number": 12345678}', "'number' is not text"),
            ('{"bool": false}', "'bool' is not text"),
            (f'{{"list": ["{SECRET}"]}}', "'list' is not text"),
            (f'{{"object": {{"secret": "{SECRET}"}}}}', "'object' is not text"),
            ('{"empty": {}}', "'empty' is not text"),
            (f'{{"k": "{SECRET}="}}', "'k' is not base64"),
            (f'{{"k": "{SECRET}A"}}', "'k' is not base64"),
            (f'{{"k": "{SECRET}\\n"}}', "'k' is not base64"),
            (f'{{"k": " {SECRET}"}}', "'k' is not base64"),
            (f'{{"k": "{SECRET}-_=="}}', "'k' is not base64"),
            (f'{{"k": "{SECRET}AA="}}', "'k' is not base64"),
            ('{"k": "\\u00e4\\u00e4\\u00e4\\u00e4"}', "'k' is not base64"),
            (f'{{"k\\n": "{SECRET}"}}', r"'k\n'"),
        ],
    )
    def test_are_told_in_one_line_without_secrets(self, path: Path, text: str | bytes, says: str) -> None:
        with pytest.raises(KeyFileError) as caught:
            load(path, text)
        message = str(caught.value)
        assert says in message
        assert str(path) in message
        assert len(message.splitlines()) == 1
        shown = "".join(traceback.format_exception_only(caught.value))
        assert SECRET not in shown
        assert "12345678" not in shown
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    def test_no_file(self, path: Path) -> None:
        with pytest.raises(KeyFileError, match=r"keys\.json': cannot be read \(No such file"):
            KeyFile(str(path)).load()

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(KeyFileError, match="cannot be read"):
            KeyFile(str(tmp_path)).load()

    @pytest.mark.parametrize("name", ["a\0b", "a\nb"])
    def test_a_strange_path(self, name: str) -> None:
        with pytest.raises(KeyFileError, match="correct") as caught:
            KeyFile(name).load()
        assert len(str(caught.value).splitlines()) == 1

    @given(st.one_of(st.binary(), st.text(alphabet='{}[]":,\\=an1 ').map(str.encode)))
    def test_whatever_is_in_the_file(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.mktemp("keys") / "keys.json"
        try:
            load(path, content)
        except KeyFileError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - it may also succeed
