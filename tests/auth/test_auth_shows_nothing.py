"""No object of the authentication shows a secret or an API key in its representation or its errors."""

import base64
import traceback
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from audiohookd.auth.authenticator import Authenticator, AuthResult
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.keys.model import KeySourceError, fingerprint, merged
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.auth.keys.rotation import merge_versions
from audiohookd.auth.keys.sources import sources_of
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.config.load import check
from audiohookd.observe.counters import Counters
from audiohookd.testing import MemoryWorkers
from tests.auth.foreign_signer import API_KEY, CREATED, DOCUMENTED_SIGNATURE, SECRET, SECRET_TEXT, signed, unsigned
from tests.auth.signature_rig import verified

OPEN_KEY = "an-unsigned-key"
ENTRIES = f'{{"{API_KEY}": {{"secret": ["{SECRET_TEXT}", "b3RoZXI="]}}, "{OPEN_KEY}": null}}'
HIDDEN = [SECRET_TEXT.rstrip("="), repr(SECRET)[2:-1], SECRET.hex(), API_KEY, OPEN_KEY, "b3RoZXI", "other"]
HIDDEN += [DOCUMENTED_SIGNATURE, repr(base64.b64decode(DOCUMENTED_SIGNATURE))[2:-1]]


def shown(*things: object) -> list[str]:
    """Returns the hidden words that occur in their texts."""
    texts = "".join(f"{thing!r} {thing!s} {[thing]}" for thing in things)
    return [word for word in HIDDEN if word in texts]


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A keyring with each kind of source that needs no network."""
    (tmp_path / "keys.json").touch(0o600)
    (tmp_path / "keys.json").write_text(ENTRIES)
    auth = check({"auth": {"keys_file": "keys.json"}}, tmp_path / "x.toml").auth
    sources = sources_of(auth, {"STATIC_API_KEY_MAP": ENTRIES}, lambda: 0.0)
    keyring = Keyring(Clock(), MemoryWorkers(), sources, Counters().count, lambda: 0.5)
    keyring.prepare()
    return keyring


def verdicts(authenticator: Authenticator) -> list[AuthResult]:
    found: list[AuthResult] = []
    for request in (signed(), signed(secret=b"forged"), unsigned(x_api_key=OPEN_KEY), unsigned(x_api_key="stranger")):
        authenticator.authenticate(request, CREATED).addCallback(found.append)
    return found


def test_no_object_shows_a_secret(keyring: Keyring) -> None:
    key = keyring.lookup(API_KEY)
    assert key is not None
    authenticator = Authenticator(keyring, MemoryReplayStore(16, Clock().seconds))
    judged = verdicts(authenticator)
    assert [verdict.accepted for verdict in judged] == [True, False, True, False]
    things: list[Any] = [key, keyring, keyring.keys, authenticator, *judged, signed(), verified(signed())]
    things += [authenticator.replay, *(held.source for held in keyring._states), *keyring._states]
    things += [merge_versions(keyring.keys, keyring.keys, 5.0)]
    assert shown(*things) == []


def test_a_shown_word_is_detected() -> None:
    assert shown({OPEN_KEY: SECRET}) == [repr(SECRET)[2:-1], OPEN_KEY]


def test_no_warning_shows_a_secret() -> None:
    keys = read_keys(ENTRIES)
    _, remarks = merged([("a", keys), ("b", keys)])
    assert len(remarks) == 3
    assert fingerprint(OPEN_KEY) in remarks[2]
    assert shown(*remarks) == []


@pytest.mark.parametrize(
    "text",
    [
        ENTRIES[:-1],
        ENTRIES.replace("b3RoZXI=", "b3RoZXI=&"),
        ENTRIES.replace("null", "{}"),
        ENTRIES.replace("null", f'"{SECRET_TEXT}&"'),
        ENTRIES.replace("null", f'{{"secret": null, "{SECRET_TEXT}": 1}}'),
        ENTRIES.replace("null", f'{{"secret": null, "not_after": "{SECRET_TEXT}"}}'),
        ENTRIES.replace("null", f'{{"secret": null, "organizations": ["{SECRET_TEXT}"]}}'),
        ENTRIES.replace("null", f'{{"secret": null, "routes": ["{SECRET_TEXT}"]}}'),
        ENTRIES.replace(OPEN_KEY, f"{OPEN_KEY} "),
        ENTRIES.replace(OPEN_KEY, API_KEY),
        f"[{ENTRIES}]",
    ],
)
def test_no_failure_shows_a_secret(text: str, tmp_path: Path) -> None:
    """Their texts, and their tracebacks as Python and as Twisted write them."""
    (tmp_path / "keys.json").touch(0o600)
    (tmp_path / "keys.json").write_text(text)
    auth = check({"auth": {"keys_file": "keys.json", "keys_variable": ""}}, tmp_path / "x.toml").auth
    (source,) = sources_of(auth, {}, lambda: 0.0)
    told = []
    for attempt, kind in ((source.load, KeySourceError), (lambda: read_keys(text), BadKeys)):
        with pytest.raises(kind) as caught:
            attempt()
        told += ["".join(traceback.format_exception(caught.value)), Failure(caught.value).getTraceback()]
        told += [repr(caught.value), str(caught.value)]
    assert shown(*told) == []
