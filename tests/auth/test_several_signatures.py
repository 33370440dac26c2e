"""A request with several signatures (RFC 9421, section 3.2): the client's counts, in whatever place it stands."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from audiohookd.auth.authenticator import Authenticator, AuthResult
from audiohookd.auth.keys.model import UNSIGNED, Key, Keys
from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import message_signature
from audiohookd.auth.signature.fields import MAX_INPUT, MAX_SIGNATURE, MAX_VERIFIED
from audiohookd.auth.signature.message_signature import verify_any
from audiohookd.diagnostics.explain import Diagnosis, diagnose
from tests.auth.foreign_signer import API_KEY, CREATED, NONCE, SECRET, SIX, replaced, signed, unsigned
from tests.auth.signature_rig import refusal, verified


def octets(size: int) -> str:
    return ":" + base64.b64encode(bytes(size)).decode() + ":"


#: What intermediaries add: label, Signature-Input and Signature.
OTHERS = {
    "ecdsa": ("edge", '("@authority" "x-api-key");created=1;keyid="edge-1";alg="ecdsa-p256-sha256"', octets(64)),
    "rsa of 4,096 bits": ("proxy", '("@authority");created=1;keyid="p";nonce="n";alg="rsa-v1_5-sha256"', octets(512)),
    "no parameters": ("a", "()", octets(32)),
    "of our kind": ("z", f'("host");created={CREATED};keyid="other";nonce="{NONCE}";alg="hmac-sha256"', octets(32)),
    "components that AudioHook does not have": ("m", '("@method" "@path");created=1;keyid="k";nonce="n"', octets(32)),
    "component with parameters": ("q", '("@query-param";name="a");created=1;keyid="k";nonce="n"', octets(32)),
    "of a message before": ("r", '("signature";req;key="sig1");created=1;keyid="k";nonce="n"', octets(32)),
    "an absent header": ("c", '("content-digest");created=1;keyid="k";nonce="n"', octets(32)),
    "a tag": ("t", '("@authority");created=1;keyid="k";nonce="n";tag="web-bot-auth"', octets(64)),
    "no list": ("i", "1", octets(32)),
    "no octets": ("s", '("@authority");created=1;keyid="k";nonce="n"', '"text"'),
    "created is no number": ("d", '("@authority");created="1";keyid="k";nonce="n"', octets(32)),
}
Member = tuple[str, str, str]


@pytest.mark.parametrize("text", ["edge", "edge;created=1", "edge;a", 'edge;keyid="a=b"'])
def test_a_label_without_a_value_is_no_signature(text: str) -> None:
    request = signed()
    fields = {"signature_input": f"{text}, {request.headers['signature-input']}"}
    verified(replaced(request, signature=f"edge=:AA==:, {request.headers['signature']}", **fields))
    assert refusal(replaced(request, signature_input=text, signature="edge=:AA==:")) is RejectionReason.MALFORMED


def with_others(request: UpgradeRequest, *others: Member, last: bool = False) -> UpgradeRequest:
    """The request with more signatures before its own, or after it."""
    fields = []
    for name, place in (("signature-input", 1), ("signature", 2)):
        members = [f"{other[0]}={other[place]}" for other in others]
        members.insert(len(members) if last else 0, "")
        own = [request.headers[name]] if name in request.headers else []
        members = [*own, *members[:-1]] if last else [*members[1:], *own]
        fields.append(", ".join(members))
    return replaced(request, signature_input=fields[0], signature=fields[1])


@pytest.mark.parametrize("last", [False, True], ids=["before ours", "after ours"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_the_client_s_signature_counts_beside_another(other: Member, last: bool) -> None:
    found = verified(with_others(signed(), other, last=last))
    assert (found.label, found.keyid, found.nonce) == ("sig1", API_KEY, NONCE)


def test_the_order_of_the_two_fields_does_not_matter() -> None:
    request = with_others(signed(), OTHERS["ecdsa"], OTHERS["of our kind"])
    parts = request.headers["signature"].split(", ")
    verified(replaced(request, signature=", ".join(reversed(parts))))


def test_a_label_in_one_field_only_does_not_count() -> None:
    request = signed()
    verified(replaced(request, signature=f"lone=:AA==:, {request.headers['signature']}"))
    verified(replaced(request, signature_input=f"lone=(), {request.headers['signature-input']}"))


def forged(number: int, key: str = API_KEY) -> Member:
    return (f"f{number}", f'();created={CREATED};keyid="{key}";nonce="{NONCE}"', octets(32))


def test_a_forgery_with_our_key_before_ours_does_not_hide_it() -> None:
    assert verified(with_others(signed(), *map(forged, range(MAX_VERIFIED - 1)))).label == "sig1"


def test_beyond_the_bound_no_signature_is_verified() -> None:
    assert refusal(with_others(signed(), *map(forged, range(MAX_VERIFIED)))) is RejectionReason.SIGNATURE_WRONG


def test_signatures_of_other_keys_do_not_count_towards_the_bound() -> None:
    others = [forged(number, f"k{number}") for number in range(3 * MAX_VERIFIED)]
    request = with_others(signed(), *others)
    assert len(request.headers["signature-input"]) <= MAX_INPUT
    assert len(request.headers["signature"]) <= MAX_SIGNATURE
    assert verified(request).label == "sig1"


@pytest.mark.parametrize("secrets", [None, (UNSIGNED,), (b"other",), (b"one", b"two", b"three", b"four")])
def test_known_and_unknown_keys_cost_the_same_number_of_macs(
    secrets: tuple[bytes, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    mac = message_signature.mac
    monkeypatch.setattr(message_signature, "mac", lambda *arguments: (counted.append(1), mac(*arguments))[1])
    request = with_others(signed(), *map(forged, range(10)))
    with pytest.raises(SignatureRejected):
        verify_any(request, secrets, CREATED)
    assert len(counted) == MAX_VERIFIED * message_signature._TRIES


@pytest.mark.parametrize("last", [False, True], ids=["before ours", "after ours"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_the_reason_of_a_refusal_is_about_the_client_s_signature(other: Member, last: bool) -> None:
    assert refusal(with_others(signed(secret=b"wrong"), other, last=last)) is RejectionReason.SIGNATURE_WRONG
    assert refusal(with_others(signed(nonce=None), other, last=last)) is RejectionReason.PARAMETER_MISSING
    assert refusal(with_others(signed(), other, last=last), now=CREATED + 60) is RejectionReason.TOO_OLD


def test_the_reason_is_that_of_a_genuine_signature_where_there_is_one() -> None:
    request = with_others(signed(), forged(1), forged(2))
    assert refusal(request, now=CREATED + 60) is RejectionReason.TOO_OLD


# ---- the authenticator -------------------------------------------------------------------------------

OPEN_KEY = "an-open-key"


def verdict(request: UpgradeRequest, *before: UpgradeRequest) -> AuthResult:
    keys = Keys({API_KEY: Key((SECRET,)), OPEN_KEY: Key((UNSIGNED,))})
    authenticator = Authenticator(keys, MemoryReplayStore(16, Clock().seconds))
    found: list[Any] = []
    for one in (*before, request):
        authenticator.authenticate(one, CREATED).addCallback(found.append)
    return found[-1]


def test_the_nonce_that_is_remembered_is_that_of_the_signature_that_verified() -> None:
    first = with_others(signed(), OTHERS["of our kind"])
    again = with_others(signed(), forged(1))
    assert verdict(first).accepted
    assert verdict(again, first).reason is RejectionReason.REPLAYED
    other_nonce = signed(nonce='"another-nonce-of-24-char"')
    assert verdict(with_others(other_nonce, OTHERS["of our kind"]), first).accepted


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_key_without_a_secret_is_unsigned_whatever_others_sign(other: Member) -> None:
    found = verdict(with_others(unsigned(x_api_key=OPEN_KEY), other))
    assert found.accepted
    assert found.nonce_id is None


def test_a_key_without_a_secret_is_not_signed_for() -> None:
    request = signed(headers={"x-api-key": OPEN_KEY}, keyid=f'"{OPEN_KEY}"')
    assert verdict(request).reason is RejectionReason.SIGNATURE_UNEXPECTED
    assert verdict(with_others(request, OTHERS["ecdsa"])).reason is RejectionReason.SIGNATURE_UNEXPECTED
    of_another_key = signed(headers={"x-api-key": OPEN_KEY}, keyid=f'"{API_KEY}"')
    assert verdict(of_another_key).reason is RejectionReason.SIGNATURE_UNEXPECTED


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_the_signature_of_another_does_not_stand_for_the_client_s(other: Member) -> None:
    assert not verdict(with_others(unsigned(), other)).accepted


# ---- what explain-signature says ---------------------------------------------------------------------


def explained(request: UpgradeRequest, *secrets: bytes) -> Diagnosis:
    return diagnose(request, Keys({API_KEY: Key(secrets or (SECRET,))}), CREATED)


@pytest.mark.parametrize("last", [False, True], ids=["before ours", "after ours"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_diagnosis_is_about_the_client_s_signature(other: Member, last: bool) -> None:
    request = with_others(signed(values={"@authority": "called.example.com"}), other, last=last)
    found = explained(replaced(request, x_forwarded_host="called.example.com"))
    assert found.verdict is RejectionReason.SIGNATURE_WRONG
    assert (found.label, found.others) == ("sig1", (other[0],))
    assert found.causes[0].text.startswith("Host was rewritten")
    assert found.causes[0].is_certain
    lines = found.lines()
    assert f"the signature sig1 counts, not {other[0]}" in lines
    assert "the components that the signature sig1 covers, as received (secrets replaced):" in lines


def test_a_diagnosis_of_a_good_request_names_the_label() -> None:
    found = explained(with_others(signed(label="ours"), OTHERS["ecdsa"]))
    assert (found.verdict, found.label, found.others) == (None, "ours", ("edge",))


def test_one_signature_has_no_others() -> None:
    found = explained(signed())
    assert (found.label, found.others) == ("sig1", ())
    assert not any("counts, not" in line for line in found.lines())


def test_a_diagnosis_of_a_key_without_a_secret_lets_others_sign() -> None:
    request = with_others(unsigned(), OTHERS["ecdsa"])
    found = explained(request, UNSIGNED)
    assert (found.verdict, found.label, found.others) == (None, "", ("edge",))
    assert "does not count: edge" in found.lines()


def test_a_label_that_is_a_key_is_not_shown() -> None:
    request = with_others(unsigned(x_api_key="secret-api-key"), ("secret-api-key", "()", octets(32)))
    keys = Keys({"secret-api-key": Key((SECRET,))})
    lines = "\n".join(diagnose(request, keys, CREATED).lines())
    assert "secret-api-key" not in lines


labels = st.from_regex(r"[a-z*][a-z0-9_.*-]{0,8}", fullmatch=True).filter(lambda label: label != "sig1")


@given(
    st.lists(st.sampled_from(sorted(OTHERS.values())), max_size=3),
    st.lists(labels, min_size=3, unique=True),
    st.data(),
)
def test_any_mixture_is_accepted_with_a_genuine_signature_and_refused_without(
    others: list[Member], names: list[str], data: st.DataObject
) -> None:
    members = [(name, text, value) for name, (_, text, value) in zip(names, others, strict=False)]
    own = signed()
    at = data.draw(st.integers(0, len(members)))
    request = own
    if members[:at]:
        request = with_others(request, *members[:at])
    if members[at:]:
        request = with_others(request, *members[at:], last=True)
    if len(request.headers["signature"]) <= MAX_SIGNATURE:
        assert verified(request).components == SIX
    assert refusal(replaced(request, audiohook_correlation_id="other")) in (
        RejectionReason.SIGNATURE_WRONG,
        RejectionReason.MALFORMED,  # three signatures of RSA are beyond the bound
    )
