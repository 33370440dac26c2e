"""Protocol section 2.3: the times, the other parameters, and the components that are covered."""

import itertools
from typing import Any

import pytest

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.signature.message_signature import verify
from tests.auth import foreign_signer as foreign
from tests.auth.foreign_signer import API_KEY, CREATED, SECRET, SIX, replaced, signed
from tests.auth.signature_rig import refusal, verified


class TestTime:
    @pytest.mark.parametrize("age", [-3, 0, 10, 13])
    def test_created_may_be_ten_seconds_ago_and_clocks_three_apart(self, age: int) -> None:
        verified(signed(), now=CREATED + age)

    @pytest.mark.parametrize(
        ("age", "reason"),
        [
            (14, RejectionReason.TOO_OLD),
            (13.001, RejectionReason.TOO_OLD),
            (-3.001, RejectionReason.NOT_YET_VALID),
            (-4, RejectionReason.NOT_YET_VALID),
        ],
    )
    def test_outside_of_that_it_is_refused(self, age: float, reason: RejectionReason) -> None:
        assert refusal(signed(), now=CREATED + age) is reason

    def test_limits_are_parameters(self) -> None:
        verify(signed(), SECRET, CREATED + 61, max_age=60, skew=1)
        verify(signed(), SECRET, CREATED - 1, max_age=60, skew=1)
        with pytest.raises(SignatureRejected, match="too-old"):
            verify(signed(), SECRET, CREATED + 62, max_age=60, skew=1)

    @pytest.mark.parametrize("late", [-1, 0, 3])
    def test_expires_may_have_passed_by_the_skew(self, late: int) -> None:
        verified(signed(expires=str(CREATED)), now=CREATED + late)

    @pytest.mark.parametrize("late", [3.001, 4])
    def test_expired_signature_is_rejected(self, late: float) -> None:
        assert refusal(signed(expires=str(CREATED)), now=CREATED + late) is RejectionReason.EXPIRED

    def test_expires_is_optional(self) -> None:
        assert verified(signed(expires=None)).expires is None

    def test_expires_zero_is_a_value(self) -> None:
        assert refusal(signed(expires="0")) is RejectionReason.EXPIRED

    def test_created_zero_is_a_value(self) -> None:
        assert refusal(signed(created="0")) is RejectionReason.TOO_OLD
        assert verified(signed(created="0"), now=0).created == 0

    def test_time_before_1970_is_rejected(self) -> None:
        assert refusal(signed(created="-999999999999999")) is RejectionReason.TOO_OLD


class TestParameters:
    @pytest.mark.parametrize("name", ["created", "nonce", "keyid"])
    def test_missing_parameter_is_rejected(self, name: str) -> None:
        absent: dict[str, Any] = {name: None}
        assert refusal(signed(**absent)) is RejectionReason.PARAMETER_MISSING

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
    def test_wrong_type_is_rejected(self, name: str, text: str) -> None:
        wrong: dict[str, Any] = {name: text}
        assert refusal(signed(**wrong)) is RejectionReason.MALFORMED

    @pytest.mark.parametrize("name", ["created", "expires", "keyid", "nonce", "alg"])
    def test_parameter_without_a_value_is_a_boolean(self, name: str) -> None:
        absent: dict[str, Any] = {name: None}
        assert refusal(signed(text=f"{foreign.rendering(**absent)};{name}")) is RejectionReason.MALFORMED

    @pytest.mark.parametrize("nonce", ["", "a" * 21])
    def test_short_nonce_is_rejected(self, nonce: str) -> None:
        assert refusal(signed(nonce=f'"{nonce}"')) is RejectionReason.NONCE_TOO_SHORT

    def test_nonce_of_128_bits(self) -> None:
        assert verified(signed(nonce=f'"{"a" * 22}"')).nonce == "a" * 22

    def test_alg_is_optional(self) -> None:
        assert verified(signed(alg=None)).alg is None

    @pytest.mark.parametrize("alg", ["", "HMAC-SHA256", "hmac-sha512", "none"])
    def test_other_alg_is_rejected(self, alg: str) -> None:
        assert refusal(signed(alg=f'"{alg}"')) is RejectionReason.ALGORITHM_UNSUPPORTED

    def test_alg_is_checked_after_the_mac(self) -> None:
        assert refusal(signed(alg='"none"', secret=b"other")) is RejectionReason.SIGNATURE_WRONG

    @pytest.mark.parametrize("keyid", ["", "other", API_KEY.lower()])
    def test_other_keyid_is_rejected(self, keyid: str) -> None:
        assert refusal(signed(keyid=f'"{keyid}"')) is RejectionReason.KEYID_MISMATCH

    def test_unknown_parameters_are_ignored(self) -> None:
        verified(signed(tag='"audiohook"', x="?1", y="1.5", z="@1", t="token", b=":AA==:", d='%"%c3%bc"'))

    def test_duplicate_is_rejected(self) -> None:
        assert refusal(signed(text=f"{foreign.rendering()};created={CREATED}")) is RejectionReason.DUPLICATE


class TestComponents:
    @pytest.mark.parametrize("name", SIX)
    def test_six_are_required(self, name: str) -> None:
        covered = [other for other in SIX if other != name]
        assert refusal(signed(covered)) is RejectionReason.COMPONENT_NOT_COVERED

    def test_no_components_are_rejected(self) -> None:
        assert refusal(signed(())) is RejectionReason.COMPONENT_NOT_COVERED

    def test_components_keep_the_order_of_the_header(self) -> None:
        covered = ("x-api-key", "@authority", *SIX[2:5], "@request-target")
        assert verified(signed(covered)).components == covered

    def test_more_may_be_covered(self) -> None:
        verified(signed((*SIX, "user-agent", "empty"), headers={"user-agent": "Genesys", "empty": ""}))

    def test_absent_component_is_rejected(self) -> None:
        request = replaced(signed((*SIX, "user-agent"), headers={"user-agent": "Genesys"}), user_agent=None)
        assert refusal(request) is RejectionReason.COMPONENT_ABSENT

    @pytest.mark.parametrize("name", ["@method", "@path", "@signature-params", "@", "@query-param"])
    def test_unknown_derived_component_is_rejected(self, name: str) -> None:
        # Also if the request has a header of that name, which an HTTP parser may accept.
        request = signed((*SIX, name), headers={name: "GET"})
        assert refusal(request) is RejectionReason.COMPONENT_UNSUPPORTED

    @pytest.mark.parametrize("name", [*SIX, "user-agent"])
    def test_duplicate_is_rejected(self, name: str) -> None:
        assert refusal(signed((*SIX, "user-agent", name), headers={"user-agent": "x"})) is RejectionReason.DUPLICATE

    @pytest.mark.parametrize("parameter", ["sf", "req", "bs", 'key="a"', "sf=?0"])
    def test_component_with_parameters_is_rejected(self, parameter: str) -> None:
        text = foreign.rendering().replace('"x-api-key"', f'"x-api-key";{parameter}')
        assert refusal(signed(text=text)) is RejectionReason.COMPONENT_UNSUPPORTED

    @pytest.mark.parametrize("item", ["x-api-key", "1", "?1", ":AA==:", '%"x-api-key"'])
    def test_component_that_is_no_string_is_rejected(self, item: str) -> None:
        assert refusal(signed(text=foreign.rendering().replace('"x-api-key"', item))) is RejectionReason.MALFORMED

    def test_names_are_lower_case(self) -> None:
        request = signed((*SIX[:5], "X-Api-Key"), values={"X-Api-Key": API_KEY})
        assert refusal(request) is RejectionReason.COMPONENT_ABSENT
