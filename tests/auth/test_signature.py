"""Protocol section 2.3: what verifies, what is refused and why, and what we sign ourselves."""

import base64
import datetime
import hmac
import itertools
from typing import Any

import foreign_signer as foreign
import pytest
from foreign_signer import (
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
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.fields import Signature, parse
from audiohookd.auth.refusal import Refusal, SignatureRefused
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import REQUIRED_COMPONENTS, sign, verify


def verified(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> Signature:
    return verify(request, secret, now)


def refusal(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> Refusal:
    with pytest.raises(SignatureRefused) as caught:
        verify(request, secret, now)
    return caught.value.reason


class TestDocumentedExample:
    def test_the_foreign_signer_reproduces_it(self) -> None:
        assert signed().headers["signature"] == f"sig1=:{foreign.DOCUMENTED_SIGNATURE}:"

    def test_verifies(self) -> None:
        signature = verified(signed())
        assert signature.components == SIX
        assert (signature.keyid, signature.nonce, signature.alg) == (API_KEY, NONCE, "hmac-sha256")
        assert (signature.created, signature.expires) == (CREATED, EXPIRES)

    def test_is_what_we_sign(self) -> None:
        fields = sign(unsigned(), SECRET, created=CREATED, nonce=NONCE, expires=EXPIRES)
        assert fields.signature == f"sig1=:{foreign.DOCUMENTED_SIGNATURE}:"
        assert fields.signature_input == f"sig1={foreign.rendering()}"

    def test_a_method_before_the_target_does_not_verify(self) -> None:
        request = signed(values={"@request-target": f"get {TARGET}"})
        assert refusal(request) is Refusal.SIGNATURE_WRONG


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


class TestAgainstAnIndependentImplementation:
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


class TestTime:
    @pytest.mark.parametrize("age", [-3, 0, 10, 13])
    def test_created_may_be_ten_seconds_ago_and_clocks_three_apart(self, age: int) -> None:
        verified(signed(), now=CREATED + age)

    @pytest.mark.parametrize(
        ("age", "reason"),
        [
            (14, Refusal.TOO_OLD),
            (13.001, Refusal.TOO_OLD),
            (-3.001, Refusal.NOT_YET_VALID),
            (-4, Refusal.NOT_YET_VALID),
        ],
    )
    def test_outside_of_that_it_is_refused(self, age: float, reason: Refusal) -> None:
        assert refusal(signed(), now=CREATED + age) is reason

    def test_limits_are_parameters(self) -> None:
        verify(signed(), SECRET, CREATED + 61, max_age=60, skew=1)
        verify(signed(), SECRET, CREATED - 1, max_age=60, skew=1)
        with pytest.raises(SignatureRefused, match="too-old"):
            verify(signed(), SECRET, CREATED + 62, max_age=60, skew=1)

    @pytest.mark.parametrize("late", [-1, 0, 3])
    def test_expires_may_have_passed_by_the_skew(self, late: int) -> None:
        verified(signed(expires=str(CREATED)), now=CREATED + late)

    @pytest.mark.parametrize("late", [3.001, 4])
    def test_expired(self, late: float) -> None:
        assert refusal(signed(expires=str(CREATED)), now=CREATED + late) is Refusal.EXPIRED

    def test_expires_is_optional(self) -> None:
        assert verified(signed(expires=None)).expires is None

    def test_expires_zero_is_a_value(self) -> None:
        assert refusal(signed(expires="0")) is Refusal.EXPIRED

    def test_created_zero_is_a_value(self) -> None:
        assert refusal(signed(created="0")) is Refusal.TOO_OLD
        assert verified(signed(created="0"), now=0).created == 0

    def test_before_1970(self) -> None:
        assert refusal(signed(created="-999999999999999")) is Refusal.TOO_OLD


class TestParameters:
    @pytest.mark.parametrize("name", ["created", "nonce", "keyid"])
    def test_required(self, name: str) -> None:
        absent: dict[str, Any] = {name: None}
        assert refusal(signed(**absent)) is Refusal.PARAMETER_MISSING

    def test_required_ones_suffice(self) -> None:
        verified(signed(alg=None, expires=None))

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            *itertools.product(("created", "expires"), ("?1", "1641013200.0", '"1641013200"', "a", "9" * 16)),
            *itertools.product(("created", "expires"), ("@1641013200", ":AA==:")),
            *itertools.product(("keyid", "nonce", "alg"), ("1", "?0", "token", ":AA==:", '%"a"')),
        ],
    )
    def test_of_the_wrong_type(self, name: str, text: str) -> None:
        wrong: dict[str, Any] = {name: text}
        assert refusal(signed(**wrong)) is Refusal.MALFORMED

    @pytest.mark.parametrize("name", ["created", "expires", "keyid", "nonce", "alg"])
    def test_without_a_value_is_a_boolean(self, name: str) -> None:
        absent: dict[str, Any] = {name: None}
        assert refusal(signed(text=f"{foreign.rendering(**absent)};{name}")) is Refusal.MALFORMED

    @pytest.mark.parametrize("nonce", ["", "a" * 21])
    def test_short_nonce(self, nonce: str) -> None:
        assert refusal(signed(nonce=f'"{nonce}"')) is Refusal.NONCE_TOO_SHORT

    def test_nonce_of_128_bits(self) -> None:
        assert verified(signed(nonce=f'"{"a" * 22}"')).nonce == "a" * 22

    def test_alg_is_optional(self) -> None:
        assert verified(signed(alg=None)).alg is None

    @pytest.mark.parametrize("alg", ["", "HMAC-SHA256", "hmac-sha512", "none"])
    def test_other_alg(self, alg: str) -> None:
        assert refusal(signed(alg=f'"{alg}"')) is Refusal.ALGORITHM_UNSUPPORTED

    def test_alg_is_looked_at_after_the_mac(self) -> None:
        assert refusal(signed(alg='"none"', secret=b"other")) is Refusal.SIGNATURE_WRONG

    @pytest.mark.parametrize("keyid", ["", "other", API_KEY.lower()])
    def test_other_keyid(self, keyid: str) -> None:
        assert refusal(signed(keyid=f'"{keyid}"')) is Refusal.KEYID_MISMATCH

    def test_unknown_ones_are_fine(self) -> None:
        verified(signed(tag='"audiohook"', x="?1", y="1.5", z="@1", t="token", b=":AA==:", d='%"%c3%bc"'))

    def test_twice(self) -> None:
        assert refusal(signed(text=f"{foreign.rendering()};created={CREATED}")) is Refusal.DUPLICATE


class TestComponents:
    @pytest.mark.parametrize("name", SIX)
    def test_six_are_required(self, name: str) -> None:
        covered = [other for other in SIX if other != name]
        assert refusal(signed(covered)) is Refusal.COMPONENT_NOT_COVERED

    def test_none_at_all(self) -> None:
        assert refusal(signed(())) is Refusal.COMPONENT_NOT_COVERED

    def test_are_taken_in_the_order_of_the_header(self) -> None:
        covered = ("x-api-key", "@authority", *SIX[2:5], "@request-target")
        assert verified(signed(covered)).components == covered

    def test_more_may_be_covered(self) -> None:
        verified(signed((*SIX, "user-agent", "empty"), headers={"user-agent": "Genesys", "empty": ""}))

    def test_covered_but_absent(self) -> None:
        request = replaced(signed((*SIX, "user-agent"), headers={"user-agent": "Genesys"}), user_agent=None)
        assert refusal(request) is Refusal.COMPONENT_ABSENT

    @pytest.mark.parametrize("name", ["@method", "@path", "@signature-params", "@", "@query-param"])
    def test_unknown_derived_ones(self, name: str) -> None:
        # Also when somebody sends a header of that name, which an HTTP parser may let pass.
        request = signed((*SIX, name), headers={name: "GET"})
        assert refusal(request) is Refusal.COMPONENT_UNSUPPORTED

    @pytest.mark.parametrize("name", [*SIX, "user-agent"])
    def test_twice(self, name: str) -> None:
        assert refusal(signed((*SIX, "user-agent", name), headers={"user-agent": "x"})) is Refusal.DUPLICATE

    @pytest.mark.parametrize("parameter", ["sf", "req", "bs", 'key="a"', "sf=?0"])
    def test_with_parameters(self, parameter: str) -> None:
        text = foreign.rendering().replace('"x-api-key"', f'"x-api-key";{parameter}')
        assert refusal(signed(text=text)) is Refusal.COMPONENT_UNSUPPORTED

    @pytest.mark.parametrize("item", ["x-api-key", "1", "?1", ":AA==:", '%"x-api-key"'])
    def test_that_are_not_strings(self, item: str) -> None:
        assert refusal(signed(text=foreign.rendering().replace('"x-api-key"', item))) is Refusal.MALFORMED

    def test_names_are_lower_case(self) -> None:
        request = signed((*SIX[:5], "X-Api-Key"), values={"X-Api-Key": API_KEY})
        assert refusal(request) is Refusal.COMPONENT_ABSENT


class TestValues:
    @pytest.mark.parametrize(
        ("host", "normal"),
        [
            ("Audiohook.EXAMPLE.com", HOST),
            (f"{HOST}:443", HOST),
            (f"{HOST}:80", HOST),
            (f"{HOST}:", HOST),
            (f" {HOST}\t", HOST),
            (f"{HOST}:8443", f"{HOST}:8443"),
            (f"{HOST}:4430", f"{HOST}:4430"),
            (f"{HOST}:1443", f"{HOST}:1443"),
            ("[2001:DB8::80]:443", "[2001:db8::80]"),
            ("[2001:db8::80]", "[2001:db8::80]"),
        ],
    )
    def test_authority_is_normalised(self, host: str, normal: str) -> None:
        verified(signed(headers={"host": host}, values={"@authority": normal}))

    def test_authority_can_be_told(self) -> None:
        request = replaced(signed(), host="10.0.0.7:8080")
        assert refusal(request) is Refusal.SIGNATURE_WRONG
        verified(UpgradeRequest(TARGET, request.headers, authority="AudioHook.example.com:443"))

    @pytest.mark.parametrize("host", [None, "", ":443"])
    def test_no_authority(self, host: str | None) -> None:
        assert refusal(replaced(signed(values={"@authority": ""}), host=host)) is Refusal.COMPONENT_ABSENT

    def test_target_is_not_decoded(self) -> None:
        request = signed(values={"@request-target": "/a%2Fb?q=%7E"})
        verified(UpgradeRequest("/a%2Fb?q=%7E", request.headers))
        assert refusal(UpgradeRequest("/a/b?q=~", request.headers)) is Refusal.SIGNATURE_WRONG

    def test_no_target(self) -> None:
        request = signed(values={"@request-target": ""})
        assert refusal(UpgradeRequest("", request.headers)) is Refusal.COMPONENT_ABSENT

    @pytest.mark.parametrize(
        ("sent", "taken"),
        [
            (" \t one  two \t", "one  two"),
            ("one\r\n two", "one two"),
            ("one \t\r\n \t two", "one two"),
            ("one\r\n  \r\n two", "one  two"),
            ("one\ttwo", "one\ttwo"),
            ("", ""),
        ],
    )
    def test_headers_are_trimmed_and_unfolded(self, sent: str, taken: str) -> None:
        verified(signed((*SIX, "x-note"), headers={"x-note": sent}, values={"x-note": taken}))

    @pytest.mark.parametrize("value", ['a\n"b": c', "a\rb", "a\0b", "a\x85b", "caf\xe9", "\x7f", "\x0ba"])
    def test_no_line_breaks_controls_or_other_than_ascii(self, value: str) -> None:
        request = signed((*SIX, "x-note"), headers={"x-note": value})
        assert refusal(request) is Refusal.COMPONENT_ABSENT

    def test_a_long_run_of_spaces_takes_linear_time(self) -> None:
        # Tried at each of its spaces, the pattern would take minutes: it is for the test run to notice.
        assert unsigned(x_note="a" + " " * 1_000_000 + "b").header("x-note") is not None

    def test_surrounding_space_of_the_api_key(self) -> None:
        verified(signed(headers={"x-api-key": f" {API_KEY} "}, values={"x-api-key": API_KEY}))


class TestSpelling:
    """A signer may sign what it sent, or what that means."""

    odd = (
        '(  "@request-target" "@authority"  "audiohook-organization-id" "audiohook-session-id" '
        f'"audiohook-correlation-id" "x-api-key" ); keyid="{API_KEY}"; nonce="{NONCE}";'
        f"created=0{CREATED};z;y=?1"
    )
    canonical = foreign.rendering(alg=None, expires=None) + ";z;y"

    def test_the_signer_signed_what_it_sent(self) -> None:
        verified(signed(text=self.odd))

    def test_the_signer_signed_what_it_means(self) -> None:
        verified(replaced(signed(text=self.canonical), signature_input=f"sig1={self.odd}"))

    def test_but_nothing_else(self) -> None:
        request = replaced(signed(text=self.canonical), signature_input=f"sig1={self.odd};more")
        assert refusal(request) is Refusal.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        "neighbour",
        ['a=",sig1=("', 'a="\\",sig1=("', 'a=%"\\",b="x,sig1=("', "sig1x=1", "a=1;sig1=2", "sig1.b"],
    )
    def test_is_found_between_other_members(self, neighbour: str) -> None:
        request = signed(text=self.odd)
        ours = request.headers["signature-input"]
        verified(replaced(request, signature_input=f"{neighbour} ,\t{ours}\t, z"))

    def test_commas_in_parameters(self) -> None:
        verified(signed(text=self.odd + ';a=",x=\\"";b=%",x=";c="\\\\"'))


class TestLabels:
    @pytest.mark.parametrize("label", ["sig1", "a", "*x-y.z_1"])
    def test_any(self, label: str) -> None:
        verified(signed(label=label))

    def test_first_that_is_in_both_fields(self) -> None:
        good, bad = signed(label="good").headers, signed(label="bad", secret=b"other").headers

        def both(first: Any, second: Any) -> UpgradeRequest:
            return unsigned(
                signature_input=f"alone=(), {first['signature-input']}, {second['signature-input']}",
                signature=f"{second['signature']}, single=:AA==:, {first['signature']}",
            )

        verified(both(good, bad))
        assert refusal(both(bad, good)) is Refusal.SIGNATURE_WRONG

    def test_none_in_common(self) -> None:
        request = replaced(signed(label="one"), signature=signed(label="two").headers["signature"])
        assert refusal(request) is Refusal.SIGNATURE_INCOMPLETE

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    def test_twice(self, field: str) -> None:
        request = signed()
        once = request.headers[field.replace("_", "-")]
        assert refusal(replaced(request, **{field: f"{once}, {once}"})) is Refusal.DUPLICATE


class TestGarbage:
    @pytest.mark.parametrize("length", [0, 1, 31, 33, 10_000])
    def test_signature_of_another_length(self, length: int) -> None:
        value = base64.b64encode(bytes(length)).decode()
        assert refusal(replaced(signed(), signature=f"sig1=:{value}:")) is Refusal.SIGNATURE_WRONG

    def test_truncated_signature(self) -> None:
        value = base64.b64encode(base64.b64decode(foreign.DOCUMENTED_SIGNATURE)[:31]).decode()
        assert refusal(replaced(signed(), signature=f"sig1=:{value}:")) is Refusal.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        "text",
        ["sig1", "sig1=1", 'sig1="AA=="', "sig1=(:AA==:)", "sig1=:A:", "sig1=:===:", "sig1=:\xe9:", "=", ","],
    )
    def test_malformed_signature(self, text: str) -> None:
        assert refusal(replaced(signed(), signature=text)) is Refusal.MALFORMED

    @pytest.mark.parametrize(
        "text",
        [
            "sig1",
            "sig1=:AA==:",
            f'sig1="x";created={CREATED};keyid="k";nonce="n"',
            "sig1=(",
            "sig1=" + "(" * 100_000,
            "sig1=()" + ";" * 100_000,
            "sig1=();created=" + "9" * 100_000,
            "sig1=();x=@999999999999999",
            "sig1=(), ",
            "sig1=()\n",
            "SIG1=()",
            "\ud800",
            "\xff",
        ],
    )
    def test_malformed_input(self, text: str) -> None:
        assert refusal(replaced(signed(), signature_input=text)) is Refusal.MALFORMED

    @pytest.mark.parametrize("field", ["signature", "signature_input"])
    @pytest.mark.parametrize("text", ["", " "])
    def test_nothing(self, field: str, text: str) -> None:
        assert refusal(replaced(signed(), **{field: text})) is Refusal.SIGNATURE_INCOMPLETE

    fragments = st.sampled_from(
        ["sig1=", "(", ")", '"x-api-key"', " ", ";", "created=", "1", '"', ":", "AA==", ",", "?1", "%", "@"]
    )

    latin_1 = st.binary().map(lambda raw: raw.decode("latin-1"))
    anything = st.one_of(st.text(), latin_1, st.lists(fragments).map("".join))

    @given(anything, anything)
    def test_is_refused_and_raises_nothing_else(self, signature_input: str, signature: str) -> None:
        with pytest.raises(SignatureRefused):
            parse(signature_input, signature)


class TestSecrets:
    def test_of_somebody_else(self) -> None:
        assert refusal(signed(), secret=b"other") is Refusal.SIGNATURE_WRONG

    @pytest.mark.parametrize(
        ("secret", "reason"), [(None, Refusal.API_KEY_UNKNOWN), (b"", Refusal.SIGNATURE_UNEXPECTED)]
    )
    @pytest.mark.parametrize("signers", [SECRET, b"", bytes(32)])
    def test_none_never_verifies(self, secret: bytes | None, reason: Refusal, signers: bytes) -> None:
        assert refusal(signed(secret=signers), secret=secret) is reason

    def test_none_takes_the_same_work_as_a_wrong_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, lengths = hmac.digest, []

        def counted(key: bytes, message: bytes, digest: Any) -> bytes:
            lengths.append(len(message))
            return real(key, message, digest)

        monkeypatch.setattr(hmac, "digest", counted)
        work = []
        for secret in (b"other", None, b""):
            refusal(signed(text=TestSpelling.odd), secret=secret)
            work.append(lengths.copy())
            lengths.clear()
        assert work[0] == work[1] == work[2]
        assert len(work[0]) == 2

    def test_are_not_shown(self) -> None:
        request = signed()
        shown = repr(request) + repr(verified(request))
        assert API_KEY not in shown
        assert foreign.DOCUMENTED_SIGNATURE not in shown
        assert repr(base64.b64decode(foreign.DOCUMENTED_SIGNATURE)) not in shown

    def test_the_error_quotes_nothing(self) -> None:
        with pytest.raises(SignatureRefused, match=r"^signature-wrong$"):
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
        with pytest.raises(SignatureRefused, match="component-absent"):
            sign(unsigned(audiohook_session_id=None), SECRET, created=CREATED, nonce=NONCE)

    @pytest.mark.parametrize("mistake", [{"nonce": "\xe9"}, {"label": "Upper"}, {"created": 10**15}])
    def test_what_structured_fields_cannot_say(self, mistake: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"disallowed|legal|allowed|range"):
            sign(unsigned(), SECRET, **{"created": CREATED, "nonce": NONCE, **mistake})
