"""The upgrade request as the identity of a session."""

import pytest

from audiohookd.session.upgrade import UpgradeInfo
from audiohookd.websocket.handshake import HandshakeRejected
from audiohookd.websocket.upgrade import read_upgrade

SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
CORRELATION = "e160e428-53e2-487c-977d-96989bf5c99d"
HEADERS = {
    "host": "audiohook.example.com",
    "user-agent": "GenesysCloud-AudioHook-Client",
    "audiohook-session-id": SESSION,
    "audiohook-organization-id": ORGANIZATION,
    "audiohook-correlation-id": CORRELATION,
    "x-api-key": "SECRET-api-key",
    "signature": "sig1=:SECRET:",
    "signature-input": 'sig1=();nonce="SECRET"',
    "authorization": "Basic SECRET",
    "cookie": "SECRET",
}


def read(**headers: str | None) -> UpgradeInfo:
    changed = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return read_upgrade(
        "/ws?bot=7", {name: value for name, value in changed.items() if value is not None}, "192.0.2.7"
    )


def test_the_identity_is_read_from_the_headers() -> None:
    upgrade = read()
    assert upgrade.session_id == SESSION
    assert upgrade.organization_id == ORGANIZATION
    assert upgrade.correlation_id == CORRELATION


@pytest.mark.parametrize("header", ["session", "organization", "correlation"])
@pytest.mark.parametrize(
    "value",
    [None, "", "x", SESSION[:-1], SESSION + "0", f"{{{SESSION}}}", f"{SESSION}, {SESSION}", SESSION.replace("-", "")],
)
def test_each_identifier_must_be_there_and_a_uuid(header: str, value: str | None) -> None:
    with pytest.raises(HandshakeRejected, match=f"'Audiohook-{header.capitalize()}-Id'"):
        read(**{f"audiohook_{header}_id": value})


def test_uuids_of_any_version_and_case() -> None:
    assert read(audiohook_session_id="019AA9C2-7F00-7FFF-BFFF-FFFFFFFFFFFF").session_id.startswith("019AA9C2-7F00-7")


def test_the_path_is_the_target_without_its_query() -> None:
    assert read().path == "/ws"


def test_neither_secrets_nor_unknown_headers_are_shown() -> None:
    shown = read(x_invented="SECRET").shown()
    assert "SECRET" not in repr(shown)
    assert shown["uri"] == "/ws?bot=7"
    assert shown["peer"] == "192.0.2.7"
    assert shown["headers"] == {name: value for name, value in HEADERS.items() if "SECRET" not in value}


def test_the_representation_shows_no_secrets() -> None:
    assert "SECRET" not in repr(read())
    assert SESSION in repr(read())
