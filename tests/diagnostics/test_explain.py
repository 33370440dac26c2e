"""The cause of a rejection is found, and shown without anything that grants access."""

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.keys.model import UNSIGNED, fingerprint
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from audiohookd.diagnostics.explain import Diagnosis, diagnose
from audiohookd.diagnostics.hypotheses import Hints, Kind
from tests.auth.foreign_signer import (
    API_KEY,
    CREATED,
    HOST,
    NONCE,
    SECRET,
    SECRET_TEXT,
    SESSION,
    SIX,
    TARGET,
    replaced,
    signed,
    unsigned,
)

SEGMENT = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~", min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z]{1,8}(-[a-z]{1,5})?(\.[a-z]{2,8}){1,3}", fullmatch=True)
INTERNAL = st.one_of(NAMES, st.just("127.0.0.1:3000"), st.just("backend:3000"), st.just("[::1]:3000"))
SECRETS = st.binary(min_size=16, max_size=48)


def diagnosis(request: UpgradeRequest, secret: bytes = SECRET, now: float = CREATED, **known: Any) -> Diagnosis:
    return diagnose(request, (secret,), now, **known)


def first(request: UpgradeRequest, secret: bytes = SECRET, now: float = CREATED, **known: Any) -> tuple[Kind, bool]:
    cause = diagnosis(request, secret, now, **known).causes[0]
    return cause.kind, cause.is_certain


def at(target: str, request: UpgradeRequest | None = None) -> UpgradeRequest:
    """The request as it arrives after a proxy has changed the target."""
    return UpgradeRequest(target, (request or signed()).headers)


def test_a_valid_request_is_accepted() -> None:
    found = diagnosis(signed())
    assert found.verdict is None
    assert [cause.kind for cause in found.causes] == [Kind.NOTHING]
    assert found.causes[0].text.endswith("it would be accepted, unless its nonce was used before")
    assert found.sent == found.expected


# ---- a single mutation is the first cause, and proven ------------------------------------------------


@given(INTERNAL.filter(lambda name: name != HOST), st.sampled_from(["x_forwarded_host", "x_original_host"]))
def test_a_host_that_a_header_tells(name: str, header: str) -> None:
    found = diagnosis(replaced(signed(), host=name, **{header: HOST}))
    assert (found.causes[0].kind, found.causes[0].is_certain) == (Kind.HOST, True)
    assert repr(HOST) in found.causes[0].text


@given(INTERNAL.filter(lambda name: name != HOST))
def test_a_host_that_the_user_knows(name: str) -> None:
    assert first(replaced(signed(), host=name), hints=Hints(hosts=("other.example.com", HOST))) == (Kind.HOST, True)


@given(st.sampled_from([f"{HOST}:3000", f"{HOST}:8443"]))
def test_a_port_that_a_proxy_added(name: str) -> None:
    assert first(replaced(signed(), host=name)) == (Kind.HOST, True)


@given(SEGMENT)
def test_a_prefix_that_a_proxy_took_off(prefix: str) -> None:
    whole = signed(values={"@request-target": f"/{prefix}{TARGET}"})
    assert first(replaced(whole, x_forwarded_prefix=f"/{prefix}")) == (Kind.PATH, True)
    assert first(whole, hints=Hints(paths=(f"/{prefix}/",))) == (Kind.PATH, True)


@given(st.lists(SEGMENT, min_size=1, max_size=3))
def test_a_prefix_that_a_proxy_added(prefix: list[str]) -> None:
    assert first(at(f"/{'/'.join(prefix)}{TARGET}")) == (Kind.PATH, True)


@pytest.mark.parametrize(
    ("asked", "arrived"),
    [
        ("/a/ws", "/a/ws/"),
        ("/a/ws/", "/a/ws"),
        ("/a/ws?x=1", "/a/ws/?x=1"),
        ("/a%2Fws", "/a/ws"),
        ("/a%20ws", "/a%2520ws"),
        ("/a%2fws", "/a%2Fws"),
        ("/a/ws?x=%2F", "/a/ws?x=%2f"),
        ("/a/ws", "//a/ws"),
        ("//a/ws", "/a/ws"),
        ("/a/ws", "/a/ws?utm=1"),
    ],
)
def test_a_path_that_was_rewritten(asked: str, arrived: str) -> None:
    if asked == "/a%2Fws":  # a decoded character cannot be distinguished from an unencoded one: the user has to say
        assert first(at(arrived, signed(values={"@request-target": asked})), hints=Hints(paths=(asked,)))[1]
    else:
        assert first(at(arrived, signed(values={"@request-target": asked}))) == (Kind.PATH, True)


@given(SECRETS, st.sampled_from([b"", b"\n", b"\r\n"]))
def test_a_secret_that_was_not_decoded(secret: bytes, ending: bytes) -> None:
    text = base64.b64encode(secret) + ending
    found = diagnosis(signed(secret=text), secret)
    assert (found.causes[0].kind, found.causes[0].is_certain) == (Kind.SECRET, True)
    assert "not decoded from base64" in found.causes[0].text


@given(SECRETS)
def test_a_secret_with_a_line_break(secret: bytes) -> None:
    assert first(signed(secret=secret + b"\n"), secret) == (Kind.SECRET, True)
    assert first(signed(secret=secret), secret + b"\n") == (Kind.SECRET, True)
    assert first(signed(secret=secret), base64.b64encode(secret)) == (Kind.SECRET, True)


@given(st.integers(-(10**9), 10**9))
def test_a_clock_that_is_wrong(seconds: int) -> None:
    found = diagnosis(signed(expires=None), now=CREATED + seconds)
    if -3 <= seconds <= 13:
        assert found.verdict is None
    else:
        assert (found.causes[0].kind, found.causes[0].is_certain) == (Kind.CLOCK, True)
        assert f" {abs(seconds)} s" in found.causes[0].text
        assert ("in the future" in found.causes[0].text) == (seconds < 0)


def test_the_secret_of_another_key() -> None:
    hints = Hints(keys=[("other", b"x"), ("theirs", SECRET), (API_KEY, b"own")])
    found = diagnosis(signed(), b"own", hints=hints)
    assert (found.causes[0].kind, found.causes[0].is_certain) == (Kind.KEY, True)
    assert fingerprint("theirs") in found.causes[0].text


def test_a_key_that_is_not_known() -> None:
    found = diagnose(signed(), None, CREATED, Hints(keys=[("theirs", SECRET)]))
    assert found.verdict is RejectionReason.API_KEY_UNKNOWN
    assert fingerprint("theirs") in found.causes[0].text
    assert fingerprint(API_KEY) in found.causes[1].text


def test_two_proxies_at_once() -> None:
    request = replaced(at(f"{TARGET}/"), host="backend:3000", x_forwarded_host=HOST)
    assert first(request) == (Kind.HOST, True)


def test_host_and_clock_are_both_told() -> None:
    request = replaced(signed(), host="backend", x_forwarded_host=HOST)
    assert [cause.kind for cause in diagnosis(request, now=CREATED + 100).causes] == [Kind.HOST, Kind.CLOCK]


def test_exchanged_identifiers_are_found() -> None:
    request = signed()
    exchanged = replaced(
        request,
        audiohook_session_id=request.headers["audiohook-correlation-id"],
        audiohook_correlation_id=SESSION,
    )
    assert first(exchanged) == (Kind.IDENTIFIERS, True)


def test_a_signer_with_the_method_in_its_target() -> None:
    assert first(signed(values={"@request-target": f"get {TARGET}"})) == (Kind.SIGNER, True)


# ---- what cannot be proven is a guess, and what can be read is not ------------------------------------


@given(SECRETS)
def test_a_wrong_secret_and_a_rewritten_name_are_both_named(secret: bytes) -> None:
    """A wrong secret, or a name or path that no header has: both are guesses, the secret first."""
    found = diagnosis(signed(secret=secret + b"!" * 50)).causes
    assert [(cause.kind, cause.is_certain) for cause in found] == [(Kind.SECRET, False), (Kind.HOST, False)]
    assert "--host NAME_IN_THE_CONNECTION_URI --path PATH" in found[1].text


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", HOST])
def test_the_secret_is_the_likeliest_cause_of_a_test_call_without_a_proxy(host: str) -> None:
    kinds = [cause.kind for cause in diagnosis(replaced(signed(secret=b"of nobody"), host=host)).causes]
    assert kinds[0] is Kind.SECRET
    assert set(kinds[1:]) == {Kind.HOST}


@pytest.mark.parametrize(
    "header", ["x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip", "x-envoy-original-path"]
)
def test_a_proxy_is_the_likeliest_cause_where_a_header_shows_one(header: str) -> None:
    request = replaced(signed(secret=b"of nobody"), host="127.0.0.1:3000")
    shown = UpgradeRequest(request.target, {**request.headers, header: "192.0.2.1"})
    assert [cause.kind for cause in diagnosis(shown).causes] == [Kind.HOST, Kind.HOST, Kind.SECRET]


@pytest.mark.parametrize("hints", [Hints(hosts=(HOST,)), Hints(paths=(TARGET,))])
def test_hints_that_fail_put_the_secret_first(hints: Hints) -> None:
    found = diagnosis(signed(secret=b"of nobody"), hints=hints).causes
    assert [(cause.kind, cause.is_certain) for cause in found] == [(Kind.SECRET, False), (Kind.HOST, False)]


@pytest.mark.parametrize(
    ("request_", "hints"),
    [
        (replaced(signed(), host="hook.example.com"), Hints(hosts=(HOST,))),
        (replaced(at("/ws"), host="hook.example.com"), Hints(hosts=(HOST,), paths=(TARGET,))),
        (at("/ws", signed(values={"@request-target": "/a/ws?bot=1"})), Hints(paths=("/a/ws?bot=1",))),
    ],
)
def test_a_target_without_a_header_needs_a_hint(request_: UpgradeRequest, hints: Hints) -> None:
    assert diagnosis(request_, hints=hints).causes[0].is_certain
    assert Kind.HOST in [cause.kind for cause in diagnosis(request_).causes if not cause.is_certain]


def test_host_is_not_blamed_where_the_authority_is_configured() -> None:
    request = replaced(signed(secret=b"of nobody"), host="127.0.0.1:3000")
    overridden = UpgradeRequest(request.target, request.headers, HOST)
    assert not any("not a name that Genesys Cloud can call" in line for line in diagnosis(overridden).lines())


@pytest.mark.parametrize("name", ["127.0.0.1:3000", "backend", "localhost:80", "[::1]:3000"])
def test_a_host_that_nobody_can_call_is_guessed_to_be_rewritten(name: str) -> None:
    told = "\n".join(diagnosis(replaced(signed(), host=name)).lines())
    assert "is not a name that Genesys Cloud can call: if the call came from there, a proxy" in told


@pytest.mark.parametrize(
    ("request_", "verdict"),
    [
        (unsigned(), RejectionReason.SIGNATURE_REQUIRED),
        (unsigned(x_api_key=None), RejectionReason.API_KEY_MISSING),
        (replaced(signed(), signature=None), RejectionReason.SIGNATURE_INCOMPLETE),
        (replaced(signed(), signature_input="((("), RejectionReason.MALFORMED),
        (signed(nonce=None), RejectionReason.PARAMETER_MISSING),
        (signed(nonce='"short"'), RejectionReason.NONCE_TOO_SHORT),
        (signed(SIX[:5]), RejectionReason.COMPONENT_NOT_COVERED),
        (replaced(signed(), audiohook_correlation_id=None), RejectionReason.COMPONENT_ABSENT),
        (signed(keyid='"another"'), RejectionReason.KEYID_MISMATCH),
        (signed(alg='"rsa-pss-sha512"'), RejectionReason.ALGORITHM_UNSUPPORTED),
        (signed((*SIX, "@method"), values={"@method": "GET"}), RejectionReason.COMPONENT_UNSUPPORTED),
    ],
    ids=lambda value: str(value) if isinstance(value, RejectionReason) else "",
)
def test_a_certain_reason_is_explained(request_: UpgradeRequest, verdict: RejectionReason) -> None:
    found = diagnosis(request_)
    assert found.verdict is verdict
    assert found.causes[0].is_certain


def test_details_are_shown() -> None:
    assert "5 characters" in diagnosis(signed(nonce='"short"')).causes[0].text
    assert "x-api-key" in diagnosis(signed(SIX[:5])).causes[0].text
    absent = diagnosis(replaced(signed(), audiohook_correlation_id=None))
    assert "audiohook-correlation-id" in absent.causes[0].text
    assert absent.expected == "none can be computed"


def test_a_key_without_a_secret() -> None:
    found = diagnose(unsigned(), (UNSIGNED,), CREATED)
    assert found.verdict is None
    assert found.causes[0].text.endswith("it would be accepted")
    assert diagnose(signed(), (UNSIGNED,), CREATED).verdict is RejectionReason.SIGNATURE_UNEXPECTED


def test_a_replay_is_explained_by_the_record() -> None:
    assert first(signed(), seen=RejectionReason.REPLAYED) == (Kind.REPLAY, True)
    assert first(signed(), seen=RejectionReason.REPLAY_STORE_DOWN) == (Kind.REPLAY, True)


def test_a_key_that_has_become_right_meanwhile() -> None:
    assert diagnosis(signed(), seen=RejectionReason.SIGNATURE_WRONG).verdict is None


@pytest.mark.parametrize("seen", RejectionReason)
def test_there_is_something_to_say_of_every_reason(seen: RejectionReason) -> None:
    assert diagnosis(signed(), seen=seen).causes[0].text


# ---- what is shown -----------------------------------------------------------------------------------


def test_the_base_line_by_line() -> None:
    base = diagnosis(signed()).base
    assert base[:2] == (f'"@request-target": {TARGET}', f'"@authority": {HOST}')
    assert base[5] == f'"x-api-key": <32 characters, {fingerprint(API_KEY)}>'
    assert base[6].endswith(';alg="hmac-sha256";created=1641013200;expires=3282026430')
    assert len(base) == 7


def assert_harmless(text: str, request: UpgradeRequest, *secrets: bytes) -> None:
    mac = request.headers.get("signature", "sig1=:none:").split(":")[1]
    hidden = [API_KEY, NONCE, mac, mac.rstrip("="), *(base64.b64encode(secret).decode() for secret in secrets)]
    for word in (*hidden, *(secret.decode("latin-1") for secret in secrets)):
        for size in (len(word), len(word) - 1, 12):
            assert word[:size] not in text


@given(
    st.sampled_from([SECRET, b"another secret of ours"]),
    st.sampled_from([TARGET, f"/x?key={API_KEY}", f"/{NONCE}"]),
    st.sampled_from([HOST, "backend:1", API_KEY.lower(), API_KEY]),
    st.sampled_from([None, API_KEY, f"a, {NONCE}"]),
    st.integers(-100, 100),
)
def test_nothing_that_is_shown_lets_anybody_in(
    secret: bytes, target: str, host: str, forwarded: str | None, late: int
) -> None:
    """Also for a request with the key in an unexpected place."""
    request = replaced(at(target), host=host, x_forwarded_host=forwarded)
    found = diagnosis(request, secret, CREATED + late, hints=Hints(keys=[("further", b"a further secret, too")]))
    text = "\n".join(found.lines())
    assert_harmless(text, request, SECRET, secret, b"a further secret, too")
    assert not re.search(r"[A-Za-z0-9+/]{40,}={1,2}", text)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?bot=7", "?bot=7"),
        ("?session=1&x=", "?session=1&x="),
        ("?token=0123456789", f"?token=<10 characters, {fingerprint('0123456789')}>"),
        ("?a=1&token=0123456789&b=2", f"?a=1&token=<10 characters, {fingerprint('0123456789')}>&b=2"),
        ("?0123456789", f"?<10 characters, {fingerprint('0123456789')}>"),
        ("?t=01234=5678", f"?t=<10 characters, {fingerprint('01234=5678')}>"),
    ],
)
def test_values_of_a_query_may_be_secrets(query: str, shown: str) -> None:
    found = diagnosis(at(f"{TARGET}/{query}", signed(values={"@request-target": TARGET + query})))
    assert found.base[0] == f'"@request-target": {TARGET}/{shown}'
    assert f"'{TARGET}/{shown}': with '{TARGET}{shown}' (without the slash at its end)" in found.causes[0].text


def test_an_unsigned_key_is_a_password() -> None:
    assert_harmless("\n".join(diagnosis(unsigned()).lines()), unsigned())


def test_a_covered_header_of_somebody_is_not_shown() -> None:
    request = signed((*SIX, "cookie"), headers={"cookie": "session=secret-of-somebody"})
    found = diagnosis(request)
    assert found.verdict is None
    assert "secret-of-somebody" not in "\n".join(found.lines())


def test_neither_secret_nor_text_is_in_a_representation() -> None:
    assert SECRET_TEXT not in repr(Hints(keys=[("k", SECRET)]))
    assert repr(SECRET) not in repr(Hints(keys=[("k", SECRET)]))


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=50), st.text(max_size=50))
def test_any_request_gets_a_diagnosis(signature_input: str, signature: str, host: str, target: str) -> None:
    headers = {**signed().headers, "signature-input": signature_input, "signature": signature, "host": host}
    found = diagnosis(UpgradeRequest(target, headers))
    assert found.causes
    assert all(line.isprintable() for line in found.lines())
    assert max(map(len, found.lines())) < 600


def test_many_keys_and_long_paths_cost_a_bounded_number_of_tries() -> None:
    tried: list[str] = []

    def endless() -> Any:
        while True:
            tried.append("key")
            yield f"key {len(tried)}", b"secret"

    target = "/a" * 4000
    diagnosis(at(target), b"own", hints=Hints(keys=endless()))
    assert len(tried) <= 256
