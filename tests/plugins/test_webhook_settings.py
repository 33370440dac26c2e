"""The settings of [plugins.webhook], their errors of one line, and the secrets."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from audiohookd_plugins.notifications.signature import Secrets
from audiohookd_plugins.webhook import WebhookConfig, WebhookPlugin
from tests.plugins.notification_rig import ID, NotifyingDaemon
from tests.plugins.webhook_rig import SECRET, private_file

HTTPS = "https://hooks.example.com/x"


def build(**options: Any) -> WebhookPlugin:
    return WebhookPlugin(WebhookConfig(**options), NotifyingDaemon())


def mistake(**options: Any) -> str:
    """The error of one line for these settings."""
    with pytest.raises(ValueError, match=r"^\S+: ") as caught:
        build(**options)
    text = str(caught.value)
    assert text.isprintable()
    return text


class TestTheUrl:
    @pytest.mark.parametrize(
        "url",
        [
            HTTPS,
            "https://hooks.example.com:8443/x?y=z",
            "https://192.0.2.1",
            "HTTPS://[2001:db8::1]/",
            "http://localhost/x",
            "http://127.0.0.1:8080",
            "http://127.9.9.9/",
            "http://[::1]:8080/x",
        ],
    )
    def test_must_be_https_or_on_this_machine(self, url: str) -> None:
        build(url=url, allow_unsigned=True)

    @pytest.mark.parametrize(
        "url", ["http://hooks.example.com/", "http://192.0.2.1/", "http://localhost.example.com/", "http://0.0.0.0/"]
    )
    def test_may_be_http_if_allowed(self, url: str) -> None:
        assert mistake(url=url, allow_unsigned=True) == (
            "url: must begin with https:// unless it is on this machine; else set allow_http = true"
        )
        build(url=url, allow_unsigned=True, allow_http=True)

    def test_must_be_given(self) -> None:
        assert mistake(allow_unsigned=True) == "url: is required: where to POST to"

    @pytest.mark.parametrize("url", ["hooks.example.com/x", "/x", "x", "https://", "https:///x", "ftp://h/"])
    def test_names_a_host(self, url: str) -> None:
        for key in ("url", "proxy"):
            text = mistake(**{"url": HTTPS, "allow_unsigned": True, key: url})
            assert text == f"{key}: must be a URL such as https://host/path, in printable ASCII"

    @pytest.mark.parametrize(
        "url", ["https://h/a b", "https://h/\n", "https://ä/", "https://h/ä", "https://h:port/", "https://h:99999/"]
    )
    def test_reports_each_mistake(self, url: str) -> None:
        for key in ("url", "proxy"):
            assert mistake(**{"url": HTTPS, "allow_unsigned": True, key: url}).startswith(f"{key}: ")

    @pytest.mark.parametrize(
        "url", ["https://me:s3cret@hooks.example.com/", "https://s3cret@host/", "https://h/#s3cret"]
    )
    def test_holds_no_password(self, url: str) -> None:
        for key in ("url", "proxy"):
            text = mistake(**{"url": HTTPS, "allow_unsigned": True, key: url})
            assert text == f"{key}: must have no user, no password and no # in it"


class TestTheSecret:
    def test_must_be_given_unless_unsigned_is_allowed(self) -> None:
        assert mistake(url=HTTPS) == (
            "secret_file: is required, or anyone could forge notifications; "
            "to send them unsigned, set allow_unsigned = true"
        )
        build(url=HTTPS, allow_unsigned=True)

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
    def test_may_be_readable_by_owner_and_group(self, tmp_path: Path, mode: int) -> None:
        build(url=HTTPS, secret_file=private_file(tmp_path / "secret", SECRET, mode=mode))

    @pytest.mark.parametrize("mode", [0o644, 0o602, 0o641, 0o777])
    @pytest.mark.parametrize("key", ["secret_file", "headers_file"])
    def test_must_not_be_accessible_to_others(self, tmp_path: Path, key: str, mode: int) -> None:
        path = private_file(tmp_path / "secret", SECRET, mode=mode)
        text = mistake(**{"url": HTTPS, "allow_unsigned": True, key: path})
        assert text.startswith(f"'{path}': is accessible to all users (mode {mode:04o}): chmod o= it")

    @pytest.mark.parametrize(
        ("lines", "line"),
        [
            ([], "holds no secret"),
            (["", "  "], "holds no secret"),
            (["twenty-three bytes long"], "line 1: is shorter than 24 bytes"),
            ([SECRET, "short"], "line 2: is shorter than 24 bytes"),
            (["whsec_"], "line 1: is shorter than 24 bytes"),
            (["whsec_c2hvcnQ="], "line 1: is shorter than 24 bytes"),
            (["", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La*aSw"], "line 2: what follows whsec_ is not base64"),
            (["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwx"], "line 1: what follows whsec_ is not base64"),
        ],
    )
    def test_reports_each_mistake(self, tmp_path: Path, lines: list[str], line: str) -> None:
        path = private_file(tmp_path / "secret", *lines)
        assert mistake(url=HTTPS, secret_file=path) == f"{path}: {line}"

    @pytest.mark.parametrize("key", ["secret_file", "headers_file"])
    def test_cannot_be_read(self, tmp_path: Path, key: str) -> None:
        options = {"url": HTTPS, "allow_unsigned": True}
        path = tmp_path / "secret"
        text = mistake(**options, **{key: path})
        assert text == f"'{path}': cannot be read (No such file or directory): correct path or permissions"
        path.write_bytes(b"\xff" * 40)
        path.chmod(0o600)
        assert mistake(**options, **{key: path}) == f"'{path}': is not text in UTF-8"

    def test_never_appears_in_texts(self) -> None:
        assert repr(Secrets([SECRET, "correct horse battery staple"])) == "<2 secrets>"

    @given(
        key=st.binary(min_size=24, max_size=64),
        at=st.integers(0, 2**33),
        body=st.text().map(str.encode),
        padded=st.booleans(),
    )
    def test_signs_as_others_do(self, key: bytes, at: int, body: bytes, padded: bool) -> None:
        encoded = base64.b64encode(key).decode()
        secrets = Secrets(["whsec_" + (encoded if padded else encoded.rstrip("="))])
        assert secrets.sign(ID, at, body) == Webhook(key).sign(ID, datetime.fromtimestamp(at, UTC), body.decode())

    @given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=24))
    def test_that_is_plain_text_is_its_bytes_even_if_it_looks_like_base64(self, text: str) -> None:
        other = Webhook(text.encode()).sign(ID, datetime.fromtimestamp(7, UTC), "{}")
        assert Secrets([f"  {text}\t"]).sign(ID, 7, b"{}") == other or text.startswith("whsec_")


class TestHeaders:
    @pytest.mark.parametrize(
        ("lines", "line"),
        [
            (["no colon"], "line 1: is not 'Name: value' in printable ASCII"),
            (["A: b", "", "C d: e"], "line 3: is not 'Name: value' in printable ASCII"),
            (["A:"], "line 1: is not 'Name: value' in printable ASCII"),
            (["A: ü"], "line 1: is not 'Name: value' in printable ASCII"),
            (["A: b\x00c"], "line 1: is not 'Name: value' in printable ASCII"),
            (["A: b", "a: c"], "line 2: 'a' cannot be set, or is a duplicate"),
            (["Webhook-Signature: v1,x"], "line 1: 'webhook-signature' cannot be set, or is a duplicate"),
            (["Content-Length: 7"], "line 1: 'content-length' cannot be set, or is a duplicate"),
            (["Transfer-Encoding: chunked"], "line 1: 'transfer-encoding' cannot be set, or is a duplicate"),
        ],
    )
    def test_reports_each_mistake(self, tmp_path: Path, lines: list[str], line: str) -> None:
        path = private_file(tmp_path / "headers", *lines)
        assert mistake(url=HTTPS, allow_unsigned=True, headers_file=path) == f"{path}: {line}"

    def test_values_are_not_shown(self, tmp_path: Path) -> None:
        path = private_file(tmp_path / "headers", "Authorization Bearer s3cret")
        assert "s3cret" not in mistake(url=HTTPS, allow_unsigned=True, headers_file=path)


class TestTheCertificates:
    def test_cannot_be_read(self, tmp_path: Path) -> None:
        text = mistake(url=HTTPS, allow_unsigned=True, ca_file=tmp_path / "ca.pem")
        assert text == f"{tmp_path}/ca.pem: cannot be read: No such file or directory"

    def test_contain_no_certificate(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("-----BEGIN NONSENSE-----")
        text = mistake(url=HTTPS, allow_unsigned=True, ca_file=tmp_path / "ca.pem")
        assert text == f"{tmp_path}/ca.pem: holds no certificate in PEM"
