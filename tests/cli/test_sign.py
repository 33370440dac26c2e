"""``audiohookctl sign``: the printed headers verify, and contain no secret."""

import base64
import json
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import verify
from audiohookd.cli.main import main

KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = b"MySuperSecretKeyTellNoOne-1!2@3#4$5"
TEXT = base64.b64encode(SECRET).decode()
URL = "wss://Audiohook.Example.com/api/v1/audiohook/ws?bot=a%2Fb"
ID = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
FIXED = ("--created", "1700000000", "--nonce", "VGhpc0lzQVVuaXF1ZU5vbmNl")


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text(f"{TEXT.rstrip('=')}\n")
    return str(file)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = tmp_path / "keys.json"
    file.touch(0o600)
    file.write_text(json.dumps({KEY: TEXT, "b3Blbg==": None}))
    return str(file)


def headers(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in text.splitlines())}


def test_the_headers_verify(secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", URL, "--key", KEY, "--secret-file", secret_file, "--session", ID, *FIXED]) == 0
    found = headers(capsys.readouterr().out)
    assert (found["host"], found["audiohook-session-id"]) == ("audiohook.example.com", ID)
    signature = verify(UpgradeRequest("/api/v1/audiohook/ws?bot=a%2Fb", found), SECRET, 1_700_000_000)
    assert (signature.keyid, signature.expires) == (KEY, 1_700_000_030)


def test_a_secret_of_a_key_file_is_used(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", URL, "--key", KEY, "--keys", keys, "--expires", "5", *FIXED]) == 0
    found = headers(capsys.readouterr().out)
    signature = verify(UpgradeRequest("/api/v1/audiohook/ws?bot=a%2Fb", found), SECRET, 1_700_000_000)
    assert signature.expires == 1_700_000_005


def test_a_port_that_does_not_go_without_saying_is_part_of_host(
    secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", "ws://127.0.0.1:3000/x", "--key", KEY, "--secret-file", secret_file]) == 0
    assert headers(capsys.readouterr().out)["host"] == "127.0.0.1:3000"


def test_curl_is_quoted_for_the_shell(secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", URL, "--key", KEY, "--secret-file", secret_file, *FIXED, "--curl"]) == 0
    command, *sent = shlex.split(capsys.readouterr().out)
    assert command == "curl"
    assert sent[-1] == "https://audiohook.example.com/api/v1/audiohook/ws?bot=a%2Fb"
    found = headers("\n".join(word for before, word in pairwise(sent) if before == "--header"))
    assert found["upgrade"] == "websocket"
    assert verify(UpgradeRequest("/api/v1/audiohook/ws?bot=a%2Fb", found), SECRET, 1_700_000_000)


def test_no_secret_is_printed(secret_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--curl"]):
        main(["sign", URL, "--key", KEY, "--secret-file", secret_file, *more])
        said = "".join(capsys.readouterr())
        assert TEXT[:12] not in said
        assert SECRET.decode()[:12] not in said


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no-base64!", "not base64: copy it again"),
        ("", "must contain the client secret"),
        ("two words\nAAAA", "must contain the client secret on one line"),
        ("no base64!", "not base64: it contains a space"),
    ],
)
def test_an_invalid_secret_is_a_mistake(
    content: str, told: str, secret_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(secret_file).write_text(content)
    assert main(["sign", URL, "--key", KEY, "--secret-file", secret_file]) == 2
    said = "".join(capsys.readouterr())
    assert told in said
    assert "base64!" not in said


def test_a_missing_secret_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AUDIOHOOK_CLIENT_SECRET", raising=False)
    assert main(["sign", URL, "--key", KEY]) == 2
    assert "give --secret-file or --keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--key", "b3Blbg=="], "keys.json: the key has no secret, so its requests are unsigned"),
        (["--key", "dW5rbm93bg=="], "does not contain this API key"),
        (["--key", KEY, "--nonce", "ä"], "printable ASCII"),
        (["--key", "no key!"], "letters, digits"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], told: str, keys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", URL, "--keys", keys, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
