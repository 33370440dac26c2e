"""Protocol section 2.3: what of a request is signed."""

import pytest

from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from tests.auth.foreign_signer import API_KEY, HOST, SIX, TARGET, replaced, signed, unsigned
from tests.auth.signature_rig import refusal, verified


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

    def test_authority_can_be_overridden(self) -> None:
        request = replaced(signed(), host="10.0.0.7:8080")
        assert refusal(request) is RejectionReason.SIGNATURE_WRONG
        verified(UpgradeRequest(TARGET, request.headers, authority="AudioHook.example.com:443"))

    @pytest.mark.parametrize("host", [None, "", ":443"])
    def test_missing_authority_is_rejected(self, host: str | None) -> None:
        assert refusal(replaced(signed(values={"@authority": ""}), host=host)) is RejectionReason.COMPONENT_ABSENT

    def test_target_is_not_decoded(self) -> None:
        request = signed(values={"@request-target": "/a%2Fb?q=%7E"})
        verified(UpgradeRequest("/a%2Fb?q=%7E", request.headers))
        assert refusal(UpgradeRequest("/a/b?q=~", request.headers)) is RejectionReason.SIGNATURE_WRONG

    def test_missing_target_is_rejected(self) -> None:
        request = signed(values={"@request-target": ""})
        assert refusal(UpgradeRequest("", request.headers)) is RejectionReason.COMPONENT_ABSENT

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
    def test_unprintable_values_are_rejected(self, value: str) -> None:
        request = signed((*SIX, "x-note"), headers={"x-note": value})
        assert refusal(request) is RejectionReason.COMPONENT_ABSENT

    def test_a_long_run_of_spaces_takes_linear_time(self) -> None:
        # Tried at each of its spaces, the pattern would take minutes: it is for the test run to notice.
        assert unsigned(x_note="a" + " " * 1_000_000 + "b").header("x-note") is not None

    def test_space_around_the_api_key_is_removed(self) -> None:
        verified(signed(headers={"x-api-key": f" {API_KEY} "}, values={"x-api-key": API_KEY}))
