"""The examples in docs/notifications.rst are correct."""

import json
import re
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.python.runtime import seconds

from audiohookd_plugins.notifications.payload import compose
from audiohookd_plugins.notifications.signature import Secrets
from audiohookd_plugins.webhook import WebhookConfig
from tests.plugins.notification_rig import ID, a_recording

DOCUMENT = Path(__file__).parents[2] / "docs" / "notifications.rst"


def snippet(word: str) -> str:
    """The literal block that contains ``word``."""
    blocks = re.findall(r"::\n\n((?:(?: {4}.*)?\n)+)", DOCUMENT.read_text())
    (found,) = [block for block in blocks if word in block]
    return textwrap.dedent(found)


@pytest.fixture(scope="module")
def is_genuine() -> Callable[..., bool]:
    names: dict[str, Any] = {}
    exec(compile(snippet("def is_genuine"), str(DOCUMENT), "exec"), names)  # noqa: S102 - our own document
    return names["is_genuine"]


def test_the_notice_is_what_is_sent(tmp_path: Path) -> None:
    shown = json.loads(snippet('"recording.stored"'))
    sent = json.loads(compose(a_recording(tmp_path)).body)
    assert shown == sent
    assert list(shown["data"]) == list(sent["data"])


@given(
    secrets=st.lists(
        st.sampled_from(
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "correct horse battery staple", "A" * 24, "x" * 99]
        ),
        min_size=1,
    ),
    body=st.binary(),
    change=st.integers(0, 299),
)
def test_the_verification_accepts_only_genuine_notifications(
    is_genuine: Callable[..., bool], secrets: list[str], body: bytes, change: int
) -> None:
    now = int(seconds())
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(now),
        "webhook-signature": Secrets(secrets).sign(ID, now, body),
    }
    assert all(is_genuine(secret, headers, body) for secret in secrets)
    assert not is_genuine("another secret of enough bytes", headers, body)
    assert not is_genuine(secrets[0], headers, body + b"\0")
    assert not is_genuine(secrets[0], {**headers, "webhook-timestamp": str(now - change - 1)}, body)


def test_the_verification_rejects_old_notifications(is_genuine: Callable[..., bool]) -> None:
    long_ago = int(seconds()) - 301
    secret = "correct horse battery staple"
    signature = Secrets([secret]).sign(ID, long_ago, b"{}")
    headers = {"webhook-id": ID, "webhook-timestamp": str(long_ago), "webhook-signature": signature}
    assert not is_genuine(secret, headers, b"{}")


def test_the_second_webhook_is_one() -> None:
    (table,) = tomllib.loads(snippet("[plugins.billing]"))["plugins"].values()
    assert table.pop("class") == "audiohookd_plugins.webhook:WebhookPlugin"
    table["secret_file"] = Path(table["secret_file"])
    assert msgspec.convert(table, WebhookConfig).url == "https://billing.example.com/calls"


def test_the_policy_is_json() -> None:
    assert json.loads(snippet('"sns:Publish"'))["Statement"][0]["Effect"] == "Allow"
