"""Files of operators in the encodings of their editors, and output to streams that are not UTF-8."""

import codecs
import io
import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.keys.parse import read_keys
from audiohookd.auth.keys.sources.environment import KeyVariable
from audiohookd.auth.keys.sources.file import KeyFile
from audiohookd.auth.keys.sources.vault import read_line
from audiohookd.auth.replay.redis import read_url
from audiohookd.cli.call import options
from audiohookd.cli.credentials import api_key, given_secret
from audiohookd.cli.doctor.tls import trusting
from audiohookd.cli.explain.from_file import read_text
from audiohookd.config.load import load
from audiohookd.edge.networks import read_networks
from audiohookd.edge.tls import read_identity
from audiohookd.spool.catalog import Recording
from audiohookd.text_encoding import decode_text, escape_unencodable
from audiohookd_plugins.agentassist import read_script
from audiohookd_plugins.notifications.signature import read_secrets
from audiohookd_plugins.notifications.webhook_client import read_headers
from tests.certificates import write_certificate

KEY, SECRET = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
KEYS = json.dumps({KEY: SECRET})
SCRIPT = (Path(__file__).parents[1] / "plugins/audiohookd_plugins/agentassist.toml").read_text("utf-8")

#: All files that an operator writes, and that the daemon or a command reads as text.
FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "configuration": (load, '[admin]\nendpoint = "tcp:3001"\n'),
    "keys_file": (lambda path: KeyFile("keys", path).load().lookup(KEY), KEYS),
    "allowed_networks_file": (read_networks, "192.0.2.0/24\n"),
    "url_file": (read_url, "redis://127.0.0.1\n"),
    "token_file": (read_line, "s.token\n"),
    "script": (lambda path: read_script(path).greeting, SCRIPT),
    "header_file": (read_headers, "X-Token: abc\n"),
    "webhook secret_file": (lambda path: read_secrets(path).sign("id", 1, b"body"), f"{SECRET}\n"),
    "--secret-file": (lambda path: given_secret(Namespace(secret_file=path), {}), SECRET + "\n"),
    "explain-signature FILE": (lambda path: read_text(str(path)), "GET / HTTP/1.1\nHost: x\n"),
}
MARKED = ["utf-8-sig", "utf-16"]


class TestAByteOrderMark:
    @pytest.mark.parametrize("encoding", MARKED)
    @pytest.mark.parametrize("name", FILES)
    def test_at_the_start_of_a_file_changes_nothing(self, name: str, encoding: str, tmp_path: Path) -> None:
        read, text = FILES[name]
        file = tmp_path / "file"
        values = []
        for content in (text.encode(), text.encode(encoding)):
            file.write_bytes(content)
            file.chmod(0o600)
            values.append(read(file))
        assert values[0] == values[1]

    def test_at_the_start_of_pem_changes_nothing(self, tmp_path: Path) -> None:
        for file in write_certificate(tmp_path):
            file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
        assert read_identity(tmp_path / "tls.pem", tmp_path / "tls.key")
        assert trusting(tmp_path / "tls.pem").get_ca_certs()

    def test_at_the_start_of_a_sidecar_changes_nothing(self, tmp_path: Path) -> None:
        recording = Recording(tmp_path, "a", frozenset({"json"}))
        recording.sidecar.write_bytes(codecs.BOM_UTF8 + b'{"recording": {"samples": 1}}')
        assert recording.read() == {"samples": 1}

    def test_at_the_start_of_a_variable_changes_nothing(self) -> None:
        assert KeyVariable("auth.keys_variable", "KEYS", "\ufeff" + KEYS).load().lookup(KEY) is not None
        variable = {"AUDIOHOOK_CLIENT_SECRET": "\ufeff" + SECRET}
        unmarked = {"AUDIOHOOK_CLIENT_SECRET": SECRET}
        nothing = Namespace(secret_file=None)
        assert given_secret(nothing, variable) == given_secret(nothing, unmarked) is not None

    def test_at_the_start_of_an_argument_changes_nothing(self) -> None:
        """`--key "$(cat file)"` passes the mark to the command."""
        assert api_key("\ufeff" + KEY) == KEY
        assert options._custom_config('\ufeff{"a": 1}') == b'{"a": 1}'

    def test_at_the_start_of_a_secret_of_a_store_changes_nothing(self) -> None:
        """Vault and Secrets Manager return text, which may begin with the mark."""
        assert read_keys("\ufeff" + KEYS).lookup(KEY) is not None

    @given(st.text(), st.sampled_from(MARKED))
    def test_one_byte_order_mark_is_removed(self, text: str, encoding: str) -> None:
        assert decode_text(text.encode(encoding)) == text
        assert decode_text("\ufeff" + text) == text

    @given(st.text().filter(lambda text: not text.startswith("\ufeff")))
    def test_a_byte_order_mark_is_optional(self, text: str) -> None:
        assert decode_text(text.encode()) == text == decode_text(text)

    def test_does_not_hide_invalid_text(self) -> None:
        with pytest.raises(UnicodeDecodeError):
            decode_text(codecs.BOM_UTF8 + b"\xff")
        assert decode_text(b"\xff", "replace") == "\ufffd"


class TestAStreamThatIsNotUTF8:
    @pytest.mark.parametrize(
        ("encoding", "written"), [("latin-1", b"caf\xe9 \\u2603\n"), ("ascii", b"caf\\xe9 \\u2603\n")]
    )
    def test_gets_an_escape_for_what_it_lacks(self, encoding: str, written: bytes) -> None:
        buffer = io.BytesIO()
        stream = io.TextIOWrapper(buffer, encoding)
        escape_unencodable(stream)
        stream.write("caf\xe9 \u2603\n")
        stream.flush()
        assert buffer.getvalue() == written

    @given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8", "koi8-r"]))
    def test_gets_json_that_is_the_same_json(self, text: str, encoding: str) -> None:
        buffer = io.BytesIO()
        stream = io.TextIOWrapper(buffer, encoding)
        escape_unencodable(stream, as_json=True)
        stream.write(json.dumps(text, ensure_ascii=False))
        stream.flush()
        assert json.loads(buffer.getvalue().decode(encoding)) == text

    def test_gets_a_file_name_that_is_not_text(self) -> None:
        buffer = io.BytesIO()
        stream = io.TextIOWrapper(buffer, "utf-8")
        escape_unencodable(stream)
        stream.write(os.fsdecode(b"\xff"))
        stream.flush()
        assert buffer.getvalue() == b"\\udcff"

    def test_that_has_no_encoding_is_left_as_it_is(self) -> None:
        escape_unencodable(None)
        escape_unencodable(io.StringIO())
