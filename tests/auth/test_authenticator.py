"""Protocol sections 2.3 to 2.5: which requests are accepted."""

import base64
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from audiohookd.auth.authenticator import Authenticator, AuthResult
from audiohookd.auth.keys.model import UNSIGNED, Key, Keys
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign
from tests.auth.foreign_signer import (
    API_KEY,
    CORRELATION,
    CREATED,
    HEADERS,
    NONCE,
    ORGANIZATION,
    SECRET,
    SIX,
    TARGET,
    replaced,
    signed,
    unsigned,
)

OPEN_KEY = "unsigned-key"
KEYS = Keys({API_KEY: Key((SECRET,)), OPEN_KEY: Key((b"",))})


def fresh(keys: Keys = KEYS) -> Authenticator:
    return Authenticator(keys, MemoryReplayStore(16, Clock().seconds))


def authenticate_at(authenticator: Authenticator, request: UpgradeRequest, now: float) -> AuthResult:
    """Returns the result, which must be there at once."""
    verdicts: list[AuthResult] = []
    authenticator.authenticate(request, now).addCallback(verdicts.append)
    (verdict,) = verdicts
    return verdict


def authenticated(request: UpgradeRequest, now: float = CREATED) -> AuthResult:
    return authenticate_at(fresh(), request, now)


class TestSigned:
    def test_valid_signature_is_accepted(self) -> None:
        assert authenticated(signed()) == AuthResult(True, API_KEY, ORGANIZATION, None, signed=True)

    def test_wrong_signature_is_rejected(self) -> None:
        verdict = authenticated(signed(secret=b"other"))
        assert verdict == AuthResult(False, API_KEY, ORGANIZATION, RejectionReason.SIGNATURE_WRONG, signed=True)

    def test_unknown_key_is_rejected(self) -> None:
        request = signed(headers={"x-api-key": "other"}, keyid='"other"')
        assert authenticated(request).reason is RejectionReason.API_KEY_UNKNOWN

    @pytest.mark.parametrize("missing", ["signature", "signature_input"])
    @pytest.mark.parametrize("api_key", [API_KEY, OPEN_KEY, "other"])
    def test_one_of_the_two_fields_is_not_enough(self, missing: str, api_key: str) -> None:
        verdict = authenticated(replaced(signed(), x_api_key=api_key, **{missing: None}))
        assert (verdict.accepted, verdict.reason) == (False, RejectionReason.SIGNATURE_INCOMPLETE)
        assert verdict.signed

    @pytest.mark.parametrize("secret", [b"", SECRET, bytes(32)])
    def test_a_signature_for_a_key_without_a_secret_is_rejected(self, secret: bytes) -> None:
        request = signed(headers={"x-api-key": OPEN_KEY}, keyid=f'"{OPEN_KEY}"', secret=secret)
        verdict = authenticated(request)
        assert (verdict.accepted, verdict.reason) == (False, RejectionReason.SIGNATURE_UNEXPECTED)

    def test_a_signature_for_another_known_key_does_not_count(self) -> None:
        keys = Keys({API_KEY: Key((SECRET,)), "second": Key((b"another secret",))})
        request = signed(headers={"x-api-key": "second"})
        assert authenticate_at(fresh(keys), request, CREATED).reason is RejectionReason.SIGNATURE_WRONG
        request = signed(headers={"x-api-key": "second"}, secret=b"another secret")
        assert authenticate_at(fresh(keys), request, CREATED).reason is RejectionReason.KEYID_MISMATCH

    def test_age_and_skew_are_options(self) -> None:
        patient = Authenticator(KEYS, MemoryReplayStore(70, Clock().seconds), max_age=60, skew=5)
        assert authenticate_at(patient, signed(), CREATED + 65).accepted
        assert authenticate_at(patient, signed(), CREATED + 66).reason is RejectionReason.TOO_OLD
        assert authenticate_at(patient, signed(nonce=f'"{"n" * 22}"'), CREATED - 5).accepted

    def test_default_age_and_skew_apply(self) -> None:
        assert authenticated(signed(), CREATED + 13).accepted
        assert authenticated(signed(), CREATED + 14).reason is RejectionReason.TOO_OLD
        assert authenticated(signed(), CREATED - 3).accepted
        assert authenticated(signed(), CREATED - 4).reason is RejectionReason.NOT_YET_VALID


class TestUnsigned:
    def test_accepted_for_a_key_without_a_secret(self) -> None:
        verdict = authenticated(unsigned(x_api_key=f" {OPEN_KEY} "))
        assert verdict == AuthResult(True, OPEN_KEY, ORGANIZATION, None, signed=False)

    def test_unsigned_request_may_be_repeated(self) -> None:
        authenticator = fresh()
        request = unsigned(x_api_key=OPEN_KEY)
        assert authenticate_at(authenticator, request, CREATED).accepted
        assert authenticate_at(authenticator, request, CREATED).accepted

    def test_rejected_for_a_key_with_a_secret(self) -> None:
        verdict = authenticated(unsigned())
        assert verdict == AuthResult(False, API_KEY, ORGANIZATION, RejectionReason.SIGNATURE_REQUIRED, signed=False)

    @pytest.mark.parametrize("api_key", ["other", f"{OPEN_KEY}, {OPEN_KEY}", OPEN_KEY.upper(), "\ud800"])
    def test_unknown_key_is_rejected(self, api_key: str) -> None:
        verdict = authenticated(unsigned(x_api_key=api_key, audiohook_organization_id=None))
        assert verdict == AuthResult(False, api_key, None, RejectionReason.API_KEY_UNKNOWN, signed=False)

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    @pytest.mark.parametrize("text", ["", "sig1"])
    def test_an_empty_field_is_a_signature_too(self, field: str, text: str) -> None:
        verdict = authenticated(unsigned(x_api_key=OPEN_KEY, **{field: text}))
        assert (verdict.accepted, verdict.signed) == (False, True)

    def test_two_empty_fields_are_a_signature(self) -> None:
        assert not authenticated(unsigned(x_api_key=OPEN_KEY, signature="", signature_input="")).accepted


@pytest.mark.parametrize("api_key", [None, "", " \t"])
@pytest.mark.parametrize("request_", [signed(), unsigned()], ids=["signed", "unsigned"])
def test_a_request_without_an_api_key_is_rejected(api_key: str | None, request_: UpgradeRequest) -> None:
    authenticator = fresh(Keys({"": Key((b"",)), API_KEY: Key((SECRET,))}))
    verdict = authenticate_at(authenticator, replaced(request_, x_api_key=api_key), CREATED)
    assert (verdict.accepted, verdict.reason) == (False, RejectionReason.API_KEY_MISSING)


class TestReplay:
    def test_a_signature_works_once(self) -> None:
        authenticator = fresh()
        assert authenticate_at(authenticator, signed(), CREATED - 3).accepted
        assert authenticate_at(authenticator, signed(), CREATED - 3).reason is RejectionReason.REPLAYED
        assert authenticate_at(authenticator, signed(), CREATED + 13).reason is RejectionReason.REPLAYED
        assert authenticate_at(authenticator, signed(), CREATED + 14).reason is RejectionReason.TOO_OLD

    def test_another_nonce_is_another_signature(self) -> None:
        authenticator = fresh()
        assert authenticate_at(authenticator, signed(), CREATED).accepted
        assert authenticate_at(authenticator, signed(nonce=f'"{NONCE}x"'), CREATED).accepted

    def test_a_new_signature_with_an_old_nonce_is_a_replay(self) -> None:
        authenticator = fresh()
        assert authenticate_at(authenticator, signed(), CREATED).accepted
        later = signed(created=str(CREATED + 5))
        assert authenticate_at(authenticator, later, CREATED + 5).reason is RejectionReason.REPLAYED

    @pytest.mark.parametrize(
        "request_",
        [
            signed(secret=b"other"),
            signed(headers={"x-api-key": "other"}, keyid='"other"'),
            signed(created=str(CREATED - 100)),
            signed(SIX[:5]),
            signed(keyid='"other"'),
            signed(alg='"none"'),
        ],
    )
    def test_a_rejected_request_uses_no_nonce(self, request_: UpgradeRequest) -> None:
        store = MemoryReplayStore(16, Clock().seconds)
        authenticator = Authenticator(KEYS, store)
        assert not authenticate_at(authenticator, request_, CREATED).accepted
        assert len(store) == 0
        assert authenticate_at(authenticator, signed(), CREATED).accepted

    def test_a_full_store_rejects(self) -> None:
        authenticator = Authenticator(KEYS, MemoryReplayStore(16, Clock().seconds, limit=0))
        assert authenticate_at(authenticator, signed(), CREATED).reason is RejectionReason.REPLAYED

    def test_replay_is_rejected_after_new_keys(self) -> None:
        store = MemoryReplayStore(16, Clock().seconds)
        assert authenticate_at(Authenticator(KEYS, store), signed(), CREATED).accepted
        assert not authenticate_at(Authenticator(Keys({API_KEY: Key((SECRET,))}), store), signed(), CREATED).accepted

    def test_replay_protection_can_be_switched_off(self) -> None:
        authenticator = Authenticator(KEYS, None)
        assert authenticate_at(authenticator, signed(), CREATED).accepted
        assert authenticate_at(authenticator, signed(), CREATED).accepted

    def test_a_store_with_a_short_window_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="16 s are needed"):
            Authenticator(KEYS, MemoryReplayStore(15.9, Clock().seconds))


def limited(**limits: Any) -> Keys:
    """Returns two keys with these limits, one signed and one unsigned."""
    return Keys({API_KEY: Key((SECRET,), **limits), OPEN_KEY: Key((UNSIGNED,), **limits)})


class TestKey:
    @pytest.mark.parametrize("request_", [signed(), unsigned(x_api_key=OPEN_KEY)], ids=["signed", "unsigned"])
    @pytest.mark.parametrize(
        ("limits", "reason"),
        [
            ({"not_after": CREATED + 1}, None),
            ({"not_after": CREATED}, RejectionReason.KEY_EXPIRED),
            ({"organizations": frozenset({ORGANIZATION})}, None),
            ({"organizations": frozenset({CORRELATION})}, RejectionReason.ORGANIZATION_NOT_ALLOWED),
            ({"routes": frozenset({"/", TARGET})}, None),
            ({"routes": frozenset({"/", f"{TARGET}/"})}, RejectionReason.ROUTE_NOT_ALLOWED),
        ],
    )
    def test_key_may_be_limited(self, request_: UpgradeRequest, limits: Any, reason: RejectionReason | None) -> None:
        store = MemoryReplayStore(16, Clock().seconds)
        verdict = authenticate_at(Authenticator(limited(**limits), store), request_, CREATED)
        assert verdict.reason is reason
        assert len(store) == (1 if verdict.signed and verdict.accepted else 0)

    def test_route_is_compared_without_the_query(self) -> None:
        request = UpgradeRequest(f"{TARGET}?language=de", unsigned(x_api_key=OPEN_KEY).headers)
        assert authenticate_at(fresh(limited(routes=frozenset({TARGET}))), request, CREATED).accepted

    def test_organization_is_compared_without_case(self) -> None:
        request = unsigned(x_api_key=OPEN_KEY, audiohook_organization_id=ORGANIZATION.upper())
        assert authenticate_at(fresh(limited(organizations=frozenset({ORGANIZATION}))), request, CREATED).accepted

    def test_forged_signature_reveals_no_limits(self) -> None:
        assert authenticate_at(fresh(limited(not_after=0.0)), signed(secret=b"forged"), CREATED).reason is (
            RejectionReason.SIGNATURE_WRONG
        )

    @pytest.mark.parametrize("secret", [b"new", b"old"])
    def test_key_may_have_two_secrets(self, secret: bytes) -> None:
        keys = Keys({API_KEY: Key((b"new", b"old"))})
        assert authenticate_at(fresh(keys), signed(secret=secret), CREATED).accepted
        assert not authenticate_at(fresh(keys), signed(secret=b"older"), CREATED).accepted

    def test_previous_secrets_are_valid_for_a_time(self) -> None:
        for until, reason in ((CREATED + 1, None), (CREATED, RejectionReason.SIGNATURE_WRONG)):
            keys = Keys({API_KEY: Key((b"new",), previous=(b"old",), previous_until=until)})
            assert authenticate_at(fresh(keys), signed(secret=b"old"), CREATED).reason is reason
            assert authenticate_at(fresh(keys), signed(secret=b"new", nonce=f'"{NONCE}x"'), CREATED).accepted

    def test_signed_and_unsigned_are_accepted_during_rotation(self) -> None:
        keys = Keys({API_KEY: Key((SECRET,), previous=(UNSIGNED,), previous_until=CREATED + 1)})
        assert authenticate_at(fresh(keys), signed(), CREATED).accepted
        assert authenticate_at(fresh(keys), unsigned(), CREATED).accepted
        assert (
            authenticate_at(fresh(keys), signed(secret=b"forged"), CREATED).reason is RejectionReason.SIGNATURE_WRONG
        )
        assert authenticate_at(fresh(keys), unsigned(), CREATED + 1).reason is RejectionReason.SIGNATURE_REQUIRED


class TestVerdict:
    def test_result_is_immutable(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            authenticated(signed()).accepted = False  # type: ignore[misc]

    def test_result_shows_no_api_key(self) -> None:
        assert OPEN_KEY not in repr(authenticated(unsigned(x_api_key=OPEN_KEY)))

    def test_reasons_are_distinct_names(self) -> None:
        assert len({reason.value for reason in RejectionReason}) == len(list(RejectionReason))


printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
structured = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
anything = st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1")))


class TestAnyRequest:
    @given(
        target=anything,
        headers=st.dictionaries(st.sampled_from([*HEADERS, "signature", "signature-input"]), anything),
        authority=st.none() | anything,
    )
    def test_garbage_is_rejected(self, target: str, headers: dict[str, str], authority: str | None) -> None:
        assert not authenticated(UpgradeRequest(target, headers, authority)).accepted

    @given(field=st.sampled_from(["signature", "signature-input"]), cut=st.data(), inserted=anything)
    def test_damaged_fields_raise_no_error(self, field: str, cut: st.DataObject, inserted: str) -> None:
        request = signed()
        text = request.headers[field]
        start = cut.draw(st.integers(0, len(text)))
        end = cut.draw(st.integers(start, len(text)))
        damaged = UpgradeRequest(TARGET, {**request.headers, field: text[:start] + inserted + text[end:]})
        verdict = authenticated(damaged)
        assert verdict.accepted is (verdict.reason is None)

    @given(headers=st.fixed_dictionaries(dict.fromkeys(HEADERS, anything)), target=anything)
    def test_signature_of_another_request_is_rejected(self, headers: dict[str, str], target: str) -> None:
        request = signed()
        assert not authenticated(UpgradeRequest(target, {**request.headers, **headers})).accepted


identified = st.fixed_dictionaries(
    {
        "host": printable.filter(lambda host: host.lower() not in {":", ":80", ":443"}),
        "audiohook-organization-id": printable,
        "audiohook-session-id": printable,
        "audiohook-correlation-id": printable,
        "x-api-key": printable,
    }
)
secrets = st.binary(min_size=1)


class TestOwnSignature:
    @given(
        target=printable,
        headers=identified,
        secret=secrets,
        nonce=structured.map(lambda text: text + "n" * 22),
        age=st.integers(-3, 13),
        lifetime=st.none() | st.integers(0, 10**12),
    )
    def test_own_signature_is_accepted(
        self, target: str, headers: dict[str, str], secret: bytes, nonce: str, age: int, lifetime: int | None
    ) -> None:
        request = UpgradeRequest(target, headers)
        now = 1_700_000_000
        created = now - age
        expires = None if lifetime is None else now + lifetime
        fields = sign(request, secret, created=created, nonce=nonce, expires=expires)
        sent = {**headers, "signature-input": fields.signature_input, "signature": fields.signature}
        authenticator = fresh(Keys({headers["x-api-key"]: Key((secret,))}))
        assert authenticate_at(authenticator, UpgradeRequest(target, sent), now).accepted

    @given(changed=st.sampled_from(SIX), value=printable)
    def test_any_single_change_is_rejected(self, changed: str, value: str) -> None:
        request = unsigned()
        fields = sign(request, SECRET, created=CREATED, nonce=NONCE)
        target = request.target
        headers = {**HEADERS, "signature-input": fields.signature_input, "signature": fields.signature}
        if changed == "@request-target":
            target += value
        else:
            headers["host" if changed == "@authority" else changed] += f"x{value}"
        everyone = Keys({API_KEY: Key((SECRET,)), headers["x-api-key"]: Key((SECRET,))})
        verdict = authenticate_at(fresh(everyone), UpgradeRequest(target, headers), CREATED)
        assert verdict.reason is RejectionReason.SIGNATURE_WRONG

    @given(flipped=st.integers(0, 255))
    def test_any_changed_bit_is_rejected(self, flipped: int) -> None:
        fields = sign(unsigned(), SECRET, created=CREATED, nonce=NONCE)
        mac = bytearray(base64.b64decode(fields.signature.removeprefix("sig1=").strip(":")))
        mac[flipped // 8] ^= 1 << flipped % 8
        request = unsigned(
            signature_input=fields.signature_input, signature=f"sig1=:{base64.b64encode(mac).decode()}:"
        )
        assert authenticated(request).reason is RejectionReason.SIGNATURE_WRONG
