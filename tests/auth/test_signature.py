"""Protocol section 2.3: valid and rejected signatures, and the signatures that the daemon creates."""

import base64
import datetime
import hmac
from typing import Any

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import REQUIRED_COMPONENTS, sign, verify_any
from tests.auth import foreign_signer as foreign
from tests.auth.foreign_signer import (
    API_KEY,
    CREATED,
    EXPIRES,
    HOST,
    NONCE,
    SECRET,
    SIX,
    TARGET,
    replaced,
    signed,
    unsigned,
)
from tests.auth.signature_rig import ODD, refusal, verified


class TestDocumentedExample:
    def test_the_foreign_signer_reproduces_it(self) -> None:
        assert signed().headers["signature"] == f"sig1=:{foreign.DOCUMENTED_SIGNATURE}:"

    def test_the_documented_example_verifies(self) -> None:
        signature = verified(signed())
        assert signature.components == SIX
        assert (signature.keyid, signature.nonce, signature.alg) == (API_KEY, NONCE, "hmac-sha256")
        assert (signature.created, signature.expires) == (CREATED, EXPIRES)

    def test_daemon_signs_the_same(self) -> None:
        fields = sign(unsigned(), SECRET, created=CREATED, nonce=NONCE, expires=EXPIRES)
        assert fields.signature == f"sig1=:{foreign.DOCUMENTED_SIGNATURE}:"
        assert fields.signature_input == f"sig1={foreign.rendering()}"

    def test_a_method_before_the_target_does_not_verify(self) -> None:
        request = signed(values={"@request-target": f"get {TARGET}"})
        assert refusal(request) is RejectionReason.SIGNATURE_WRONG


class Message:
    """A request as http_message_signatures wants it."""

    method = "GET"

    def __init__(self, headers: dict[str, str], target: str = TARGET) -> None:
        self.url = f"https://{HOST}{target}"
        self.headers = dict(headers)


class TimelessVerifier(HTTPMessageVerifier):
    """Theirs without their clock: theirs cannot be given the time."""

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        pass


class TestIndependentImplementation:
    keys = MappingKeyResolver(public_keys={API_KEY: SECRET}, private_keys={API_KEY: SECRET})

    def theirs(self, target: str = TARGET, **options: Any) -> UpgradeRequest:
        message = Message(foreign.HEADERS, target)
        HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=self.keys).sign(
            message,
            key_id=API_KEY,
            nonce=NONCE,
            created=datetime.datetime.fromtimestamp(CREATED, datetime.UTC),
            covered_component_ids=options.pop("covered_component_ids", SIX),
            **options,
        )
        return UpgradeRequest(target, {name.lower(): text for name, text in message.headers.items()})

    @pytest.mark.parametrize("target", [TARGET, "/a/b%2Fc?x=1&y=%7E+z", "//double?", "/"])
    def test_we_verify_theirs(self, target: str) -> None:
        assert verified(self.theirs(target)).components == SIX

    def test_we_verify_theirs_in_another_order_with_label_and_tag(self) -> None:
        request = self.theirs(covered_component_ids=tuple(reversed(SIX)), label="other", tag="audiohook")
        assert verified(request).components == tuple(reversed(SIX))

    def test_we_verify_theirs_without_alg_and_with_expires(self) -> None:
        expires = datetime.datetime.fromtimestamp(CREATED + 30, datetime.UTC)
        assert verified(self.theirs(include_alg=False, expires=expires)).expires == CREATED + 30

    @pytest.mark.parametrize("target", [TARGET, "/a/b%2Fc?x=1&y=%7E+z"])
    def test_they_verify_ours(self, target: str) -> None:
        request = UpgradeRequest(target, foreign.HEADERS)
        fields = sign(request, SECRET, created=CREATED, nonce=NONCE)
        message = Message(foreign.HEADERS, target)
        message.headers |= {"Signature-Input": fields.signature_input, "Signature": fields.signature}
        verifier = TimelessVerifier(signature_algorithm=HMAC_SHA256, key_resolver=self.keys)
        [result] = verifier.verify(message, require_components=SIX)
        assert result.nonce == NONCE


class TestSecrets:
    def test_wrong_secret_is_rejected(self) -> None:
        assert refusal(signed(), secret=b"other") is RejectionReason.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        ("secret", "reason"), [(None, RejectionReason.API_KEY_UNKNOWN), (b"", RejectionReason.SIGNATURE_UNEXPECTED)]
    )
    @pytest.mark.parametrize("signers", [SECRET, b"", bytes(32)])
    def test_none_never_verifies(self, secret: bytes | None, reason: RejectionReason, signers: bytes) -> None:
        assert refusal(signed(secret=signers), secret=secret) is reason

    def test_none_takes_the_same_work_as_a_wrong_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, lengths = hmac.digest, []

        def counted(key: bytes, message: bytes, digest: Any) -> bytes:
            lengths.append(len(message))
            return real(key, message, digest)

        monkeypatch.setattr(hmac, "digest", counted)
        work = []
        for secrets in ((b"other",), None, (b"",), (b"one", b"other"), (b"one", b"", b"other", b"last"), (SECRET,)):
            request = signed(text=ODD, secret=b"forged")
            with pytest.raises(SignatureRejected):
                verify_any(request, secrets, CREATED)
            work.append(lengths.copy())
            lengths.clear()
        assert [one for one in work if one != work[0]] == []
        # Of each of the two spellings, four times.
        assert len(work[0]) == 8

    def test_any_secret_of_the_key_verifies(self) -> None:
        for secrets in ((SECRET,), (b"other", SECRET), (SECRET, b"other"), (b"", b"1", b"2", SECRET)):
            assert verify_any(signed(), secrets, CREATED) == verified(signed())

    def test_the_one_in_place_of_those_that_are_missing_does_not(self) -> None:
        with pytest.raises(SignatureRejected, match="signature-wrong"):
            verify_any(signed(secret=bytes(32)), (b"other",), CREATED)

    def test_secrets_are_not_shown(self) -> None:
        request = signed()
        shown = repr(request) + repr(verified(request))
        assert API_KEY not in shown
        assert foreign.DOCUMENTED_SIGNATURE not in shown
        assert repr(base64.b64decode(foreign.DOCUMENTED_SIGNATURE)) not in shown

    def test_the_error_quotes_nothing(self) -> None:
        with pytest.raises(SignatureRejected, match=r"^signature-wrong$"):
            verified(signed(secret=b"other"))


class TestSign:
    def test_required_components_are_the_documented_ones(self) -> None:
        assert REQUIRED_COMPONENTS == SIX

    def test_label_components_and_expiry_can_be_chosen(self) -> None:
        request = unsigned(user_agent="x")
        covered = ("user-agent", *SIX)
        fields = sign(request, SECRET, created=CREATED, nonce=NONCE, components=iter(covered), label="mine")
        assert fields.signature_input.startswith('mine=("user-agent" ')
        assert "expires" not in fields.signature_input
        assert verified(replaced(request, **fields._asdict())).components == covered

    def test_a_component_that_is_not_there(self) -> None:
        with pytest.raises(SignatureRejected, match="component-absent"):
            sign(unsigned(audiohook_session_id=None), SECRET, created=CREATED, nonce=NONCE)

    @pytest.mark.parametrize("mistake", [{"nonce": "\xe9"}, {"label": "Upper"}, {"created": 10**15}])
    def test_invalid_structured_values_are_errors(self, mistake: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"disallowed|legal|allowed|range"):
            sign(unsigned(), SECRET, **{"created": CREATED, "nonce": NONCE, **mistake})
